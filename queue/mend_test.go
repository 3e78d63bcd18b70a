//go:build unix

package queue

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// mended is a queue to be mended, with a quarantine beside it.
type mended struct {
	dir  string // the queue
	zdir string
	opts *Options
}

// openQuarantine opens or makes the quarantine.
func (m *mended) openQuarantine(t testing.TB, hook safefs.Hook) *Quarantine {
	t.Helper()
	os.Mkdir(m.zdir, 0o700)
	root, err := os.OpenRoot(m.zdir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	z, err := OpenQuarantine(root, &QuarantineOptions{Now: m.opts.Now, hook: hook})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { z.Close() })
	return z
}

func (m *mended) open(t testing.TB) *Queue { return openQueue(t, m.dir, m.opts) }

// toMend unpacks the queue, whose message files have other inode numbers than
// their names then. With renumber they get those names first, so that only what
// was damaged by hand is.
func (g *golden) toMend(t testing.TB, renumber bool) *mended {
	t.Helper()
	m := &mended{dir: g.unpack(t), opts: &Options{Now: g.options(t).Now}}
	m.zdir = filepath.Join(filepath.Dir(m.dir), "quarantine")
	if renumber {
		renumberAll(t, m.dir)
	}
	return m
}

// renumberAll calls all files of a message after the inode number of its file,
// for each name on its own and in whatever directory it is. What it does about
// inode numbers is no more than os.Rename by way of temporary names.
func renumberAll(t testing.TB, dir string) {
	t.Helper()
	split := 23
	if _, err := os.Stat(filepath.Join(dir, "mess/210")); err == nil {
		split = 211
	}
	names := map[string]uint64{} // name of a message file to its inode number
	files := allFiles(t, dir)
	for path, fi := range files {
		if fi.Mode().IsRegular() && strings.HasPrefix(path, "mess/") {
			base := filepath.Base(path)
			n, err := strconv.Atoi(strings.TrimSpace(base))
			if err == nil && n > 1000 && (names[base] == 0 || filepath.Base(filepath.Dir(path)) == strconv.Itoa(n%split)) {
				names[base] = inode(fi)
			}
		}
	}
	type todo struct{ tmp, to string }
	var second []todo
	for path, fi := range files {
		base := filepath.Base(path)
		part, _, _ := strings.Cut(path, "/")
		if !fi.Mode().IsRegular() || part == "lock" || part == "pid" {
			continue
		}
		ino, ok := names[base]
		for name, n := range names {
			// The odd names keep their oddity.
			if meant := strings.TrimLeft(name, "0"); !ok && strings.TrimSpace(strings.TrimLeft(base, "0")) == meant {
				ino, ok = n, true
			}
		}
		if !ok {
			continue
		}
		old, _ := strconv.Atoi(strings.TrimSpace(base))
		to := strings.Replace(path, strconv.Itoa(old), strconv.FormatUint(ino, 10), 1)
		if f := strings.Split(path, "/"); len(f) == 3 {
			off, _ := strconv.Atoi(f[1])
			// As far from its place as it was.
			f[1] = strconv.FormatUint((ino%uint64(split)+uint64(off-old%split+split))%uint64(split), 10)
			f[2] = filepath.Base(to)
			to = strings.Join(f, "/")
		}
		tmp := fmt.Sprintf("%s/tmp.%d", dir, len(second))
		if err := os.Rename(filepath.Join(dir, path), tmp); err != nil {
			t.Fatal(err)
		}
		second = append(second, todo{tmp, filepath.Join(dir, to)})
	}
	for _, s := range second {
		if _, err := os.Lstat(s.to); err == nil {
			t.Fatalf("%s is taken", s.to)
		}
		os.Mkdir(filepath.Dir(s.to), 0o700) // in missing-split-dirs it may be gone
		if err := os.Rename(s.tmp, s.to); err != nil {
			t.Fatal(err)
		}
	}
}

