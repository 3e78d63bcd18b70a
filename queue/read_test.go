//go:build unix

package queue

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
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
)

// TestNextRetry compares with what qmail-send.c computes.
func TestNextRetry(t *testing.T) {
	b, err := os.ReadFile("testdata/retry.tsv")
	if err != nil {
		t.Fatal(err)
	}
	birth := time.Unix(1795290000, 0)
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")[1:]
	for _, line := range lines {
		var age, local, remote int64
		if _, err := fmt.Sscan(line, &age, &local, &remote); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		now := birth.Add(time.Duration(age) * time.Second)
		for c, want := range map[Channel]int64{ToLocal: local, ToRemote: remote} {
			if got := NextRetry(birth, now, c).Unix() - birth.Unix(); got != want {
				t.Errorf("age %d, %v: %d, want %d", age, c, got, want)
			}
		}
	}
	if len(lines) < 100 {
		t.Errorf("retry.tsv has %d lines only", len(lines))
	}
}

// TestStates compares with the table of INTERNALS for every set of files.
func TestStates(t *testing.T) {
	// By the order mess info local remote bounce todo intd; ? is either.
	table := map[string]State{
		"-------": S1,
		"+------": S2,
		"+-----+": S3,
		"+???-+?": S4,
		"++???--": S5,
	}
	for set := Parts(0); set < 1<<numParts; set++ {
		want := Illegal
		for pattern, state := range table {
			fits := true
			for i, c := range pattern {
				fits = fits && (c == '?' || (c == '+') == set.Has(Part(i)))
			}
			if fits {
				want = state
			}
		}
		if got := set.State(); got != want {
			t.Errorf("%07b: %v, want %v", set, got, want)
		}
	}
}

func TestParseID(t *testing.T) {
	for _, id := range []ID{0, 1, 10, 4294967296, 18446744073709551615} {
		if got, err := ParseID(id.String()); err != nil || got != id {
			t.Errorf("%v: %v, %v", id, got, err)
		}
	}
	for _, s := range []string{"", "01", "00", "-1", "+1", " 1", "1 ", "1a", "18446744073709551616", "99999999999999999999", "100000000000000000000", "\u0661"} {
		if id, err := ParseID(s); err == nil {
			t.Errorf("%q is %v", s, id)
		}
	}
}

// collect reads all messages, by number, with the errors as text.
func collect(t testing.TB, q *Queue) (map[ID]*Message, []error) {
	t.Helper()
	all := map[ID]*Message{}
	var errs []error
	for m, err := range q.Messages(context.Background()) {
		if err != nil {
			errs = append(errs, err)
		}
		if errors.Is(err, qmailkit.ErrIncomplete) {
			t.Errorf("ended early: %v", err)
		}
		if m == nil {
			continue
		}
		if all[m.ID] != nil {
			t.Errorf("message %v twice", m.ID)
		}
		all[m.ID] = m
	}
	return all, errs
}

// addresses are the recipients as text, and what went wrong.
func addresses(m *Message) (got []string, errs []error) {
	for r, err := range m.Recipients() {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		done := ""
		if r.Done {
			done = " done"
		}
		got = append(got, fmt.Sprintf("%v%s %s@%d", r.Channel, done, r.Address, r.Offset))
	}
	return got, errs
}

func TestRecipients(t *testing.T) {
	long := "T" + strings.Repeat("x", 2*MaxRecord) + "\x00"
	many := strings.Repeat("Tjoe@example.com\x00", 3000)
	tests := []struct {
		name  string
		files map[string]string
		want  []string
		errs  []error
	}{
		{"healthy", healthy(), []string{"local ann@example.com@0", "local done bob@example.com@17", "remote x@example.org@0"}, nil},
		{"todo", todo29(), []string{"todo joe@example.com@21"}, nil},
		{"intd", both(mess29(), map[string]string{"intd/29": "Fx\x00Ty\x00T"}), []string{"todo y@3"}, []error{ErrCut}},
		{"bytes", both(mess29(), map[string]string{"info/6/29": "F\x00", "local/6/29": "T\xff\n@\xc3\x00T\x00"}), []string{"local \xff\n@\xc3@0", "local @6"}, nil},
		{"bad ones between", both(mess29(), map[string]string{"info/6/29": "F\x00", "remote/6/29": "Ta\x00Xb\x00\x00Dc\x00Td"}),
			[]string{"remote a@0", "remote done c@7"}, []error{ErrRecord, ErrRecord, ErrCut}},
		{"done in todo", both(mess29(), map[string]string{"todo/29": "Fx\x00Dy\x00"}), nil, []error{ErrRecord}},
		{"long", both(mess29(), map[string]string{"info/6/29": "F\x00", "remote/6/29": "Ta\x00" + long + "Tb\x00"}),
			[]string{"remote a@0", fmt.Sprintf("remote b@%d", 3+len(long))}, []error{ErrLong}},
		{"unended long", both(mess29(), map[string]string{"info/6/29": "F\x00", "remote/6/29": "Ta\x00" + strings.TrimSuffix(long, "\x00")}),
			[]string{"remote a@0"}, []error{ErrLong}},
	}
	q, dir := newLab(t, Layout{Split: 23}, nil)
	for _, tt := range tests {
		fill(t, dir, tt.files)
		all, _ := collect(t, q)
		if all[29] == nil {
			t.Fatalf("%s: no message", tt.name)
		}
		got, errs := addresses(all[29])
		if !slices.Equal(got, tt.want) || len(errs) != len(tt.errs) {
			t.Errorf("%s: %q, %v, want %q, %v", tt.name, got, errs, tt.want, tt.errs)
		}
		for i, err := range errs {
			if bad := (*RecordError)(nil); i < len(tt.errs) && !errors.Is(err, tt.errs[i]) || !errors.As(err, &bad) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.errs[i])
			}
		}
		for name := range tt.files {
			os.Remove(filepath.Join(dir, name))
		}
	}
	// More than is kept is read again, and is the same.
	fill(t, dir, both(healthy(), map[string]string{"local/6/29": many}))
	all, _ := collect(t, q)
	if got, errs := addresses(all[29]); len(got) != 3001 || len(errs) > 0 || got[2999] != "local joe@example.com@"+strconv.Itoa(2999*17) {
		t.Errorf("%d recipients, %v", len(got), errs)
	}
}

