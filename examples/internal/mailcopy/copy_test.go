package mailcopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/mbox"
)

// letters is an mbox of messages with these header lines and bodies.
func letters(list ...string) string {
	var b strings.Builder
	for i, m := range list {
		fmt.Fprintf(&b, "From ann@example.org Mon Jan  5 07:01:%02d 2004\n%s\n", i, m)
	}
	return b.String()
}

// plain are n different messages.
func plain(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf("Subject: letter %d\n\n%s", i, strings.Repeat("some text\n", 1+i%7)))
	}
	return list
}

// A bench is a directory of mboxes and a Maildir.
type bench struct {
	t    *testing.T
	root *os.Root
	opts Options
	runs int64
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return &bench{t: t, root: root}
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := b.root.WriteFile(name, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// box is the file name, for the folder.
func (b *bench) box(name, folder string) Box {
	tree := qmailkit.NewTree(b.root)
	return Box{Path: name, Source: name, Folder: folder, Open: func() (qmailkit.File, error) { return tree.Open(name) }}
}

// copy brings boxes into the Maildir and checks that their sums add up.
func (b *bench) copy(boxes ...Box) []*Result {
	b.t.Helper()
	results, err := b.tryCopy(b.t.Context(), nil, boxes...)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, r := range results {
		if sum := r.Delivered + r.Present + r.Updated + r.Kept + r.Failed; sum != r.Messages {
			b.t.Errorf("%s: %d messages, and outcomes of %d", r.Path, r.Messages, sum)
		}
	}
	return results
}

func (b *bench) tryCopy(ctx context.Context, finish func(*maildir.Dir, []*Result) error, boxes ...Box) (results []*Result, err error) {
	com := maildir.NewCommitter(&maildir.CommitOptions{Sync: maildir.SyncNone})
	defer func() { err = errors.Join(err, com.Close()) }()
	im, err := com.Import(b.root, "md", nil)
	if err != nil {
		return nil, err
	}
	for _, box := range boxes {
		r, e := Copy(ctx, im, box, &b.opts)
		results = append(results, r)
		if e != nil {
			err = e
			break
		}
	}
	return results, errors.Join(err, im.Close(func(d *maildir.Dir) error {
		if finish == nil {
			return nil
		}
		return finish(d, results)
	}))
}

// files are the messages of the Maildir, by folder/sub/name.
func (b *bench) files() map[string]string {
	b.t.Helper()
	out := map[string]string{}
	err := fs.WalkDir(os.DirFS(b.root.Name()), "md", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		switch filepath.Base(filepath.Dir(p)) {
		case "new", "cur":
			text, err := b.root.ReadFile(p)
			out[strings.TrimPrefix(p, "md/")] = string(text)
			return err
		case "tmp":
			b.t.Errorf("%s is left over", p)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func texts(files map[string]string) []string {
	var list []string
	for _, text := range files {
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want - got +:\n%s", d)
	}
}

// codes are those of problems, in order.
func codes(list []qmailkit.Problem) (out []string) {
	for _, p := range list {
		out = append(out, p.Code)
	}
	return out
}

func TestCopyBytesAndStates(t *testing.T) {
	b := newBench(t)
	list := []string{
		"Subject: new\n\nbody\n",
		"Subject: read\nStatus: RO\n\nbody\n",
		"Subject: flagged\nStatus: O\nX-Status: AF\n\nbody with \x00 and \xff\n",
		"Subject: quoted\n\n>From here\n>>From there\n",
	}
	b.write("box", letters(list...))
	r := b.copy(b.box("box", "."))[0]
	if r.Delivered != 4 || r.Lost || len(r.Problems) > 0 || r.NewBytes == 0 {
		t.Fatalf("%+v", r)
	}
	want := slices.Clone(list)
	want[3] = "Subject: quoted\n\nFrom here\n>From there\n"
	slices.Sort(want)
	files := b.files()
	diff(t, want, texts(files))
	for name, text := range files {
		at, info, _ := strings.Cut(name, ":")
		var place string
		switch {
		case strings.HasPrefix(text, "Subject: new"), strings.HasPrefix(text, "Subject: quoted"):
			place = "new/"
		case strings.HasPrefix(text, "Subject: read"):
			place = "cur/2,S"
		case strings.HasPrefix(text, "Subject: flagged"):
			place = "cur/2,FR"
		}
		diff(t, place, at[:4]+info)
		fi, err := b.root.Lstat("md/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if y := fi.ModTime().UTC().Format("2006-01-02"); y != "2004-01-05" {
			t.Errorf("%s is of %s", name, y)
		}
	}
	// Once more nothing comes.
	r = b.copy(b.box("box", "."))[0]
	if r.Present != 4 || r.Delivered != 0 {
		t.Fatalf("%+v", r)
	}
	diff(t, files, b.files())
}

func TestStrip(t *testing.T) {
	b := newBench(t)
	b.opts.Strip = true
	b.write("box", letters("Subject: x\nStatus: RO\nX-UID: 7\n\nStatus: stays in the body\n"))
	b.copy(b.box("box", "."))
	diff(t, []string{"Subject: x\n\nStatus: stays in the body\n"}, texts(b.files()))
}

func TestFolders(t *testing.T) {
	b := newBench(t)
	b.write("a", letters(plain(2)...))
	b.write("b", letters(plain(3)...))
	b.write("empty", "")
	res := b.copy(b.box("a", "."), b.box("b", ".Sub.Below"), b.box("empty", ".Empty"))
	var n [3]int64
	for i, r := range res {
		n[i] = r.Delivered
	}
	diff(t, [3]int64{2, 3, 0}, n)
	for _, dir := range []string{"md/.Sub.Below/maildirfolder", "md/.Empty/new", "md/.Empty/maildirfolder"} {
		if _, err := b.root.Lstat(dir); err != nil {
			t.Error(err)
		}
	}
}

// Equal messages come as often as they are there, also one at a time.
func TestEquals(t *testing.T) {
	b := newBench(t)
	same := "Subject: twice\n\nthe same\n"
	b.write("box", letters(same, same))
	if r := b.copy(b.box("box", "."))[0]; r.Delivered != 2 {
		t.Fatalf("%+v", r)
	}
	b.write("box", letters(same, same, same))
	if r := b.copy(b.box("box", "."))[0]; r.Delivered != 1 || r.Present != 2 {
		t.Fatalf("%+v", r)
	}
	if n := len(b.files()); n != 3 {
		t.Errorf("%d messages", n)
	}
}

func TestCopyTrouble(t *testing.T) {
	for _, c := range []struct {
		name, text string
		open       error
		messages   int64
		codes      []string
		line       int
	}{
		{name: "no mailbox", text: "lost sectors\n", codes: []string{"mbox.not-mbox"}},
		{name: "binary", text: "\x00\x01\x7fELF", codes: []string{"mbox.not-mbox"}},
		{name: "gone", open: &fs.PathError{Op: "open", Path: "box", Err: fs.ErrNotExist}, codes: []string{"mbox.unreadable"}},
		{name: "no last line end", text: letters("Subject: x\n\nend") + "cut", messages: 1, codes: []string{"mbox.no-final-newline"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.write("box", c.text)
			b.write("other", letters(plain(1)...))
			box := b.box("box", ".")
			if c.open != nil {
				box.Open = func() (qmailkit.File, error) { return nil, c.open }
			}
			res := b.copy(box, b.box("other", "."))
			r := res[0]
			diff(t, c.codes, codes(r.Problems))
			diff(t, c.messages, r.Delivered)
			diff(t, c.messages == 0, r.Lost)
			if p := r.Problems[0]; p.Path != "box" || p.Err == nil || strings.Contains(p.Err.Error(), "open box") {
				t.Errorf("%+v: the path once, and the reason", p)
			}
			if res[1].Delivered != 1 {
				t.Error("the other box did not go on")
			}
			// Counting says the same.
			n, err := Count(t.Context(), box, &b.opts)
			if err != nil || n.Messages != c.messages || !slices.Equal(codes(n.Problems), c.codes) {
				t.Errorf("Count: %v, %d messages, %q", err, n.Messages, codes(n.Problems))
			}
		})
	}
}

// A shifty file changes under its reader after so many reads.
type shifty struct {
	qmailkit.File
	left   atomic.Int32
	change func()
}

func (f *shifty) ReadAt(p []byte, off int64) (int, error) {
	if f.left.Add(-1) == 0 {
		f.change()
	}
	return f.File.ReadAt(p, off)
}

// A spool that is rewritten or cut while it is read: what is not sure fails
// and is reported, nothing wrong is delivered, and the next run completes it.
func TestSpoolChanges(t *testing.T) {
	list := plain(300)
	for i := range list {
		list[i] += strings.Repeat("x", 1000) + "\n"
	}
	text := letters(list...)
	for _, c := range []struct {
		name string
		now  string // what the file becomes, in place
	}{
		{"deleted from the front", letters(list[100:]...)},
		{"rewritten with other states", strings.ReplaceAll(text, "\n\nsome", "\nStatus: RO\n\nsome")},
		{"emptied", ""},
		{"cut", text[:len(text)/2]},
		{"grown", text + letters("Subject: late\n\nlate\n")},
	} {
		for _, at := range []int{2, 5, 50, 500} {
			t.Run(fmt.Sprintf("%s/%d", c.name, at), func(t *testing.T) {
				b := newBench(t)
				b.write("box", text)
				tree := qmailkit.NewTree(b.root)
				box := b.box("box", ".")
				changed := false
				box.Open = func() (qmailkit.File, error) {
					f, err := tree.Open("box")
					s := &shifty{File: f, change: func() { b.write("box", c.now); changed = true }}
					s.left.Store(int32(at))
					return s, err
				}
				r := b.copy(box)[0]
				known := map[string]bool{}
				for _, from := range []string{text, c.now} {
					for m := range messages(t, from) {
						known[m] = true
					}
				}
				for name, m := range b.files() {
					if !known[m] {
						t.Errorf("%s is no message of the spool: %.60q", name, m)
					}
				}
				if changed && (r.Failed == 0 && !r.Lost) && !slices.Equal(texts(b.files()), sorted(messages(t, text))) {
					t.Errorf("%d messages, and no word about it: %+v", len(b.files()), r)
				}
				for _, p := range r.Problems {
					if p.Path != "box" || p.Err == nil {
						t.Errorf("%+v", p)
					}
				}
				if !changed {
					b.write("box", c.now) // too late for this run
				}
				// The next run takes what the spool holds now.
				b.copy(b.box("box", "."))
				have := strings.Join(texts(b.files()), "\x01")
				for m := range messages(t, c.now) {
					if !strings.Contains(have, bodyOf(m)) {
						t.Errorf("missing: %.60q", m)
					}
				}
			})
		}
	}
}

func bodyOf(m string) string { _, body, _ := strings.Cut(m, "\n\n"); return body }

// messages are those of an mbox, with how often they come.
func messages(t *testing.T, text string) map[string]int {
	t.Helper()
	out := map[string]int{}
	ix := mbox.NewIndexer(strings.NewReader(text), int64(len(text)), nil)
	for h, err := range ix.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		var m bytes.Buffer
		if _, err := m.ReadFrom(mbox.Body(strings.NewReader(text), h, mbox.Auto)); err != nil {
			t.Fatal(err)
		}
		out[m.String()]++
	}
	return out
}

func sorted(list map[string]int) []string {
	var out []string
	for m, n := range list {
		for range n {
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return out
}

func TestCancelled(t *testing.T) {
	b := newBench(t)
	b.write("box", letters(plain(20)...))
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := b.tryCopy(ctx, nil, b.box("box", ".")); !errors.Is(err, why) {
		t.Errorf("Copy: %v", err)
	}
	if _, err := Count(ctx, b.box("box", "."), &b.opts); !errors.Is(err, why) {
		t.Errorf("Count: %v", err)
	}
	if r := b.copy(b.box("box", "."))[0]; r.Delivered != 20 {
		t.Errorf("%+v", r)
	}
}

// A lock that another program holds is a warning, and the copy goes on.
func TestLocked(t *testing.T) {
	b := newBench(t)
	b.write("box", letters(plain(2)...))
	f, err := os.Open(filepath.Join(b.root.Name(), "box"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	b.write("box.lock", "1\n")
	b.opts.LockWait = 20 * time.Millisecond
	box := b.box("box", ".")
	box.SpoolDir, box.SpoolName = b.root, "box"
	r := b.copy(box)[0]
	diff(t, []string{"mbox.lock"}, codes(r.Problems))
	if r.Delivered != 2 || r.Problems[0].Severity != qmailkit.Warning {
		t.Errorf("%+v", r)
	}
	// Free again, it is taken and given back.
	if err := b.root.Remove("box.lock"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if r := b.copy(box)[0]; len(r.Problems) > 0 {
		t.Errorf("%+v", r.Problems)
	}
	if _, err := b.root.Lstat("box.lock"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock is left: %v", err)
	}
}

// A folder that cannot be made concerns its box only.
func TestPlantedFolder(t *testing.T) {
	for _, name := range []string{"symlink", "file", "FIFO"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			out := t.TempDir()
			b.write("box", letters(plain(2)...))
			b.write("good", letters(plain(3)...))
			b.copy(b.box("good", "."))
			p := filepath.Join(b.root.Name(), "md/.Sub")
			var err error
			switch name {
			case "symlink":
				err = os.Symlink(out, p)
			case "file":
				err = os.WriteFile(p, nil, 0o600)
			case "FIFO":
				err = syscall.Mkfifo(p, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			b.write("good", letters(plain(4)...))
			b.write("empty", "")
			res := b.copy(b.box("box", ".Sub"), b.box("empty", ".Sub"), b.box("good", "."))
			if res[0].Failed != 2 || !slices.Contains(codes(res[0].Problems), "message.failed") {
				t.Errorf("%+v", res[0])
			}
			diff(t, []string{"folder.unusable"}, codes(res[1].Problems))
			if res[2].Delivered != 1 || res[2].Present != 3 {
				t.Errorf("%+v", res[2])
			}
			if list, err := os.ReadDir(out); err != nil || len(list) > 0 {
				t.Errorf("written outside: %v %v", list, err)
			}
		})
	}
}

// A dotlock that a killed run has left behind is taken away at once.
func TestOwnLockLeft(t *testing.T) {
	b := newBench(t)
	b.write("box", letters(plain(2)...))
	b.opts.LockWait, b.opts.LockMark = time.Minute, " of this target"
	for _, name := range []string{"box.lock", "box.lock.qmailkit"} {
		b.write(name, "0"+b.opts.LockMark)
	}
	box := b.box("box", ".")
	box.SpoolDir, box.SpoolName = b.root, "box"
	began := time.Now()
	if r := b.copy(box)[0]; len(r.Problems) > 0 || r.Delivered != 2 {
		t.Errorf("%+v", r)
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
	for _, name := range []string{"box.lock", "box.lock.qmailkit"} {
		if _, err := b.root.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// That of another target is not.
	b.write("box.lock", "0 of another target")
	b.opts.LockWait = 20 * time.Millisecond
	diff(t, []string{"mbox.lock"}, codes(b.copy(box)[0].Problems))
}
