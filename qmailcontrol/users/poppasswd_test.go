package users_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

const poppasswd = "# made by hand\n\njoe@example.com:geheim\nAnn@example.com:$1$abcdefgh$0123456789012345678901:x\n" +
	"colon@example.com:a:b\nnothing@example.com:\nJOE@example.com:second\nrubbish\nlocal:pw\ncr@example.com:pw\r\n:pw\nlast@example.com:abcdefghij123"

func pop(t *testing.T, text string) *users.Poppasswd {
	t.Helper()
	p, err := users.ParsePoppasswd(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPoppasswdEntries(t *testing.T) {
	p := pop(t, poppasswd)
	var got []string
	for e := range p.Entries() {
		password, rest, more := e.Fields()
		got = append(got, fmt.Sprintf("%d %s %s %s %t %t", e.Line, e.Login, string(password), rest, more, e.Crypted()))
		if !strings.HasPrefix(poppasswd[e.Offset:], e.Login+":"+string(e.Password)) {
			t.Errorf("%s is not at %d", e.Login, e.Offset)
		}
		if s := fmt.Sprintf("%v %+v %#v %q", e, e, e, e.Password); strings.Contains(s, "geheim") {
			t.Errorf("password shown: %s", s)
		}
	}
	want := []string{
		"3 joe@example.com geheim  false false",
		"4 Ann@example.com $1$abcdefgh$0123456789012345678901 x true true",
		"5 colon@example.com a b true false",
		"6 nothing@example.com   false false",
		"7 JOE@example.com second  false false",
		"9 local pw  false false",
		"10 cr@example.com pw\r  false false",
		"12 last@example.com abcdefghij123  false true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if e, ok := p.Lookup("JOE@Example.com"); !ok || e.Line != 3 {
		t.Errorf("Lookup: %+v %t", e, ok)
	}
	if _, ok := p.Lookup("# made by hand"); ok {
		t.Error("a comment has a password")
	}
	var codes []string
	for q := range p.Check() {
		codes = append(codes, shown(q))
		if strings.Contains(q.String(), "geheim") {
			t.Errorf("password shown: %v", q)
		}
	}
	if want := []string{
		"poppasswd.colon warning poppasswd:5", "poppasswd.empty error poppasswd:6", "poppasswd.duplicate warning poppasswd:7",
		"poppasswd.line warning poppasswd:8", "poppasswd.login info poppasswd:9", "poppasswd.cr warning poppasswd:10", "poppasswd.line warning poppasswd:11",
	}; !slices.Equal(codes, want) {
		t.Errorf("Check: %q", codes)
	}
	for range p.Check() {
		break
	}
}

// An edit touches its own line and no other byte.
func TestPoppasswdEdit(t *testing.T) {
	for _, c := range []struct {
		name string
		text string
		edit func(*users.Poppasswd) error
		want string
	}{
		{"replace", "a@x:1\nb@x:2\nc@x:3", func(p *users.Poppasswd) error { return p.Set("B@x", "new:more") }, "a@x:1\nb@x:new:more\nc@x:3"},
		{"replace the last", "a@x:1\nb@x:2", func(p *users.Poppasswd) error { return p.Set("b@x", "3") }, "a@x:1\nb@x:3"},
		{"append", "a@x:1", func(p *users.Poppasswd) error { return p.Set("b@x", "2") }, "a@x:1\nb@x:2\n"},
		{"first", "", func(p *users.Poppasswd) error { return p.Set("a@x", "") }, "a@x:\n"},
		{"remove", "#\na@x:1\nb@x:2\nA@x:3\nc", remove("a@x", 2), "#\nb@x:2\nc"},
		{"remove the last", "b@x:2\na@x:1", remove("a@x", 1), "b@x:2\n"},
		{"remove the only", "a@x:1", remove("A@X", 1), ""},
		{"remove nobody", "a@x:1\n\nb", remove("b", 0), "a@x:1\n\nb"},
	} {
		p := pop(t, c.text)
		if err := c.edit(p); err != nil || string(p.Bytes()) != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, p.Bytes(), err, c.want)
		}
	}
	p := pop(t, "a@x:1\n")
	for _, bad := range [][2]string{{"", "x"}, {"#a", "x"}, {"a:b", "x"}, {"a\nb", "x"}, {"a", "hush\nb:c"}, {"a", "hush\x00"}, {"a\x00", "x"}} {
		if err := p.Set(bad[0], qmailkit.Secret(bad[1])); !errors.Is(err, users.ErrPop) || strings.Contains(err.Error(), "hush") {
			t.Errorf("Set(%q): %v", bad, err)
		}
	}
	if string(p.Bytes()) != "a@x:1\n" {
		t.Errorf("a refused edit left %q", p.Bytes())
	}
}