func TestMessage(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 23}, both(healthy(), map[string]string{"bounce/29": "<x>:\nno\n\n"}))
	m, err := q.Message(29)
	if err != nil {
		t.Fatal(err)
	}
	if m.State != S5 || m.Sender != "joe@example.com" || !m.HasSender || m.Inode != 29 || m.UID != -1 || m.BounceSize != 9 ||
		!m.Birth.Equal(labTime) || !m.NextLocal.Equal(labTime) || m.Next() != m.NextLocal || m.Misplaced() {
		t.Errorf("%+v", m)
	}
	h, err := m.Header()
	if err != nil || h.Text("subject", nil) != "x" {
		t.Errorf("header %q, %v", h.Raw(), err)
	}
	f, err := m.OpenBounce()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "<x>:\nno\n\n" || err != nil {
		t.Errorf("bounce %q, %v", b, err)
	}
	if _, err := q.Message(30); !errors.Is(err, ErrNoMessage) {
		t.Errorf("no message: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "mess/6/29")); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("gone: %v", err)
	}
	fill(t, dir, map[string]string{"mess/6/52": "", "todo/52": "u7\x00p4294967296\x00Fx\x00"})
	if m, err := q.Message(52); err != nil || m.UID != 7 || m.PID != 4294967296 || m.State != S4 || m.Sender != "x" {
		t.Errorf("todo: %+v, %v", m, err)
	}
}

// TestDetect tells the layout from directories of which some are missing, too
// many, or no directories.
func TestDetect(t *testing.T) {
	for _, l := range []Layout{{Split: 1}, {Split: 2}, {Split: 23}, {Split: 23, BigTodo: true}, {Split: 47}} {
		dir := filepath.Join(t.TempDir(), "queue")
		layoutOf(t, dir, l)
		if q := openQueue(t, dir, nil); q.Layout() != l {
			t.Errorf("%+v, want %+v", q.Layout(), l)
		}
	}
	dir := filepath.Join(t.TempDir(), "queue")
	layoutOf(t, dir, Layout{Split: 23})
	labDir(t, dir, "todo/3", 0o700)
	labDir(t, dir, "mess/99", 0o700)
	labFile(t, dir, "info/25", "", 0o600)
	os.Remove(filepath.Join(dir, "local/22"))
	os.Remove(filepath.Join(dir, "info/0"))
	if got := openQueue(t, dir, nil).Layout(); got != (Layout{Split: 23}) {
		t.Errorf("damaged: %+v", got)
	}
	// One too many in each makes no other queue of it, nor does one too few.
	for _, name := range []string{"mess", "info", "local", "remote"} {
		labDir(t, dir, name+"/22", 0o700)
		labDir(t, dir, name+"/28", 0o700)
	}
	if got := openQueue(t, dir, nil).Layout(); got != (Layout{Split: 23}) {
		t.Errorf("one too many in each: %+v", got)
	}
	for _, name := range []string{"mess", "info", "local", "remote"} {
		os.Remove(filepath.Join(dir, name, "28"))
		os.Remove(filepath.Join(dir, name, "11"))
	}
	if got := openQueue(t, dir, nil).Layout(); got != (Layout{Split: 23}) {
		t.Errorf("one too few in each: %+v", got)
	}
	for _, name := range []string{"mess", "info", "local", "remote"} {
		labDir(t, dir, name+"/11", 0o700)
	}
	// Two say 23, two say 24: the files decide.
	labDir(t, dir, "local/22", 0o700)
	labDir(t, dir, "info/0", 0o700)
	os.Remove(filepath.Join(dir, "mess/99"))
	for _, want := range []int{24, 23} {
		labDir(t, dir, "mess/23", 0o700)
		labDir(t, dir, "info/23", 0o700)
		for id := ID(1000); id < 1010; id++ {
			at := Layout{Split: want}.Path(Mess, id)
			labFile(t, dir, at, "", 0o600)
		}
		if got := openQueue(t, dir, nil).Layout(); got != (Layout{Split: want}) {
			t.Errorf("by files: %+v, want %d", got, want)
		}
		for id := ID(1000); id < 1010; id++ {
			os.Remove(filepath.Join(dir, Layout{Split: want}.Path(Mess, id)))
		}
	}
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if _, err := Open(root, nil); !errors.Is(err, ErrNoQueue) {
		t.Errorf("empty directory: %v", err)
	}
}

