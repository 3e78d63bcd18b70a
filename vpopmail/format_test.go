//go:build unix

package vpopmail

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestBigDir counts to 13,000 as vpopmail's own code did, in memory and through
// the file.
func TestBigDir(t *testing.T) {
	for _, file := range []string{"through-file", "in-memory"} {
		b, err := os.ReadFile("testdata/golden/" + file + ".tsv")
		if err != nil {
			t.Fatal(err)
		}
		rows := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
		head := strings.Split(rows[0], "\t")
		at := map[string]string{}
		for _, r := range rows[1:] {
			count, _, _ := strings.Cut(r, "\t")
			at[count] = r
		}
		if len(at) != 131 {
			t.Fatalf("%s: %d rows", file, len(at))
		}
		c := NewDirControl()
		for n := 1; n <= 13000; n++ {
			if file == "through-file" && n > 1 {
				if c, err = ParseDirControl(c.Bytes()); err != nil {
					t.Fatal(err)
				}
			}
			before := c.Dir
			c.Next()
			want, listed := at[fmt.Sprint(n)]
			if !listed {
				if c.Dir != before {
					t.Fatalf("%s: moved on to %q at %d", file, c.Dir, n)
				}
				continue
			}
			values := map[string]string{
				"cur_users": fmt.Sprint(c.Users), "level_cur": fmt.Sprint(c.Level), "level_max": fmt.Sprint(c.MaxLevel),
				"level_start": row(c.Start), "level_end": row(c.End), "level_mod": row(c.Mod), "level_index": row(c.Index), "the_dir": c.Dir,
			}
			var got []string
			for _, name := range head {
				got = append(got, values[name])
			}
			if strings.Join(got, "\t") != want {
				t.Fatalf("%s: %q, want %q", file, strings.Join(got, "\t"), want)
			}
		}
	}
}

func row(r [3]int) string { return fmt.Sprintf("%d %d %d", r[0], r[1], r[2]) }

// TestBigDirEnd is what vpopmail's own code did at the end of the second level.
func TestBigDirEnd(t *testing.T) {
	c := NewDirControl()
	var dirs []string
	for range 390800 / perDir {
		c.Users += perDir - 1
		c.Reread()
		dirs = append(dirs, c.Next())
	}
	if got := dirs[len(dirs)-3:]; !slices.Equal(got, []string{"z/z", "0/1/", "0/2/"}) {
		t.Errorf("through the file: %q", got)
	}
	c = NewDirControl()
	for range 390700 / perDir {
		c.Users += perDir - 1
		c.Next()
	}
	if c.Dir != "0/0/0" {
		t.Errorf("in memory: %q", c.Dir)
	}
}

func TestDirControlDamaged(t *testing.T) {
	good := NewDirControl()
	for _, s := range []string{"", "x", "1\n0\n3\n", strings.Replace(string(good.Bytes()), "61 61 61", "62 62 62", 1),
		strings.Replace(string(good.Bytes()), "\n0\n3", "\n3\n3", 1), "-1" + string(good.Bytes())[1:],
		string(good.Bytes())[:len(good.Bytes())-1] + "../x\n", strings.Replace(string(good.Bytes()), "0 2 4", "0", 1)} {
		if _, err := ParseDirControl([]byte(s)); !errors.Is(err, ErrDirControl) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestQuotaWords has the words and stored forms of the real programs: vadduser,
// vmoduser and vsetuserquota of 5.4.33.
func TestQuotaWords(t *testing.T) {
	for _, c := range []struct {
		word, stored string
		refused      bool
	}{
		{"NOQUOTA", "NOQUOTA", false}, {"10M", "10485760S", false}, {"10485760S,1000C", "10485760S,1000C", false},
		{"50C,1000000S", "1000000S,50C", false}, {"2048K", "2097152S", false}, {"5MB", "5242880S", false}, {"5MB,200C", "5242880S,200C", false},
		{"1000000", "1000000S", false}, {"1mb,10C", "1048576S,10C", false}, {"1000C", "1000C", false}, {"0", "", false}, {"3C", "3C", false},
		{"10G", "10S", true}, {"junk", "", true}, {"abc", "", true}, {"1.5M", "1048576S", true}, {"5 M", "5242880S", true},
		{"-5", "18446744073709551611S", true}, {"99999999999999999999", "9223372036854775807S", true}, {"1M,2M", "2097152S", true},
		{"1000c", "1000S", true}, {"", "", true}, {",", "", true},
	} {
		if got := ClassicQuota(c.word); got != c.stored {
			t.Errorf("ClassicQuota(%q) = %q, want %q", c.word, got, c.stored)
		}
		got, err := ParseQuota(c.word)
		if c.refused {
			if !errors.Is(err, ErrQuota) {
				t.Errorf("ParseQuota(%q) = %q, %v", c.word, got, err)
			}
		} else if err != nil || got != c.stored {
			t.Errorf("ParseQuota(%q) = %q, %v, want %q", c.word, got, err, c.stored)
		}
	}
}

// FuzzQuota asserts that a word that is taken means the same to vpopmail, and
// that its stored form is stored as it is.
func FuzzQuota(f *testing.F) {
	for _, s := range []string{"10M", "1S,2C", "NOQUOTA", "9223372036854775807", "1MBS,0C", "+5", "5\x00M"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, word string) {
		classic := ClassicQuota(word)
		got, err := ParseQuota(word)
		if err != nil {
			return
		}
		if got != classic {
			t.Errorf("%q: %q, vpopmail stores %q", word, got, classic)
		}
		if again := ClassicQuota(got); again != got {
			t.Errorf("%q is stored again as %q", got, again)
		}
	})
}

// FuzzVpasswd asserts that a file that is not edited is written as it was read,
// that the cdb has a record for each line with a colon, and that an insertion
// leaves every other line alone.
func FuzzVpasswd(f *testing.F) {
	seeds := 0
	for _, name := range []string{"cdb", "noclear-des", "release-5.6.13", "vchkpw"} {
		for _, st := range readSteps(f, name) {
			for path, g := range st.Changed {
				if strings.HasSuffix(path, "/vpasswd") && g.Text != nil {
					f.Add([]byte(*g.Text), "dave")
					seeds++
				}
			}
		}
	}
	if seeds < 20 {
		f.Fatalf("%d seeds", seeds)
	}
	f.Add([]byte("a\n:::::::\n\nlast:"), "b")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		v := ParseVpasswd(bytes.Clone(b))
		var out bytes.Buffer
		if _, err := v.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), b) || !bytes.Equal(v.Bytes(), b) {
			t.Fatalf("%q is written as %q, %v", b, out.Bytes(), err)
		}
		p := DefaultProfile54()
		for q := range v.Problems(&p) {
			if q.Line < 1 || q.Line > v.Len() || q.Offset < 0 || q.Offset >= int64(len(b)) {
				t.Fatalf("problem at line %d, offset %d", q.Line, q.Offset)
			}
		}
		for _, err := range v.Users() {
			if err != nil && !errors.Is(err, ErrFewColons) {
				t.Fatal(err)
			}
		}
		n := 0
		for key := range v.records() {
			if bytes.IndexByte(key, ':') >= 0 || bytes.IndexByte(key, '\n') >= 0 {
				t.Fatalf("key %q", key)
			}
			n++
		}
		if n > v.Len() {
			t.Fatalf("%d records of %d lines", n, v.Len())
		}
		if strings.ContainsAny(name, ":\n") {
			return
		}
		line := name + ":x:1:0:::\n"
		lines := v.Len()
		v.insert([][]byte{[]byte(line)})
		left := bytes.Replace(v.Bytes(), []byte(line), nil, 1)
		if v.Len() != lines+1 || !bytes.Equal(bytes.TrimSuffix(left, []byte("\n")), bytes.TrimSuffix(b, []byte("\n"))) {
			t.Fatalf("%q with %q is %q", b, line, v.Bytes())
		}
	})
}

