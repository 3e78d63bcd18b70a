//go:build unix

package queue

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// goldenCase is a run of the real qmail-queue; see testdata/README.
type goldenCase struct {
	Case     string
	Invoker  string `json:"invoked_by"`
	Message  string
	Envelope string
	RC       int
	Left     struct {
		Pid, Mess, Intd, Todo int
		MessBytes             string `json:"mess_bytes"`
		IntdBytes             string `json:"intd_bytes"`
		TodoBytes             string `json:"todo_bytes"`
	}
	Note string
}

func goldenCases(t testing.TB) []goldenCase {
	t.Helper()
	f, err := os.Open("testdata/qmail-queue.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []goldenCase
	for d := json.NewDecoder(z); ; {
		var c goldenCase
		if err := d.Decode(&c); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if len(all) < 30 {
		t.Fatalf("only %d cases", len(all))
	}
	return all
}

// TestEnqueueGolden queues what qmail-queue was given: the same exit code, and
// where it was taken the same bytes in the same files, but for process number,
// time and user, which are told to Enqueue as they were. What qmail-queue leaves
// behind for qmail-clean, Enqueue cleans up.
func TestEnqueueGolden(t *testing.T) {
	for _, c := range goldenCases(t) {
		t.Run(c.Case, func(t *testing.T) {
			message, envelope := latin1(c.Message), latin1(c.Envelope)
			m := &mended{dir: filepath.Join(fastDir(t), "queue"), opts: &Options{}}
			os.Mkdir(m.dir, 0o700)
			root, err := os.OpenRoot(m.dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			if err := Create(t.Context(), root, &CreateOptions{Layout: small, Owners: testOwners()}); err != nil {
				t.Fatal(err)
			}
			opts := &EnqueueOptions{Alias: 64010, Qmaild: 64011}
			m.opts.Owners = testOwners()
			m.opts.Owners.Qmails = 64012
			if c.RC == 0 {
				goldenInvoker(t, c, m, opts)
			}
			hook, in := goldenFault(t, c, m, message)
			m.opts.hook = hook
			q := m.open(t)
			goldenMissing(t, c, m)
			var code int
			env := io.Reader(strings.NewReader(envelope))
			if c.Case == "missing-fd1" {
				env = iotest.ErrReader(syscall.EBADF)
			}
			id, err := q.Enqueue(t.Context(), in, env, opts)
			var refused *SubmitError
			if errors.As(err, &refused) {
				code = refused.Code
			} else if err != nil {
				t.Fatal(err)
			}
			if code != c.RC {
				t.Errorf("exit code %d, want %d: %v", code, c.RC, err)
			}
			files := allFiles(t, m.dir)
			for path := range files {
				if strings.HasPrefix(path, "lock/") {
					delete(files, path)
				}
			}
			if c.RC != 0 {
				if len(files) > 0 {
					t.Errorf("left behind: %v", files)
				}
				return
			}
			if len(files) != 3 {
				t.Errorf("there are %v", files)
			}
			for p, want := range map[Part]string{Mess: c.Left.MessBytes, Intd: c.Left.IntdBytes, Todo: c.Left.TodoBytes} {
				path := q.layout.Path(p, id)
				b, err := os.ReadFile(filepath.Join(m.dir, path))
				if err != nil || string(b) != latin1(want) {
					t.Errorf("%s:\n%q, want\n%q (%v)", path, b, latin1(want), err)
				}
				fi := files[path]
				if fi == nil || fi.Mode() != 0o644 || p == Mess && ID(inode(fi)) != id {
					t.Errorf("%s: %v", path, fi)
				}
			}
			if !os.SameFile(files[q.layout.Path(Intd, id)], files[q.layout.Path(Todo, id)]) {
				t.Error("todo and intd are two files")
			}
		})
	}
}

// goldenInvoker tells Enqueue who ran qmail-queue when, from what it left.
func goldenInvoker(t *testing.T, c goldenCase, m *mended, opts *EnqueueOptions) {
	t.Helper()
	line, _, _ := strings.Cut(c.Left.MessBytes, "\n")
	_, date, ok := strings.Cut(line, "); ")
	now, err := time.Parse("2 Jan 2006 15:04:05 -0700", date)
	if !ok || err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	m.opts.Now = func() time.Time { return now }
	if _, err := fmt.Sscanf(c.Left.IntdBytes, "u%d\x00p%d", &opts.UID, &opts.PID); err != nil {
		t.Fatal(err)
	}
	if opts.UID == 0 && os.Getuid() != 0 {
		t.Skip("only root queues as root")
	}
}

// goldenMissing removes what was missing.
func goldenMissing(t *testing.T, c goldenCase, m *mended) {
	t.Helper()
	dir := map[string]string{"missing-queue": ".", "missing-piddir": "pid", "missing-intddir": "intd", "missing-todofull": "todo", "missing-mess": "mess"}[c.Case]
	if dir != "" {
		if err := os.RemoveAll(filepath.Join(m.dir, dir)); err != nil {
			t.Fatal(err)
		}
	}
	if dir == "." {
		t.Skip("an open queue has a directory")
	}
}

// goldenFault makes the step fail that failed then.
func goldenFault(t *testing.T, c goldenCase, m *mended, message string) (safefs.Hook, io.Reader) {
	t.Helper()
	in := io.Reader(strings.NewReader(message))
	name, errno, found := strings.Cut(c.Case, "-E")
	if !found {
		if c.Case == "missing-fd0" {
			in = iotest.ErrReader(syscall.EBADF)
		}
		return nil, in
	}
	fault := map[string]error{"EXIST": fs.ErrExist, "ACCES": syscall.EACCES, "NOSPC": syscall.ENOSPC, "IO": syscall.EIO}[errno]
	if fault == nil {
		t.Fatalf("unknown fault %s", c.Case)
	}
	op, nth, _ := strings.Cut(name, "-")
	op = map[string]string{"link": "link", "unlink": "remove", "write": "write", "fsync": "sync"}[op]
	n, _ := strconv.Atoi(nth)
	n = max(n, 1)
	if op == "write" && n == 2 {
		// The message is written in two calls here, in one there.
		n = 3
	}
	if op == "" {
		return nil, in // a read that failed too late to matter
	}
	return func(got, _ string) error {
		if got == op {
			if n--; n == 0 {
				return fault
			}
		}
		return nil
	}, in
}

// TestEnqueueFaults lets each step fail once: nothing is left then, or the
// message is queued.
func TestEnqueueFaults(t *testing.T) {
	for n := 0; ; n++ {
		m := &mended{dir: fastDir(t), opts: &Options{}}
		root, err := os.OpenRoot(m.dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := Create(t.Context(), root, &CreateOptions{Layout: small}); err != nil {
			t.Fatal(err)
		}
		root.Close()
		left, failed := n, ""
		m.opts.hook = func(op, name string) error {
			if left--; left == -1 {
				failed = op
				return syscall.EDQUOT
			}
			return nil
		}
		q := m.open(t)
		id, err := q.Enqueue(t.Context(), strings.NewReader("x\n"), Envelope{Sender: "s@x", Recipients: []string{"r@x"}}.reader(), nil)
		var refused *SubmitError
		if failed == "" {
			if err != nil || n < 10 {
				t.Errorf("%d steps, %v", n, err)
			}
			break
		}
		if !errors.As(err, &refused) || !errors.Is(err, syscall.EDQUOT) || refused.Permanent() {
			t.Errorf("step %d (%s): %v", n, failed, err)
		}
		msgs := 0
		for msg, err := range q.Messages(t.Context()) {
			msgs++
			if err != nil || msg.State != S4 || msg.ID != id {
				t.Errorf("step %d (%s): %d %v, %v", n, failed, msg.ID, msg.State, err)
			}
		}
		if (msgs == 1) != (id != 0) {
			t.Errorf("step %d (%s): %d messages, number %d", n, failed, msgs, id)
		}
		if pids, _ := os.ReadDir(filepath.Join(m.dir, "pid")); len(pids) > 0 {
			t.Errorf("step %d (%s): left in pid: %v", n, failed, pids)
		}
	}
}

func TestEnqueueTimeout(t *testing.T) {
	m := makeQueue(t, small)
	q := m.open(t)
	before := len(allFiles(t, m.dir))
	slow := io.MultiReader(strings.NewReader("x"), readFunc(func(p []byte) (int, error) {
		time.Sleep(2 * time.Millisecond)
		return copy(p, "x"), nil
	}))
	_, err := q.Enqueue(t.Context(), slow, strings.NewReader(""), &EnqueueOptions{Timeout: 20 * time.Millisecond})
	var refused *SubmitError
	if !errors.As(err, &refused) || refused.Code != ExitTimeout || refused.Text() != "qq timeout (#4.3.0)" {
		t.Errorf("%v", err)
	}
	if n := len(allFiles(t, m.dir)); n != before {
		t.Errorf("%d files, then %d", before, n)
	}
}

type readFunc func(p []byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// TestTrigger: qmail-send is woken.
func TestTrigger(t *testing.T) {
	m := makeQueue(t, small)
	q := m.open(t)
	r, err := os.OpenFile(filepath.Join(m.dir, "lock/trigger"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	enqueue(t, q, 1)
	if n, err := r.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
}

// TestSubmit: what a Runner sees, and what becomes of its answer.
func TestSubmit(t *testing.T) {
	env := Envelope{Sender: "s@x", Recipients: []string{"a@x", "b@x"}}
	var gotMessage, gotEnvelope []byte
	run := func(code int, err error) Runner {
		return func(ctx context.Context, message, envelope io.Reader) (int, error) {
			gotMessage, gotEnvelope = nil, nil
			// The envelope in a goroutine of its own, and first.
			done := make(chan struct{})
			go func() { gotEnvelope, _ = io.ReadAll(envelope); close(done) }()
			gotMessage, _ = io.ReadAll(message)
			<-done
			return code, err
		}
	}
	if err := Submit(t.Context(), run(0, nil), strings.NewReader("m"), env); err != nil || string(gotMessage) != "m" || string(gotEnvelope) != "Fs@x\x00Ta@x\x00Tb@x\x00\x00" {
		t.Errorf("%q %q %v", gotMessage, gotEnvelope, err)
	}
	var refused *SubmitError
	if err := Submit(t.Context(), run(53, nil), strings.NewReader("m"), env); !errors.As(err, &refused) || refused.Code != 53 || errors.Is(err, ErrPermanent) {
		t.Errorf("%v", err)
	}
	if err := Submit(t.Context(), run(31, nil), strings.NewReader("m"), env); !errors.Is(err, ErrPermanent) {
		t.Errorf("%v", err)
	}
	if err := Submit(t.Context(), run(0, os.ErrNotExist), strings.NewReader("m"), env); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	// A message that cannot be read to its end has no envelope.
	broken := io.MultiReader(strings.NewReader("half"), iotest.ErrReader(syscall.EIO))
	if err := Submit(t.Context(), run(0, nil), broken, env); !errors.Is(err, syscall.EIO) || len(gotEnvelope) != 0 {
		t.Errorf("%q, %v", gotEnvelope, err)
	}
	lazy := func(context.Context, io.Reader, io.Reader) (int, error) { return 0, nil }
	if err := Submit(t.Context(), lazy, strings.NewReader("m"), env); !errors.As(err, &refused) || refused.Code != 0 || refused.Text() != "qq read error (#4.3.0)" {
		t.Errorf("a program that reads nothing: %v", err)
	}
	for _, bad := range []Envelope{{Sender: "a\x00b"}, {Recipients: []string{strings.Repeat("x", MaxAddress+1)}}} {
		called := false
		err := Submit(t.Context(), func(context.Context, io.Reader, io.Reader) (int, error) { called = true; return 0, nil }, strings.NewReader("m"), bad)
		if !errors.As(err, &refused) || called {
			t.Errorf("%v, called %v", err, called)
		}
	}
}

// TestSubmitError holds the texts and the kinds of qmail.c, qmail_close.
func TestSubmitError(t *testing.T) {
	texts := map[int]string{
		11: "envelope address too long for qq (#5.1.3)", 115: "envelope address too long for qq (#5.1.3)",
		31: "mail server permanently rejected message (#5.3.0)", 12: "qq permanent problem (#5.3.0)", 40: "qq permanent problem (#5.3.0)",
		51: "qq out of memory (#4.3.0)", 53: "qq write error or disk full (#4.3.0)", 54: "qq read error (#4.3.0)", 0: "qq read error (#4.3.0)",
		61: "qq trouble in home directory (#4.3.0)", 62: "qq trouble creating files in queue (#4.3.0)", 66: "qq trouble creating files in queue (#4.3.0)",
		74: "communication with mail server failed (#4.4.2)", 81: "qq internal bug (#4.3.0)", 91: "qq internal bug (#4.3.0)",
		120: "unable to exec qq (#4.3.0)", 41: "qq temporary problem (#4.3.0)", 10: "qq temporary problem (#4.3.0)", 255: "qq temporary problem (#4.3.0)",
	}
	for code, want := range texts {
		e := &SubmitError{Code: code}
		if got := e.Text(); got != want || e.Permanent() != strings.Contains(want, "(#5.") || errors.Is(e, ErrPermanent) != e.Permanent() {
			t.Errorf("%d: %q, permanent %v; want %q", code, got, e.Permanent(), want)
		}
	}
}

func TestSubmitNative(t *testing.T) {
	m := makeQueue(t, small)
	q := m.open(t)
	env := Envelope{Sender: "native@example.net", Recipients: []string{"x@example.org"}}
	if err := Submit(t.Context(), q.Runner(nil), strings.NewReader("hello\n"), env); err != nil {
		t.Fatal(err)
	}
	n := 0
	for msg, err := range q.Messages(t.Context()) {
		if err == nil && msg.Sender == env.Sender {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d messages", n)
	}
}

// FuzzEnvelope: what is read is written again as it was, in any pieces, and
// only the exit codes of qmail-queue come out.
func FuzzEnvelope(f *testing.F) {
	for _, c := range goldenCases(f) {
		f.Add([]byte(latin1(c.Envelope)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ReadEnvelope(bytes.NewReader(b), 100)
		one, err1 := ReadEnvelope(iotest.OneByteReader(bytes.NewReader(b)), 100)
		if fmt.Sprint(e, err) != fmt.Sprint(one, err1) {
			t.Errorf("%v %v, byte by byte %v %v", e, err, one, err1)
		}
		if err != nil {
			var refused *SubmitError
			if !errors.As(err, &refused) || refused.Code != ExitRead && refused.Code != ExitProtocol && refused.Code != ExitAddress && refused.Code != ExitMemory {
				t.Errorf("%v", err)
			}
			return
		}
		var out bytes.Buffer
		if _, err := e.WriteTo(&out); err != nil || !bytes.HasPrefix(b, out.Bytes()) {
			t.Errorf("%q becomes %q, %v", b, out.Bytes(), err)
		}
	})
}