// TestLive reads while messages come and go, as they do under qmail-send: no
// error, no damage, and each message that stayed.
func TestLive(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 3}, nil)
	var stay []ID
	for id := ID(10); id < 110; id++ {
		fill(t, dir, map[string]string{q.layout.Path(Mess, id): "x\n\ny", q.layout.Path(Info, id): "Fa\x00", q.layout.Path(Local, id): "Tb\x00"})
		stay = append(stay, id)
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for id := ID(1000); ; id++ {
			select {
			case <-stop:
				return
			default:
				lifeOf(t, dir, q.layout, 1000+id%40)
			}
		}
	}()
	for range 30 {
		all, errs := collect(t, q)
		for _, id := range stay {
			if m := all[id]; m == nil || m.State != S5 || !m.HasSender {
				t.Errorf("message %d: %+v", id, m)
			}
		}
		for _, err := range errs {
			t.Errorf("reading: %v", err)
		}
		for _, f := range allFaults(t, q) {
			if f.severity > qmailkit.Info && f.code != codeLeftOver {
				t.Errorf("checking: %v", f.problem())
			}
		}
		if err := q.WriteQread(context.Background(), io.Discard); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-done
}

// lifeOf lets a message come, be preprocessed and go, in the order of qmail's
// programs.
func lifeOf(t *testing.T, dir string, l Layout, id ID) {
	at := func(p Part) string { return filepath.Join(dir, l.Path(p, id)) }
	write := func(p Part, text string) {
		mode := fs.FileMode(0o600)
		if p == Mess || p == Intd {
			mode = 0o644
		}
		// The name appears when owner and mode are right, as from qmail.
		tmp := filepath.Join(filepath.Dir(dir), "tmp")
		if err := os.WriteFile(tmp, []byte(text), mode); err != nil {
			t.Error(err)
		}
		settleLab(t, tmp, mode)
		if err := os.Rename(tmp, at(p)); err != nil {
			t.Error(err)
		}
	}
	write(Mess, "x\n")
	write(Intd, "u0\x00p1\x00Fs\x00Tr\x00")
	os.Link(at(Intd), at(Todo))
	write(Info, "Fs\x00")
	write(Local, "Tr\x00")
	os.Remove(at(Intd))
	os.Remove(at(Todo))
	write(Bounce, "<r>:\nno\n\n")
	os.Remove(at(Local))
	os.Remove(at(Bounce))
	os.Remove(at(Info))
	os.Remove(at(Mess))
}

func TestMessagesStop(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 3}, nil)
	for id := ID(1); id <= 1000; id++ {
		put(t, dir, q.layout.Path(Mess, id), "")
	}
	n := 0
	for range q.Messages(context.Background()) {
		if n++; n == 70 {
			break
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last error
	for _, err := range q.Messages(ctx) {
		cancel()
		last = err
	}
	if n != 70 || !errors.Is(last, context.Canceled) || !errors.Is(last, qmailkit.ErrIncomplete) {
		t.Errorf("%d messages, then %v", n, last)
	}
}

// TestOrder holds that messages come by directory and number.
func TestOrder(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 3}, nil)
	var want []ID
	for n := range ID(3) {
		for id := n + 9; id < 600; id += 3 {
			put(t, dir, q.layout.Path(Mess, id), "")
			want = append(want, id)
		}
	}
	var got []ID
	for m := range q.Messages(context.Background()) {
		got = append(got, m.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestTimeouts(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 3}, nil)
	now := uint32(labTime.Add(time.Hour).Unix())
	record := func(ip string, count byte, when uint32) string {
		return ip + string([]byte{count, 9, 9, 9, byte(when), byte(when >> 8), byte(when >> 16), byte(when >> 24), 9, 9, 9, 9})
	}
	table := record("\x7f\x00\x00\x01", 2, now-60) + record("\x01\x01\x01\x01", 0, now) + record("\xff\xfe\x00\x02", 10, now) +
		record("\x05\x05\x05\x05", 0x80, now) + "half a record"
	put(t, dir, "lock/tcpto", table)
	var out bytes.Buffer
	if err := q.WriteTcpto(&out); err != nil {
		t.Fatal(err)
	}
	want := "127.0.0.1 timed out 60 seconds ago; # recent timeouts: 2\n255.254.0.2 timed out 0 seconds ago; # recent timeouts: 10\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	if err := os.Remove(filepath.Join(dir, "lock/tcpto")); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Timeouts(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
