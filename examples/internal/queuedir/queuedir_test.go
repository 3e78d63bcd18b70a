//go:build unix

package queuedir

import (
	"flag"
	"strings"
	"testing"
	"time"
)

func TestManifest(t *testing.T) {
	m, err := parseManifest(strings.NewReader("path\ttype\tinode\tatime\nqueue/mess/3/5\tf\t18446744073709551615\t1795290905\nqueue\td\t7\t1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := m.inode("mess/3/5"); !ok || n != 1<<64-1 {
		t.Errorf("inode %d, %v", n, ok)
	}
	if at, ok := m.atime("mess/3/5"); !ok || at.Unix() != 1795290905 {
		t.Errorf("atime %v, %v", at, ok)
	}
	if _, ok := m.inode("mess/3/6"); ok {
		t.Error("a path that is not there")
	}
	for _, bad := range []string{"", "path\tinode\n", "path\tinode\tatime\nx\t1\n", "path\tinode\tatime\nx\t-1\t1\n", "path\tinode\tatime\nx\t1\tnow\n"} {
		if _, err := parseManifest(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), "line") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestFlags(t *testing.T) {
	var f Flags
	fs := flag.NewFlagSet("", flag.ContinueOnError)
	f.Declare(fs)
	if err := fs.Parse([]string{"-now", "2026-01-02T03:04:05Z", "-qmailq", "5", "-qmails", "6", "-qmailr", "7", "-qmail", "8"}); err != nil {
		t.Fatal(err)
	}
	if want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC); !f.Now().Equal(want) {
		t.Errorf("now %v, want %v", f.Now(), want)
	}
	o, err := f.Owners()
	if err != nil || o.Qmailq != 5 || o.Qmails != 6 || o.Qmailr != 7 || o.Group != 8 {
		t.Errorf("%+v, %v", o, err)
	}
	f.owners[0] = "no-such-user-anywhere"
	if _, err := f.Owners(); err == nil {
		t.Error("an unknown user was taken")
	}
}