// FuzzLineFile asserts that files of qmail that are not edited are written as
// they were read, and that an insertion loses no line.
func FuzzLineFile(f *testing.F) {
	f.Add([]byte("a.b\nc"), "x.y.z", true)
	f.Add([]byte("+example.com-:example.com:89:89:/d:-::\n.\n"), "+a.example.com-:a:1:1:/:-::", true)
	f.Add([]byte("\n\n#x\nz.example.com:z\n"), "mail.a.example.com", false)
	f.Fuzz(func(t *testing.T, b []byte, line string, assign bool) {
		l := parseLines(b, true, assign)
		if !bytes.Equal(l.bytes(), b) {
			t.Fatalf("%q is written as %q", b, l.bytes())
		}
		if strings.Contains(line, "\n") || assign && line == "." {
			return
		}
		want := slices.DeleteFunc(append(slices.Clone(l.lines), line), func(s string) bool { return assign && s == "." })
		l.insert(line)
		got := slices.Clone(l.lines)
		if assign {
			if got[len(got)-1] != "." {
				t.Fatalf("%q does not end with a dot", got)
			}
			got = got[:len(got)-1]
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func TestVpasswdProblems(t *testing.T) {
	p := DefaultProfile54()
	long := "long:" + strings.Repeat("x", 246)
	v := ParseVpasswd([]byte("a:h:1:0:g:/d:q:c\nshort:x\na:h:1:0:g:/d:q:\nseven:h:1:0:g:/d:q\n" + long + ":1::::\nnul:\x00:1:0:g:/d:q:"))
	var got []string
	for q := range v.Problems(&p) {
		got = append(got, fmt.Sprintf("%d %d %s", q.Line, q.Offset, q.Code))
	}
	want := []string{"2 17 vpasswd.few-colons", "3 25 vpasswd.duplicate", "4 41 vpasswd.fields", "5 60 vpasswd.long-line", "5 60 vpasswd.fields",
		"6 318 vpasswd.nul", "6 318 vpasswd.no-newline"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestSortKey(t *testing.T) {
	for name, want := range map[string]string{
		"localhost": "localhost", "example.com": "example.com", "mail.example.com": "example.com.mail",
		"a.b.example.com": "example.com.a.b", "a.b.c.example.com": "example.com.a.b.a", "a.b.c.d.example.com": "example.com.a.b.a.b",
		"example..com": "example.com", ".example.org.": "example.org", "": "", "...": "",
	} {
		f := lineFile{}
		if got := f.key(name + ":x"); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		f.assign = true
		if got := f.key("+" + name + "-:x:1"); got != want {
			t.Errorf("assign %q: %q, want %q", name, got, want)
		}
	}
}
