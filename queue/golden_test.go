//go:build unix

package queue

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A golden queue is one that real programs made; see testdata/README.
type golden struct {
	name  string
	files map[string][]byte
}

// readGolden reads testdata/golden.tar.gz once.
var readGolden = sync.OnceValues(func() ([]*golden, error) {
	f, err := os.Open("testdata/golden.tar.gz")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	var all []*golden
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		dir, base := filepath.Split(h.Name)
		dir = strings.TrimSuffix(dir, "/")
		if base == "" || dir == "" {
			continue
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 || all[len(all)-1].name != dir {
			all = append(all, &golden{name: dir, files: map[string][]byte{}})
		}
		all[len(all)-1].files[base] = b
	}
})

// goldens are all golden queues.
func goldens(t testing.TB) []*golden {
	t.Helper()
	all, err := readGolden()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 32 {
		t.Fatalf("testdata/golden.tar.gz has %d queues, want 32", len(all))
	}
	return all
}

// goldenQueue is the golden queue of that name.
func goldenQueue(t testing.TB, name string) *golden {
	t.Helper()
	for _, g := range goldens(t) {
		if g.name == name {
			return g
		}
	}
	t.Fatalf("no golden queue %s", name)
	return nil
}

// damaged says that the queue was damaged by hand.
func (g *golden) damaged() bool { return g.files["defects.json"] != nil }

// manifest is what a copy of a queue cannot keep, by path: inode numbers and
// times of access.
type manifest map[string]struct {
	ino   uint64
	atime time.Time
}

func (g *golden) manifest(t testing.TB) manifest {
	t.Helper()
	m := manifest{}
	for i, line := range strings.Split(strings.TrimSuffix(string(g.files["manifest.tsv"]), "\n"), "\n") {
		f := strings.Split(line, "\t")
		if i == 0 {
			continue
		}
		ino, err := strconv.ParseUint(f[2], 10, 64)
		at, err2 := strconv.ParseInt(f[9], 10, 64)
		if err != nil || err2 != nil {
			t.Fatalf("%s: manifest line %d: %q", g.name, i+1, line)
		}
		file := m[f[0]]
		file.ino, file.atime = ino, time.Unix(at, 0)
		m[strings.TrimPrefix(f[0], "queue/")] = file
	}
	return m
}

func (m manifest) inode(path string) (uint64, bool) {
	f, ok := m[path]
	return f.ino, ok
}

func (m manifest) time(path string) (time.Time, bool) {
	f, ok := m[path]
	return f.atime, ok
}

// unpack unpacks the queue, with owners where the test is run by root.
func (g *golden) unpack(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	var dirs []*tar.Header
	for tr := tar.NewReader(bytes.NewReader(g.files["queue.tar"])); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.Mkdir(path, 0o700)
			dirs = append(dirs, h)
		case tar.TypeReg:
			var b []byte
			if b, err = io.ReadAll(tr); err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
		case tar.TypeLink:
			err = os.Link(filepath.Join(dir, h.Linkname), path)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		case tar.TypeFifo:
			err = unix.Mkfifo(path, 0o600)
		default:
			t.Fatalf("%s: type %c", h.Name, h.Typeflag)
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeDir {
			settle(t, path, h)
		}
	}
	for _, h := range slices.Backward(dirs) {
		settle(t, filepath.Join(dir, h.Name), h)
	}
	return filepath.Join(dir, "queue")
}

