package users_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// optional reads one of the files of users/, as qmail-pw2u does.
func optional(t *testing.T, dir, name string) *qmailcontrol.Lines {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "users", name))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := qmailcontrol.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// pw2u is the run that a golden case tells of.
func pw2u(t *testing.T, dir string) users.PW2U {
	t.Helper()
	p := users.PW2U{HomeOwner: getpw(t).HomeOwner}
	words := strings.Fields(string(readFile(t, filepath.Join(dir, "cmd"))))
	for i := 1; i < len(words) && words[i] != "<"; i++ {
		switch words[i] {
		case "-H":
			p.Home = users.HomeIgnored
		case "-h":
			p.Home = users.HomeExists
		case "-u":
			p.Upper = true
		case "-/":
			p.Slash = true
		case "-C":
			p.NoBreak = true
		case "-c":
			i++
			p.Break = words[i][0]
		default:
			t.Fatalf("unknown option %s", words[i])
		}
	}
	if l := optional(t, dir, "include"); l != nil {
		p.Include = l.Set().Has
	}
	if l := optional(t, dir, "exclude"); l != nil {
		p.Exclude = l.Set().Has
	}
	if l := optional(t, dir, "mailnames"); l != nil {
		p.Mailnames = l.Map().Lookup
	}
	if l := optional(t, dir, "subusers"); l != nil {
		p.Subusers = bytes.NewReader(l.Bytes())
	}
	if l := optional(t, dir, "append"); l != nil {
		p.Append = bytes.NewReader(l.Bytes())
	}
	return p
}

// Every byte, message and exit code is that of qmail-pw2u.
func TestPW2UGolden(t *testing.T) {
	cases, _ := filepath.Glob("testdata/pw2u/*/cmd")
	if len(cases) < 16 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, cmd := range cases {
		dir := filepath.Dir(cmd)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			passwd, err := os.ReadFile(filepath.Join(dir, "passwd"))
			if err != nil {
				passwd = readFile(t, "testdata/pw2u/passwd")
			}
			var out bytes.Buffer
			err = pw2u(t, dir).WriteAssign(&out, bytes.NewReader(passwd))
			stderr, rc := "", "0"
			if err != nil {
				var pe *users.PW2UError
				if !errors.As(err, &pe) {
					t.Fatalf("error %v", err)
				}
				stderr, rc = pe.Fatal()+"\n", "111"
			}
			if want := readFile(t, filepath.Join(dir, "stdout")); !bytes.Equal(out.Bytes(), want) {
				t.Errorf("output %q, want %q", out.Bytes(), want)
			}
			if want := string(readFile(t, filepath.Join(dir, "stderr"))); stderr != want {
				t.Errorf("message %q, want %q", stderr, want)
			}
			if want := strings.TrimSpace(string(readFile(t, filepath.Join(dir, "rc")))); rc != want {
				t.Errorf("exit code %s, want %s", rc, want)
			}
		})
	}
}

