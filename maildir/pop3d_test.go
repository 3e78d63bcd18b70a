package maildir

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// latin1 is the bytes that the characters of a golden file stand for.
func latin1(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

// TestPOP3UIDLs: the base of a name is what qmail-pop3d calls the message, odd
// names included.
func TestPOP3UIDLs(t *testing.T) {
	text, err := os.ReadFile("testdata/pop3d.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for line := range bytes.Lines(text) {
		var c struct {
			Case  string
			Files []struct{ Path, Type string }
			UIDL  []string
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		cases++
		dir := t.TempDir()
		for _, sub := range []string{"tmp", "new", "cur"} {
			if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		var want []string
		for _, u := range c.UIDL {
			if u != "dir" { // a directory in cur/, which qmail-pop3d takes for a message
				want = append(want, latin1(u))
			}
		}
		for _, f := range c.Files {
			if f.Type != "f" {
				continue
			}
			if f.Path == "new/future" { // qmail-pop3d waits until its second is over
				want = append(want, "future")
			}
			write(t, filepath.Join(dir, latin1(f.Path)), "x")
		}
		d, err := Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for e, err := range d.Messages(t.Context()) {
			if err != nil {
				t.Fatalf("%s: %v", c.Case, err)
			}
			got = append(got, e.Name.Base())
		}
		d.Close()
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: want -, got +:\n%s", c.Case, diff)
		}
	}
	if cases < 6 {
		t.Errorf("%d cases", cases)
	}
}