// settle gives a file the owner, mode and times of its header.
func settle(t testing.TB, path string, h *tar.Header) {
	t.Helper()
	var errs []error
	if os.Geteuid() == 0 {
		errs = append(errs, os.Lchown(path, h.Uid, h.Gid))
	}
	if h.Typeflag != tar.TypeSymlink {
		errs = append(errs, os.Chmod(path, fs.FileMode(h.Mode).Perm()), os.Chtimes(path, h.AccessTime, h.ModTime))
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// options make the queue what it was.
func (g *golden) options(t testing.TB) *Options {
	t.Helper()
	m := g.manifest(t)
	made, ok := m.time("bounce")
	if !ok {
		t.Fatalf("%s: no time in the manifest", g.name)
	}
	// An hour after the queue was made.
	return &Options{
		Now:    func() time.Time { return made.Add(time.Hour) },
		Inodes: m.inode,
		ATimes: m.time,
	}
}

// openQueue opens a directory for the length of a test.
func openQueue(t testing.TB, dir string, opts *Options) *Queue {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	q, err := Open(root, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// open unpacks and opens the queue.
func (g *golden) open(t testing.TB) *Queue {
	t.Helper()
	return openQueue(t, g.unpack(t), g.options(t))
}

// TestGolden reads each golden queue in all ways; none of them changes it.
func TestGolden(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			q := g.open(t)
			t.Run("layout", func(t *testing.T) { goldenLayout(t, g, q) })
			t.Run("qread", func(t *testing.T) { goldenQread(t, g, q) })
			t.Run("qstat", func(t *testing.T) { goldenQstat(t, g, q) })
			t.Run("messages", func(t *testing.T) { goldenMessages(t, g, q) })
			t.Run("check", func(t *testing.T) { goldenCheck(t, g, q) })
		})
	}
}

func goldenLayout(t *testing.T, g *golden, q *Queue) {
	want := Layout{Split: 23}
	if strings.HasPrefix(g.name, "variant-bigtodo211") {
		want = Layout{Split: 211, BigTodo: true}
	}
	if q.Layout() != want {
		t.Errorf("layout %+v, want %+v", q.Layout(), want)
	}
	if os.Geteuid() == 0 {
		if want := (Owners{64014, 64012, 64013, 64010}); q.Owners() != want {
			t.Errorf("owners %+v, want %+v", q.Owners(), want)
		}
	}
}

// blocks parts the output of qmail-qread into that of each message.
func blocks(s string) []string {
	var all []string
	for line := range strings.SplitAfterSeq(s, "\n") {
		if line == "" {
			continue
		}
		if (line[0] == '\t' || line[0] == ' ') && len(all) > 0 {
			all[len(all)-1] += line
		} else {
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

func goldenQread(t *testing.T, g *golden, q *Queue) {
	var out bytes.Buffer
	err := q.WriteQread(context.Background(), &out)
	if fatal := strings.TrimSpace(string(g.files["qread.rc"])) == "111"; fatal != errors.Is(err, fs.ErrNotExist) || !fatal && err != nil {
		t.Errorf("error %v; qmail-qread ended with %s", err, g.files["qread.rc"])
	}
	got, want := blocks(out.String()), blocks(string(g.files["qread.txt"]))
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, ""), strings.Join(want, ""))
	}
}

func goldenQstat(t *testing.T, g *golden, q *Queue) {
	var out bytes.Buffer
	if err := q.WriteQstat(context.Background(), &out); err != nil {
		t.Fatal(err)
	}
	if want := string(g.files["qstat.txt"]); out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
}

// goldenMessage is a line of messages.jsonl.
type goldenMessage struct {
	ID          uint64                     `json:"id"`
	Files       map[string]json.RawMessage `json:"files"`
	State       string                     `json:"state"`
	Size        *int64                     `json:"size"`
	TodoFields  []string                   `json:"todo_fields"`
	InfoFields  []string                   `json:"info_fields"`
	Birth       int64                      `json:"birth"`
	Local       []goldenRecipient          `json:"local"`
	LocalMtime  int64                      `json:"local_mtime"`
	Remote      []goldenRecipient          `json:"remote"`
	RemoteMtime int64                      `json:"remote_mtime"`
	Bounce      *string                    `json:"bounce"`
}

type goldenRecipient struct{ Mark, Addr string }

// latin1 is the bytes that a string of code points below 256 stands for.
func latin1(s string) string {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}

func (g *golden) messages(t testing.TB) map[ID]goldenMessage {
	t.Helper()
	all := map[ID]goldenMessage{}
	for line := range strings.SplitSeq(string(g.files["messages.jsonl"]), "\n") {
		if line == "" {
			continue
		}
		var m goldenMessage
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		all[ID(m.ID)] = m
	}
	return all
}

func goldenMessages(t *testing.T, g *golden, q *Queue) {
	want := g.messages(t)
	for m, err := range q.Messages(context.Background()) {
		if err != nil && !g.damaged() {
			t.Errorf("%v", err)
		}
		w, ok := want[m.ID]
		if !ok {
			t.Errorf("message %d is not in messages.jsonl", m.ID)
			continue
		}
		delete(want, m.ID)
		compareGolden(t, m, &w)
	}
	for id := range want {
		t.Errorf("message %d is missing", id)
	}
}

// compareGolden compares a message with what messages.jsonl says of it.
func compareGolden(t *testing.T, m *Message, w *goldenMessage) {
	t.Helper()
	if m.State.String() != w.State {
		t.Errorf("%d: state %v, want %s", m.ID, m.State, w.State)
	}
	for p := range numParts {
		var paths []string
		if raw := w.Files[p.String()]; len(raw) > 0 && raw[0] == '[' {
			json.Unmarshal(raw, &paths)
		} else if len(raw) > 0 {
			paths = make([]string, 1)
			json.Unmarshal(raw, &paths[0])
		}
		slices.Sort(paths)
		if got := m.Paths(p); !slices.Equal(got, paths) {
			t.Errorf("%d: %v at %q, want %q", m.ID, p, got, paths)
		}
	}
	if size := int64(-1); w.Size != nil && *w.Size != m.Size || w.Size == nil && m.Size != size {
		t.Errorf("%d: size %d, want %v", m.ID, m.Size, w.Size)
	}
	if w.Bounce != nil && m.BounceSize != int64(len(latin1(*w.Bounce))) || w.Bounce == nil && m.BounceSize != -1 {
		t.Errorf("%d: bounce of %d bytes, want %v", m.ID, m.BounceSize, w.Bounce)
	}
	compareGoldenEnvelope(t, m, w)
}

func compareGoldenEnvelope(t *testing.T, m *Message, w *goldenMessage) {
	t.Helper()
	fields := w.InfoFields
	if m.Parts.Has(Todo) {
		fields = w.TodoFields
	}
	sender := ""
	for _, f := range fields {
		if f[0] == 'F' {
			sender = latin1(f)
		}
	}
	if m.Parts.Has(Todo) || m.Parts.Has(Info) {
		if m.HasSender != (sender != "") || sender != "" && m.Sender != sender[1:] {
			t.Errorf("%d: sender %q (%v), want %q", m.ID, m.Sender, m.HasSender, sender)
		}
	}
	if w.LocalMtime != 0 && m.NextLocal.Unix() != w.LocalMtime || w.RemoteMtime != 0 && m.NextRemote.Unix() != w.RemoteMtime {
		t.Errorf("%d: next tries %v and %v, want %d and %d", m.ID, m.NextLocal, m.NextRemote, w.LocalMtime, w.RemoteMtime)
	}
	if m.State == S5 && m.Birth.Unix() != w.Birth && !m.Misplaced() {
		t.Errorf("%d: birth %v, want %d", m.ID, m.Birth, w.Birth)
	}
	var got, want []string
	for r, err := range m.Recipients() {
		if err == nil {
			got = append(got, r.Channel.String()+map[bool]string{true: "D", false: "T"}[r.Done]+r.Address)
		}
	}
	if m.Parts.Has(Todo) {
		for _, f := range w.TodoFields {
			if f[0] == 'T' {
				want = append(want, "todo"+latin1(f))
			}
		}
	} else {
		for channel, list := range map[string][]goldenRecipient{"local": w.Local, "remote": w.Remote} {
			for _, r := range list {
				if r.Mark == "T" || r.Mark == "D" {
					want = append(want, channel+r.Mark+latin1(r.Addr))
				}
			}
		}
		slices.Sort(want)
		if m.State == S3 {
			got = nil // what was not accepted is compared elsewhere
		}
		slices.Sort(got)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d: recipients %q, want %q", m.ID, got, want)
	}
}