// allFiles lists all that is no directory, by path.
func allFiles(t testing.TB, dir string) map[string]fs.FileInfo {
	t.Helper()
	all := map[string]fs.FileInfo{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		fi, err := e.Info()
		if err == nil {
			rel, _ := filepath.Rel(dir, path)
			all[rel] = fi
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// contents counts the files of messages by part, bytes and time of change,
// wherever they are: in the queue, aside, or in the quarantine, where what was
// left in the queue does not count. Reading leaves the times of access alone.
func (m *mended) contents(t testing.TB) map[string]int {
	t.Helper()
	count := map[string]int{}
	take := func(root, path, part string, fi fs.FileInfo) {
		at := accessed(filepath.Join(root, path))
		b, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		os.Chtimes(filepath.Join(root, path), at, fi.ModTime())
		count[fmt.Sprintf("%s %q %d", part, b, fi.ModTime().Unix())]++
	}
	isPart := func(s string) bool { _, n := partOf(s); return n > 0 }
	for path, fi := range allFiles(t, m.dir) {
		part, _, _ := strings.Cut(path, "/")
		if rest, ok := strings.CutPrefix(path, "lock/"+mendName+"/"); ok {
			part, _, _ = strings.Cut(rest, ".")
		}
		if fi.Mode().IsRegular() && isPart(part) {
			take(m.dir, path, part, fi)
		}
	}
	if _, err := os.Stat(m.zdir); err != nil {
		return count
	}
	z := m.openQuarantine(t, nil)
	for it, err := range z.Items(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range it.Files {
			part, n := partOf(string(f.Path))
			if n == 0 {
				continue
			}
			path := filepath.Join(it.Name, f.Name)
			fi, err := os.Lstat(filepath.Join(m.zdir, path))
			if err != nil {
				// A directory is moved after the item is there.
				if old, e := os.Lstat(filepath.Join(m.dir, string(f.Path))); e != nil || !old.IsDir() {
					t.Errorf("quarantine: %v", err)
				}
				continue
			}
			now, err := os.Lstat(filepath.Join(m.dir, string(f.Path)))
			both := err == nil && os.SameFile(fi, now)
			if fi.Mode().IsRegular() && !f.Left && !both {
				take(m.zdir, path, part.String(), fi)
			}
		}
	}
	return count
}

// whole are the messages in a legal state with an envelope that can be read, as
// one text each of all their bytes.
func (m *mended) whole(t testing.TB) map[string]int {
	t.Helper()
	all := map[string]int{}
	q := m.open(t)
	for msg, err := range q.Messages(t.Context()) {
		if err != nil || msg.State != S4 && msg.State != S5 {
			continue
		}
		text := msg.State.String()
		for p := range numParts {
			if !msg.Parts.Has(p) || p == Intd || msg.State == S4 && p != Mess && p != Todo {
				continue
			}
			b, err := os.ReadFile(filepath.Join(m.dir, msg.path(p)))
			if err != nil {
				t.Fatal(err)
			}
			text += fmt.Sprintf(" %v %q", p, b)
		}
		for r, err := range msg.Recipients() {
			if err != nil {
				text = ""
				break
			}
			_ = r
		}
		if text != "" {
			all[text]++
		}
	}
	return all
}

// mend repairs until nothing is left to do, and no more often than rounds.
func (m *mended) mend(t testing.TB, rounds int) error {
	t.Helper()
	for range rounds {
		q := m.open(t)
		p, err := q.PlanRepair(t.Context())
		if err != nil {
			return err
		}
		if p.Empty() {
			return nil
		}
		l, err := q.Lock(t.Context())
		if err != nil {
			return err
		}
		err = l.Apply(t.Context(), p, &ApplyOptions{Quarantine: m.openQuarantine(t, nil)})
		l.Close()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, p)
		}
	}
	p, err := m.open(t).PlanRepair(t.Context())
	if err == nil && !p.Empty() {
		err = fmt.Errorf("after %d rounds there is left:\n%s", rounds, p)
	}
	return err
}

// clean holds that Check finds nothing.
func (m *mended) clean(t testing.TB) {
	t.Helper()
	for p, err := range m.open(t).Check(context.Background()) {
		if err != nil || p.Severity > qmailkit.Info && !(p.Code == codeNoOwners && os.Geteuid() != 0) {
			t.Errorf("after repair: %v, %v", p, err)
		}
	}
}

func sameCounts(t testing.TB, what string, got, want map[string]int) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] < want[k] {
			t.Errorf("%s: %d instead of %d of %.300s", what, got[k], want[k], k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if want[k] < got[k] {
			t.Errorf("%s: %d instead of %d of %.300s", what, got[k], want[k], k)
		}
	}
}

