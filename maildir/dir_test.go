package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	gomaildir "github.com/emersion/go-maildir"

	"github.com/qmailkit/qmailkit"
)

// deliver puts one message into d.
func deliver(d *Dir, text string, a Arrival) (Entry, error) {
	m, err := d.Deliver()
	if err != nil {
		return Entry{}, err
	}
	if _, err := io.WriteString(m, text); err != nil {
		m.Cancel()
		return Entry{}, err
	}
	return m.Commit(context.Background(), a)
}

func messages(t testing.TB, d *Dir) (list []Entry, bad []error) {
	t.Helper()
	for e, err := range d.Messages(context.Background()) {
		if err != nil {
			bad = append(bad, err)
			continue
		}
		list = append(list, e)
	}
	return list, bad
}

func TestDeliver(t *testing.T) {
	d, path := newDir(t, nil)
	const text = "Subject: a\x00\xff\r\n\nno newline"
	for _, a := range []Arrival{{}, {Cur: true}, {Flags: Seen | Keyword(0)}, {ModTime: time.Unix(1e9, 0)}} {
		e, err := deliver(d, text, a)
		if err != nil {
			t.Fatal(err)
		}
		if e.Cur != (a.Cur || a.Flags != 0) || e.Name.Flags() != a.Flags || strings.Contains(e.Name.String(), ":") != e.Cur {
			t.Errorf("%+v: %+v", a, e)
		}
		if n, ok := e.Name.Size(); !ok || n != int64(len(text)) {
			t.Errorf("size %d in %q", n, e.Name)
		}
		f, err := d.OpenMessage(e)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(f)
		f.Close()
		fi, err := d.Stat(e)
		if err != nil || string(b) != text || fi.Mode != 0o600 || fi.Size != int64(len(text)) {
			t.Errorf("%q, %+v, %v", b, fi, err)
		}
		if !a.ModTime.IsZero() && !fi.ModTime.Equal(a.ModTime) {
			t.Errorf("time %v", fi.ModTime)
		}
	}
	if list, bad := messages(t, d); len(list) != 4 || bad != nil {
		t.Errorf("%v, %v", list, bad)
	}
	m, err := d.Deliver()
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancelCause(context.Background())
	cancel(io.ErrClosedPipe)
	if _, err := m.Commit(stop, Arrival{}); err != io.ErrClosedPipe {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := m.Commit(context.Background(), Arrival{}); err == nil {
		t.Error("committed after it was cancelled")
	}
	m.Cancel()
	if list, _ := os.ReadDir(filepath.Join(path, "tmp")); len(list) != 0 {
		t.Errorf("left in tmp: %v", list)
	}
}

// TestDeliverFaults fails each step of a delivery once: an error must come of
// it, nothing may be left in tmp/, and nothing may show but a whole message.
func TestDeliverFaults(t *testing.T) {
	for k := 1; ; k++ {
		n := 0
		var failed string
		path := filepath.Join(t.TempDir(), "M")
		if d, err := Create(path, nil); err != nil {
			t.Fatal(err)
		} else {
			d.Close()
		}
		d, err := Open(path, &Options{hook: func(op, name string) error {
			if n++; n == k {
				failed = op
				return syscall.EIO
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = deliver(d, "text", Arrival{ModTime: time.Unix(1e9, 0)})
		if (err != nil) != (failed != "") {
			t.Errorf("step %d (%s): %v", k, failed, err)
		}
		list, _ := messages(t, d)
		if failed != "" && failed != "syncdir" && len(list) != 0 {
			t.Errorf("step %d (%s): a message shows: %v", k, failed, list)
		}
		if left, _ := os.ReadDir(filepath.Join(path, "tmp")); len(left) != 0 {
			t.Errorf("step %d (%s): left in tmp: %v", k, failed, left)
		}
		d.Close()
		if failed == "" {
			if k < 7 {
				t.Errorf("a delivery has only %d steps", k-1)
			}
			return
		}
	}
}

func TestDeliverNeverReplaces(t *testing.T) {
	same := &Namer{Host: "h", PID: 1, Now: func() time.Time { return time.Unix(5, 0) }, Rand: bytes.NewReader(make([]byte, 100))}
	d, path := newDir(t, &Options{Namer: same})
	same.count.Store(0)
	a, err := deliver(d, "one", Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	same.count.Store(0)
	if e, err := deliver(d, "two", Arrival{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second %s: %v, %v", a.Name, e, err)
	}
	if got := read(t, filepath.Join(path, "new", a.Name.String())); got != "one" {
		t.Errorf("was replaced by %q", got)
	}
	// A name that somebody has in tmp/ is left alone too.
	write(t, filepath.Join(path, "tmp", "5.M0P1Q2R00000000.h"), "other")
	if e, err := deliver(d, "xyz", Arrival{}); err != nil || e.Name.Unique() == "5.M0P1Q2R00000000.h" {
		t.Errorf("%v, %v", e, err)
	}
	if got := read(t, filepath.Join(path, "tmp", "5.M0P1Q2R00000000.h")); got != "other" {
		t.Errorf("tmp was replaced by %q", got)
	}
}

func TestNamer(t *testing.T) {
	n := &Namer{Host: "a/b:c,d;e!fgh\\g \xff", PID: 7, Now: func() time.Time { return time.Unix(5, 6789) }, Rand: strings.NewReader("\x01\x02\x03\x04")}
	u, err := n.Unique()
	if err != nil || u != `5.M6P7Q1R01020304.a\057b\072c\054d\073e` {
		t.Errorf("%q, %v", u, err)
	}
	if name, err := ParseName(u + ",S=5:2,S"); err != nil || name.Unique() != u {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := n.Unique(); !errors.Is(err, io.EOF) {
		t.Errorf("without random bytes: %v", err)
	}
	seen := map[string]bool{}
	for n := new(Namer); len(seen) < 1000; {
		u, err := n.Unique()
		if err != nil || seen[u] || len(u) > 70 {
			t.Fatalf("%q, %v", u, err)
		}
		seen[u] = true
	}
}

func TestSetFlags(t *testing.T) {
	d, path := newDir(t, nil)
	e, err := deliver(d, "x", Arrival{})
	if err != nil {
		t.Fatal(err)
	}
	if same, err := d.SetFlags(e, 0); err != nil || same != e {
		t.Errorf("no flag in new: %v, %v", same, err)
	}
	base := e.Name.Base()
	for _, f := range []Flags{Seen, Seen | Flagged, 0} {
		if e, err = d.SetFlags(e, f); err != nil || !e.Cur || e.Name.Flags() != f || e.Name.Base() != base {
			t.Fatalf("%q: %v, %v", f, e, err)
		}
		read(t, filepath.Join(path, "cur", e.Name.String()))
	}
	write(t, filepath.Join(path, "cur", base+":2,T"), "other")
	if got, err := d.SetFlags(e, Trashed); !errors.Is(err, fs.ErrExist) || got != e {
		t.Errorf("onto another: %v, %v", got, err)
	}
	os.Remove(filepath.Join(path, "cur", e.Name.String()))
	if _, err := d.SetFlags(e, Seen); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is gone: %v", err)
	}
}

func TestMessagesOddities(t *testing.T) {
	d, path := newDir(t, nil)
	for _, n := range []string{"new/1.a.b:2,S", "cur/2.a.b", "cur/.hidden", "cur/3.a.b:2,S", "new/\xff"} {
		write(t, filepath.Join(path, n), n)
	}
	os.Mkdir(filepath.Join(path, "cur/dir"), 0o700)
	os.Symlink("2.a.b", filepath.Join(path, "cur/link"))
	syscall.Mkfifo(filepath.Join(path, "new/fifo"), 0o600)
	list, bad := messages(t, d)
	var got []string
	for _, e := range list {
		got = append(got, e.Sub()+"/"+e.Name.String())
	}
	slices.Sort(got)
	if want := []string{"cur/2.a.b", "cur/3.a.b:2,S", "new/1.a.b:2,S", "new/\xff"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if len(bad) != 3 {
		t.Errorf("%v", bad)
	}
	for _, err := range bad {
		if !errors.Is(err, qmailkit.ErrNotPlain) || errors.Is(err, qmailkit.ErrIncomplete) {
			t.Errorf("%v", err)
		}
	}
	for _, n := range []string{"dir", "link"} {
		name, _ := ParseName(n)
		if f, err := d.OpenMessage(Entry{Cur: true, Name: name}); !errors.Is(err, qmailkit.ErrNotPlain) {
			t.Errorf("%s was opened: %v, %v", n, f, err)
		}
	}
	stop, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range d.Messages(stop) {
		if !errors.Is(err, qmailkit.ErrIncomplete) || !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

func TestFolders(t *testing.T) {
	d, path := newDir(t, nil)
	for _, name := range []string{".Sent", ".A.B"} {
		f, err := d.CreateFolder(name)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if read(t, filepath.Join(path, name, "maildirfolder")) != "" {
			t.Error("maildirfolder is not empty")
		}
	}
	if _, err := os.Lstat(filepath.Join(path, "maildirfolder")); err == nil {
		t.Error("the INBOX is marked as a folder")
	}
	write(t, filepath.Join(path, ".qmail"), "")
	os.Mkdir(filepath.Join(path, ".empty"), 0o700)
	os.Symlink("/etc", filepath.Join(path, ".etc"))
	var good []string
	bad := map[string]error{}
	for name, err := range d.Folders(context.Background()) {
		if err != nil {
			bad[name] = err
			continue
		}
		good = append(good, name)
	}
	slices.Sort(good)
	if !slices.Equal(good, []string{".A.B", ".Sent"}) || len(bad) != 2 ||
		!errors.Is(bad[".empty"], ErrNotMaildir) || !errors.Is(bad[".etc"], qmailkit.ErrLink) {
		t.Errorf("%q, %v", good, bad)
	}
	for _, name := range []string{"", "..", "..x", "cur", ".a/../../x", ".x\x00"} {
		if f, err := d.CreateFolder(name); !errors.Is(err, ErrFolder) {
			t.Errorf("%q: %v, %v", name, f, err)
		}
		if f, err := d.Folder(name); !errors.Is(err, ErrFolder) {
			t.Errorf("%q: %v, %v", name, f, err)
		}
	}
	if _, err := d.CreateFolder(".etc"); !errors.Is(err, qmailkit.ErrLink) {
		t.Errorf("through a link: %v", err)
	}
}

func TestCreateAndOpen(t *testing.T) {
	base := t.TempDir()
	if _, err := Open(filepath.Join(base, "M"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Create(filepath.Join(base, "no", "M"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing parent: %v", err)
	}
	d, err := Create(filepath.Join(base, "M"), &Options{DirMode: 0o750})
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if fi, _ := os.Stat(filepath.Join(base, "M", "tmp")); fi.Mode().Perm() != 0o750 {
		t.Errorf("mode %s", fi.Mode())
	}
	os.Remove(filepath.Join(base, "M", "cur"))
	if _, err := Open(filepath.Join(base, "M"), nil); !errors.Is(err, ErrNotMaildir) {
		t.Errorf("without cur: %v", err)
	}
	os.Symlink("/tmp", filepath.Join(base, "M", "cur"))
	if _, err := Create(filepath.Join(base, "M"), nil); !errors.Is(err, qmailkit.ErrLink) {
		t.Errorf("cur is a link: %v", err)
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	d, err = CreateRoot(root, "a/./b//Maildir", nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	if d, err = OpenRoot(root, "a/b/Maildir", nil); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if _, err := CreateRoot(root, "a/../../x", nil); err == nil {
		t.Error("'..' was followed")
	}
}

// TestGoMaildir lets another implementation read what this one wrote.
func TestGoMaildir(t *testing.T) {
	d, path := newDir(t, nil)
	want := map[string]string{}
	for i, f := range []Flags{Seen, Seen | Flagged, Draft | Passed | Replied | Trashed, 0} {
		text := fmt.Sprintf("Subject: %d\n\nbody\n", i)
		e, err := deliver(d, text, Arrival{Flags: f, Cur: true})
		if err != nil {
			t.Fatal(err)
		}
		want[e.Name.Base()] = f.String() + " " + text
	}
	n := 0
	err := gomaildir.Dir(path).Walk(func(m *gomaildir.Message) error {
		n++
		r, err := m.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		if got := FromGoMaildir(m.Flags()).String() + " " + string(b); got != want[m.Key()] {
			t.Errorf("%s: %q, want %q", m.Key(), got, want[m.Key()])
		}
		return err
	})
	if err != nil || n != len(want) {
		t.Errorf("%d of %d messages, %v", n, len(want), err)
	}
	// What is new comes over by its own reader, which moves it to cur/.
	if _, err := deliver(d, "new\n", Arrival{}); err != nil {
		t.Fatal(err)
	}
	fresh, err := gomaildir.Dir(path).Unseen()
	if err != nil || len(fresh) != 1 {
		t.Errorf("%v, %v", fresh, err)
	}
	if list, bad := messages(t, d); len(list) != 5 || bad != nil || !list[0].Cur {
		t.Errorf("%v, %v", list, bad)
	}
}
