package maildir

import (
	"os"
	"path/filepath"
	"testing"
)

// A History is read while an import may be under way: it mends nothing.
func TestHistoryOnlyLooks(t *testing.T) {
	dir := t.TempDir()
	msgs := sample(20)
	if _, err := runImport(t, dir, msgs, nil); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "M", JournalName)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	torn := append(whole, "I 9 torn"...)
	if err := os.WriteFile(name, torn, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := Open(filepath.Join(dir, "M"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	h, err := d.History()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	n := 0
	for e, err := range h.All() {
		if err != nil {
			t.Fatal(err)
		}
		f, err := d.Folder(e.Folder)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Stat(e); err != nil {
			t.Error(err)
		}
		f.Close()
		n++
	}
	if n != len(msgs) || h.Len() != n {
		t.Errorf("%d of %d messages are in the history", n, len(msgs))
	}
	after, err := os.ReadFile(name)
	if err != nil || string(after) != string(torn) {
		t.Errorf("the journal was changed by looking at it (%v)", err)
	}
}