func remove(login string, n int) func(*users.Poppasswd) error {
	return func(p *users.Poppasswd) error {
		if got := p.Remove(login); got != n {
			return fmt.Errorf("%d removed, want %d", got, n)
		}
		return nil
	}
}

func TestPoppasswdTrouble(t *testing.T) {
	boom := errors.New("boom")
	_, err := users.ParsePoppasswd(iotest.ErrReader(boom))
	var pe *users.ParseError
	if !errors.Is(err, boom) || !errors.As(err, &pe) {
		t.Errorf("error %v", err)
	}
}

// TestPoppasswdModel edits at random beside a list of lines that is searched
// from its beginning each time: the bytes, and where entries stand, are the
// same.
func TestPoppasswdModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		text := []string{"", poppasswd, poppasswd + "\n", "a@x:1"}[rng.IntN(4)]
		p, model := pop(t, text), text
		for range 30 {
			login := []string{"joe@example.com", "ANN@example.com", "local", "a@x", "b@x", "C@x", "c@X"}[rng.IntN(7)]
			at, line, found := find(model, login)
			e, ok := p.Lookup(login)
			if ok != found || found && (e.Offset != int64(at) || e.Line != strings.Count(model[:at], "\n")+1 || e.Login+":"+string(e.Password) != line) {
				t.Fatalf("%q in %q: %+v, %t; it is %q at %d", login, model, e, ok, line, at)
			}
			password := strings.Repeat("p", rng.IntN(4))
			if rng.IntN(3) == 0 {
				for p.Remove(login); found; at, line, found = find(model, login) {
					model = model[:at] + strings.TrimPrefix(model[at+len(line):], "\n")
				}
			} else if err := p.Set(login, qmailkit.Secret(password)); err != nil {
				t.Fatal(err)
			} else if found {
				model = model[:at] + line[:strings.IndexByte(line, ':')+1] + password + model[at+len(line):]
			} else {
				if model != "" && !strings.HasSuffix(model, "\n") {
					model += "\n"
				}
				model += login + ":" + password + "\n"
			}
			if string(p.Bytes()) != model {
				t.Fatalf("%q, want %q", p.Bytes(), model)
			}
		}
	}
}

// find is the first line of a login, by searching for it.
func find(text, login string) (at int, line string, found bool) {
	for l := range strings.Lines(text) {
		line = strings.TrimSuffix(l, "\n")
		name, _, ok := strings.Cut(line, ":")
		if ok && name != "" && name[0] != '#' && strings.EqualFold(name, login) {
			return at, line, true
		}
		at += len(l)
	}
	return 0, "", false
}

// FuzzPoppasswd: what was read is written again, and what is set is found.
func FuzzPoppasswd(f *testing.F) {
	for _, seed := range []string{"", "\n", poppasswd, "a:b", "a:b\n\n", "\x00:\xff\n"} {
		f.Add([]byte(seed), "joe@example.com", "a:b")
	}
	f.Fuzz(func(t *testing.T, text []byte, login, password string) {
		p, err := users.ParsePoppasswd(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if n, err := p.WriteTo(&out); err != nil || n != int64(len(text)) || !bytes.Equal(out.Bytes(), text) {
			t.Fatalf("%q became %q", text, out.Bytes())
		}
		before := 0
		for range p.Entries() {
			before++
		}
		had, _ := p.Lookup(login)
		if p.Set(login, qmailkit.Secret(password)) != nil {
			return
		}
		p = pop(t, string(p.Bytes()))
		e, ok := p.Lookup(login)
		after := 0
		for range p.Entries() {
			after++
		}
		if !ok || string(e.Password) != password || had.Line != 0 && (e.Line != had.Line || after != before) || had.Line == 0 && after != before+1 {
			t.Errorf("%+v among %d, was %+v among %d", e, after, had, before)
		}
		if p.Remove(login); bytes.Contains(p.Bytes(), []byte("\n\n\n\n")) && !bytes.Contains(text, []byte("\n\n")) {
			t.Errorf("blank lines from nowhere: %q", p.Bytes())
		}
		if _, ok := p.Lookup(login); ok {
			t.Errorf("%q stays", login)
		}
	})
}
