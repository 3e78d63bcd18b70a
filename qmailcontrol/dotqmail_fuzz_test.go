//go:build unix

package qmailcontrol_test

import (
	"bytes"
	"context"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// FuzzDotQmail: what was read is written again, each line is read as it would
// be alone, and a line that is made says what it was made of.
func FuzzDotQmail(f *testing.F) {
	seeds := 0
	for _, c := range dotCases(f) {
		for _, file := range c.Files {
			f.Add([]byte(file.Content), uint8(seeds), string(file.File))
			seeds++
		}
	}
	if seeds < 50 {
		f.Fatalf("%d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, text []byte, kind uint8, arg string) {
		q, err := qmailcontrol.ParseDotQmail(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if n, err := q.WriteTo(&out); err != nil || n != int64(len(text)) || !bytes.Equal(out.Bytes(), text) {
			t.Fatalf("%q became %q", text, out.Bytes())
		}
		lines := 0
		for d := range q.Lines() {
			lines++
			if line := q.Text(d.Line); d.Line != lines || !bytes.HasPrefix(text[d.Offset:], []byte(line)) || len(d.Arg) > len(line) {
				t.Fatalf("%+v of %q", d, line)
			}
			alone := dot(t, d.Text()+"\n")
			for e := range alone.Lines() {
				if e.Kind != d.Kind || e.Arg != d.Arg {
					t.Fatalf("%+v became %+v", d, e)
				}
			}
		}
		if lines != q.Len() {
			t.Fatalf("%d of %d lines", lines, q.Len())
		}
		for _, p := range q.Check() {
			if p.Err == nil || p.Line > lines {
				t.Fatalf("%+v", p)
			}
		}
		k := qmailcontrol.DotKind(kind % 9)
		if q.Add(k, arg) != nil {
			return
		}
		var last qmailcontrol.DotLine
		for last = range dot(t, string(q.Bytes())).Lines() {
		}
		if last.Kind != k || last.Arg != arg {
			t.Errorf("%s %q became %+v", k, arg, last)
		}
	})
}

// slowNames is the search written down as the manual says it.
func slowNames(ext string) (names []string) {
	safe := []byte(ext)
	for i, c := range safe {
		switch {
		case 'A' <= c && c <= 'Z':
			safe[i] += 32
		case c == '.':
			safe[i] = ':'
		}
	}
	words := strings.SplitAfter(string(safe), "-")
	names = []string{".qmail-" + string(safe)}
	for n := len(words) - 1; n >= 0; n-- {
		names = append(names, ".qmail-"+strings.Join(words[:n], "")+"default")
	}
	return names
}

// FuzzDotNames compares the search with a slow one, in names and in files.
func FuzzDotNames(f *testing.F) {
	seeds := 0
	for _, c := range dotCases(f) {
		for _, r := range c.Runs {
			f.Add(string(r.Ext), uint8(seeds))
			seeds++
		}
	}
	if seeds < 100 {
		f.Fatalf("%d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, ext string, there uint8) {
		if len(ext) > 200 || strings.Contains(ext, "\x00") {
			return
		}
		var got []string
		for n := range qmailcontrol.DotNames("-", ext) {
			got = append(got, n.Name)
			safe := strings.TrimSuffix(n.Name, "default")
			if n.IsDefault && (!strings.HasSuffix(ext, n.Default) || len(safe)+len(n.Default) != len(".qmail-")+len(ext)) {
				t.Errorf("%q: %+v", ext, n)
			}
		}
		want := slowNames(ext)
		if !slices.Equal(got, want) {
			t.Fatalf("%q: %q, want %q", ext, got, want)
		}
		pick := want[int(there)%len(want)]
		tree := oneFile{name: pick}
		l := qmailcontrol.LocalDelivery{Home: "/", Dash: "-", Ext: ext}
		p, err := l.Plan(context.Background(), tree)
		if err != nil {
			t.Fatal(err)
		}
		// A name with a slash is a file in a directory, which is not there.
		if found := !strings.Contains(pick, "/"); found && (p.Name.Name != pick || p.Refused != nil) || !found && p.Name.Name != "" {
			t.Errorf("%q with %q: %+v", ext, pick, p)
		}
	})
}

// oneFile is a tree with one file in it.
type oneFile struct{ name string }

func (o oneFile) Lstat(name string) (qmailkit.FileInfo, error) {
	switch name {
	case ".":
		return qmailkit.FileInfo{Mode: fs.ModeDir | 0o755}, nil
	case o.name:
		return qmailkit.FileInfo{Mode: 0o644}, nil
	}
	return qmailkit.FileInfo{}, fs.ErrNotExist
}

func (o oneFile) ReadDir(context.Context, string) iter.Seq2[qmailkit.DirEntry, error] {
	return func(func(qmailkit.DirEntry, error) bool) {}
}

func (o oneFile) Readlink(string) (string, error) { return "", fs.ErrInvalid }

func (o oneFile) Open(string) (qmailkit.File, error) {
	return &text{strings.NewReader("./x\n")}, nil
}

type text struct{ *strings.Reader }

func (text) Close() error               { return nil }
func (text) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