// fastDir makes a directory in memory where there is such a file system: tests
// that fail hundreds of times would else wait for the disk most of the time.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "queue-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// makeQueue makes a queue of its own: messages in todo, preprocessed ones, and
// one with a bounce, three of a kind.
func makeQueue(t testing.TB, layout Layout) *mended {
	t.Helper()
	dir := fastDir(t)
	m := &mended{dir: filepath.Join(dir, "queue"), zdir: filepath.Join(dir, "quarantine"), opts: &Options{}}
	if err := os.Mkdir(m.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := Create(t.Context(), root, &CreateOptions{Layout: layout, Owners: testOwners()}); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	m.opts.Now = func() time.Time { return now }
	q := m.open(t)
	for i := range 9 {
		id := enqueue(t, q, i)
		switch i % 3 {
		case 1:
			m.preprocess(t, q, id, i, false)
		case 2:
			m.preprocess(t, q, id, i, true)
		}
	}
	m.clean(t)
	return m
}

// testOwners are those that the tests can give files to.
func testOwners() Owners {
	if os.Geteuid() == 0 {
		return Owners{64014, 64012, 64013, 64010}
	}
	return Owners{os.Geteuid(), os.Geteuid(), os.Geteuid(), os.Getegid()}
}

// enqueue queues a message of its own.
func enqueue(t testing.TB, q *Queue, i int) ID {
	t.Helper()
	e := Envelope{Sender: fmt.Sprintf("s%d@example.net", i), Recipients: []string{fmt.Sprintf("r%d@example.com", i), "ann@example.org"}}
	id, err := q.Enqueue(t.Context(), strings.NewReader(fmt.Sprintf("Subject: %d\n\nbody\n", i)), e.reader(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// preprocess does what qmail-send would, with times that tell messages apart.
func (m *mended) preprocess(t testing.TB, q *Queue, id ID, i int, bounce bool) {
	t.Helper()
	write := func(p Part, text string, age time.Duration) {
		path := filepath.Join(m.dir, q.layout.Path(p, id))
		at := m.opts.Now().Add(age).Truncate(time.Second)
		err := os.WriteFile(path, []byte(text), 0o600)
		if err == nil && os.Geteuid() == 0 {
			err = os.Chown(path, q.owners.Qmails, q.owners.Group)
		}
		if err == nil {
			err = os.Chtimes(path, at, at)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write(Info, fmt.Sprintf("Fs%d@example.net\x00", i), time.Duration(i)*time.Minute)
	write(Local, fmt.Sprintf("Tvirtual-r%d@example.com\x00Djoe@example.com\x00", i), time.Hour+time.Duration(i)*time.Minute)
	if bounce {
		write(Bounce, fmt.Sprintf("<joe%d@example.com>:\nno\n\n", i), time.Hour)
	} else {
		write(Remote, fmt.Sprintf("Tann%d@example.org\x00", i), 2*time.Hour)
	}
	for _, p := range [...]Part{Intd, Todo} {
		if err := os.Remove(filepath.Join(m.dir, q.layout.Path(p, id))); err != nil {
			t.Fatal(err)
		}
	}
}

// scramble permutes the numbers of all messages in one cycle, so that each
// message has the number of the next one.
func (m *mended) scramble(t testing.TB) {
	t.Helper()
	q := m.open(t)
	var ids []ID
	for msg, err := range q.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, msg.ID)
	}
	for i, id := range ids {
		next := ids[(i+1)%len(ids)]
		for p := range numParts {
			path := filepath.Join(m.dir, q.layout.Path(p, id))
			if _, err := os.Lstat(path); err == nil {
				to := filepath.Join(m.dir, q.layout.Path(p, next)) + ".new"
				if err := os.Rename(path, to); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for path := range allFiles(t, m.dir) {
		if old, ok := strings.CutSuffix(path, ".new"); ok {
			if err := os.Rename(filepath.Join(m.dir, path), filepath.Join(m.dir, old)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// copyQueue copies the queue elsewhere, as a backup does: all inode numbers
// differ then.
func (m *mended) copyQueue(t testing.TB) *mended {
	t.Helper()
	dir := fastDir(t)
	c := &mended{dir: filepath.Join(dir, "queue"), zdir: filepath.Join(dir, "quarantine"), opts: m.opts}
	err := filepath.WalkDir(m.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(m.dir, path)
		to := filepath.Join(c.dir, rel)
		fi, err := e.Info()
		switch {
		case err != nil:
			return err
		case e.IsDir():
			err = os.Mkdir(to, fi.Mode().Perm())
		case fi.Mode().Type() == fs.ModeNamedPipe:
			err = unix.Mkfifo(to, uint32(fi.Mode().Perm()))
		default:
			var b []byte
			if b, err = os.ReadFile(path); err == nil {
				err = os.WriteFile(to, b, fi.Mode().Perm())
			}
		}
		if err == nil {
			err = os.Chmod(to, fi.Mode().Perm())
		}
		if err == nil && os.Geteuid() == 0 {
			st := fi.Sys().(*syscall.Stat_t)
			err = os.Chown(to, int(st.Uid), int(st.Gid))
		}
		if err == nil {
			err = os.Chtimes(to, fi.ModTime(), fi.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