// What qmail-pw2u has in its buffer when it stops is not written, whatever
// stands behind it.
func TestPW2UBuffer(t *testing.T) {
	var out bytes.Buffer
	w := bufio.NewWriterSize(&out, 1<<16)
	p := users.PW2U{Subusers: strings.NewReader("help:alias:desk:\nx:nobody:x:\n")}
	if err := p.WriteAssign(w, strings.NewReader("alias:x:7:8::/a:\n")); !errors.Is(err, users.ErrSubuser) {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil || strings.Contains(out.String(), "help") || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// What the golden cases lack; the rules are those of qmail-pw2u.c.
func TestPW2ULines(t *testing.T) {
	const alias = "alias:x:7:8::/a:\n"
	const aliased = "+:alias:7:8:/a:-::\n=alias:alias:7:8:/a:::\n+alias-:alias:7:8:/a:-::\n"
	for _, c := range []struct{ name, passwd, want string }{
		{"no newline at the end", strings.TrimSuffix(alias, "\n"), ""},
		{"no seventh field at all", "joe:x:1:1::/h\n", ""},
		{"text behind the uid", "joe:x:12abc:x y::/h:\n", "=joe:joe:12abc:x y:/h:::\n+joe-:joe:12abc:x y:/h:-::\n"},
		{"no digit in front", "joe:x: 12:1::/h:\n", ""},
		{"uid that wraps to 0", "joe:x:18446744073709551616:1::/h:\n", ""},
		{"NUL", "joe:x:12:1::/h:\x00\n", ""},
		{"no name", ":x:12:1::/h:\n", ""},
		{"eight bits and CR", "j\xf6:x:12:1::/h:\r\n", "=j\xf6:j\xf6:12:1:/h:::\n+j\xf6-:j\xf6:12:1:/h:-::\n"},
		{"capital in the middle", "jOe:x:12:1::/h:\n", ""},
	} {
		passwd, want := alias+c.passwd, aliased+c.want+".\n"
		if c.want == "" && strings.HasPrefix(c.passwd, "alias") {
			passwd = c.passwd
		}
		var out bytes.Buffer
		if err := (users.PW2U{}).WriteAssign(&out, strings.NewReader(passwd)); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v; want %q", c.name, out.String(), err, want)
		}
	}
}

func TestPW2UTrouble(t *testing.T) {
	const passwd = "alias:x:7:8::/a:\njoe:x:9:9::/h:\n"
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		p    users.PW2U
		in   io.Reader
		want error
		line int
		says string
	}{
		{"home cannot be told", users.PW2U{HomeOwner: func(string) (uint32, bool, error) { return 0, false, boom }}, nil, users.ErrHome, 1, "unable to stat /a"},
		{"passwd", users.PW2U{}, io.MultiReader(strings.NewReader(passwd), iotest.ErrReader(boom)), users.ErrReadInput, 3, "unable to read input"},
		{"a line without an end", users.PW2U{}, io.MultiReader(strings.NewReader(passwd), endless{}), users.ErrReadInput, 3, "unable to read input"},
		{"subusers", users.PW2U{Subusers: iotest.ErrReader(boom)}, nil, users.ErrReadInput, 1, "unable to read input"},
		{"append", users.PW2U{Append: iotest.ErrReader(boom)}, nil, users.ErrReadInput, 1, "unable to read input"},
		{"subuser of nobody", users.PW2U{Subusers: strings.NewReader("a:joe:\nb:JOE:b:\nc:ann:")}, nil, users.ErrSubuser, 3, "unable to find ann user for subuser"},
		{"other alias", users.PW2U{Alias: "postbox"}, nil, users.ErrNoAlias, 0, "unable to find postbox user"},
	} {
		if c.in == nil {
			c.in = strings.NewReader(passwd)
		}
		err := c.p.WriteAssign(io.Discard, c.in)
		var pe *users.PW2UError
		if !errors.As(err, &pe) || !errors.Is(err, c.want) || pe.Line != c.line || pe.Fatal() != "qmail-pw2u: fatal: "+c.says {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for room := range 200 {
		err := (users.PW2U{Append: strings.NewReader(strings.Repeat("x", 9000))}).WriteAssign(&full{room}, strings.NewReader(passwd))
		var pe *users.PW2UError
		if !errors.Is(err, users.ErrWriteOutput) || !errors.As(err, &pe) || pe.Fatal() != "qmail-pw2u: fatal: unable to write output" {
			t.Fatalf("room for %d bytes: %v", room, err)
		}
	}
}

// endless is a line that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte{'a'}, len(b))), nil }

// full takes some bytes and no more.
type full struct{ room int }

func (f *full) Write(b []byte) (int, error) {
	if len(b) > f.room {
		return f.room, errors.New("no space left")
	}
	f.room -= len(b)
	return len(b), nil
}

// FuzzPW2U: whatever passwd holds, what is made of it is an assign that NewU
// takes, and each entry is a user of passwd.
func FuzzPW2U(f *testing.F) {
	cases, _ := filepath.Glob("testdata/pw2u/*/passwd")
	if len(cases) == 0 {
		f.Fatal("no seeds")
	}
	for _, name := range append(cases, "testdata/pw2u/passwd") {
		f.Add(readFile(f, name), "joe:js:joe\nann:\n", "help:joe:help:\n", byte('-'))
	}
	f.Fuzz(func(t *testing.T, passwd []byte, mailnames, subusers string, stop byte) {
		names, err := qmailcontrol.Parse([]byte(mailnames))
		if err != nil {
			t.Skip("not a control file:", err)
		}
		p := users.PW2U{Upper: true, Break: stop, NoBreak: stop == 0, Mailnames: names.Map().Lookup}
		if !strings.Contains(subusers, "\x00") {
			p.Subusers = strings.NewReader(subusers)
		}
		var out bytes.Buffer
		if err := p.WriteAssign(&out, bytes.NewReader(passwd)); err != nil {
			return
		}
		if stop == ':' || stop == '\n' {
			return // a line in which qmail-newu sees other fields
		}
		a, err := users.ParseAssign(&out)
		if err != nil {
			t.Fatal(err)
		}
		for e := range a.Entries() {
			if !bytes.Contains(passwd, []byte(e.User)) || !e.Wildcard && e.Mark != '=' || e.Home != "" && !bytes.Contains(passwd, []byte(":"+e.Home+":")) {
				t.Errorf("%+v is of nobody", e)
			}
		}
	})
}
