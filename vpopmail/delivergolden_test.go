//go:build unix

package vpopmail

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A mailStep is a step with a message: see testdata/README.
type mailStep struct {
	step
	Env     map[string]string
	Message *struct {
		Text   *string
		Size   int
		SHA256 string
	}
}

func readMailSteps(t testing.TB, name string, least int) []mailStep {
	t.Helper()
	b, err := os.ReadFile("testdata/delivery/" + name + ".jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var all []mailStep
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 1<<22)
	for sc.Scan() {
		var s mailStep
		if err := json.Unmarshal(sc.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := sc.Err(); err != nil || len(all) < least {
		t.Fatalf("%d steps of %d, %v", len(all), least, err)
	}
	return all
}

const mailHeader = "From: sender@example.net\nTo: someone@example.com\nSubject: test\nMessage-ID: <test.1@example.net>\n\n"

// message is what the step delivers. Long ones are told by size and sum, and
// are lines of 70 x behind the usual header.
func (s *mailStep) message(t testing.TB) string {
	t.Helper()
	switch {
	case s.Message == nil:
		return s.Stdin.Text
	case s.Message.Text != nil:
		return *s.Message.Text
	}
	n := s.Message.Size - len(mailHeader) - 1
	body := strings.Repeat(strings.Repeat("x", 70)+"\n", n/71+1)[:n] + "\n"
	sum := sha256.Sum256([]byte(mailHeader + body))
	if hex.EncodeToString(sum[:]) != s.Message.SHA256 {
		t.Fatalf("step %d: the message cannot be made again", s.N)
	}
	return mailHeader + body
}

// byHand brings the tree to what the step left: the change is not this
// test's subject.
func (h *host) byHand(s *mailStep) {
	h.t.Helper()
	for _, name := range s.Removed {
		if err := os.RemoveAll(filepath.Join(h.dir, name)); err != nil {
			h.t.Fatal(err)
		}
	}
	for name, f := range s.Changed {
		text, ok := f.content(h.t)
		full := filepath.Join(h.dir, name)
		var err error
		switch {
		case strings.HasSuffix(name, "/vpasswd.cdb"):
			continue
		case f.Type == "dir":
			err = os.MkdirAll(full, 0o700)
		case !ok && f.Size > 0:
			h.t.Fatalf("step %d: %s has no text", s.N, name)
		default:
			h.write(name, text)
		}
		if strings.HasSuffix(name, "/vpasswd") {
			var cdb memFile
			if err := writeCDB(&cdb, ParseVpasswd([]byte(text))); err != nil {
				h.t.Fatal(err)
			}
			h.write(name+".cdb", string(cdb.b))
		}
		mode, e := strconv.ParseUint(f.Mode, 8, 32)
		err = errors.Join(err, e, os.Chmod(full, os.FileMode(mode)))
		if os.Geteuid() == 0 {
			err = errors.Join(err, os.Chown(full, f.UID, f.GID))
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

// A sentOn is a forward that was asked for.
type sentOn struct{ sender, to, message string }

// deliverStep delivers the step's message as qmail-local and vdelivermail did.
func (h *host) deliverStep(st *mailStep) (rc int, text string, sent []sentOn, problems []string, err error) {
	h.t.Helper()
	var in Incoming
	if st.Argv[0] == "vdelivermail" {
		in, err = NewIncoming(st.Argv[1:], func(name string) (string, bool) { v, ok := st.Env[name]; return v, ok })
	} else {
		a := st.Argv[2:] // user, home, local, dash, ext, domain, sender
		at := "VPOPMAIL" + strings.TrimPrefix(a[1], h.profile.Home)
		line, ok := ParseDeliveryLine(strings.TrimSpace(h.read(at + "/.qmail-default")))
		if !ok || line.Home != h.profile.Home {
			h.t.Fatalf("step %d: .qmail-default is %+v", st.N, line)
		}
		in, err = NewIncoming(line.Args, func(name string) (string, bool) {
			v, ok := map[string]string{"EXT": a[4], "HOST": a[5], "RPLINE": "Return-Path: <" + a[6] + ">\n", "DTLINE": "Delivered-To: " + a[2] + "@" + a[5] + "\n"}[name]
			return v, ok
		})
	}
	var bad *DeliveryError
	if errors.As(err, &bad) {
		return bad.Status, bad.Text, nil, nil, err
	}
	opts := &DeliverOptions{
		Forward: func(_ context.Context, to DeliveryStep, msg io.Reader) error {
			b, err := io.ReadAll(msg)
			rp, rest, ok := strings.Cut(to.Header, "\n")
			if !ok || !strings.HasPrefix(rp, "Return-Path: <") {
				h.t.Errorf("header of a forward: %q", to.Header)
			}
			sent = append(sent, sentOn{strings.TrimSuffix(strings.TrimPrefix(rp, "Return-Path: <"), ">"), to.Arg, rest + string(b)})
			return err
		},
		Program: func(ctx context.Context, p DeliveryStep, home string, msg io.Reader) (int, error) {
			c := exec.CommandContext(ctx, "/bin/sh", "-c", p.Arg)
			c.Stdin = msg
			err := c.Run()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return exit.ExitCode(), nil
			}
			return 0, err
		},
	}
	d, err := h.open().Deliver(h.t.Context(), in, strings.NewReader(st.message(h.t)), opts)
	for _, p := range d.Problems {
		problems = append(problems, p.Code)
	}
	return d.Status, d.Text, sent, problems, err
}

// settle makes the clock that of the step, and every count fresh.
func (h *host) settle(st *mailStep, now *time.Time) {
	h.t.Helper()
	for name := range st.Changed {
		if m := newMail.FindStringSubmatch(name); m != nil {
			sec, err := strconv.ParseInt(m[2], 10, 64)
			if err != nil {
				h.t.Fatal(err)
			}
			*now = time.Unix(sec, 0)
		}
	}
	at := *now
	h.opts.Now = func() time.Time { return at }
	if st.Note == "maildirsize older than 15 minutes" {
		at = at.Add(-15*time.Minute - time.Second)
	}
	sizes, err := filepath.Glob(filepath.Join(h.dir, "VPOPMAIL/domains/*/*/Maildir/maildirsize"))
	if err != nil {
		h.t.Fatal(err)
	}
	for _, name := range sizes {
		if err := os.Chtimes(name, at, at); err != nil {
			h.t.Fatal(err)
		}
	}
	at = *now
}

// newMail is the name of a message that has just arrived.
var newMail = regexp.MustCompile(`^(.*/new/)([0-9]+)[^,]*(,S=[0-9]+)?$`)

func maskMail(name string) string { return newMail.ReplaceAllString(name, "${1}TIME${3}") }

// TestDeliverGolden delivers what vdelivermail delivered, and compares exit
// status, words, every path that changed, and the mail that was sent on.
func TestDeliverGolden(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	now := time.Unix(1795289587, 0)
	for _, st := range readMailSteps(t, "vdelivermail", 103) {
		switch {
		case st.N == 80: // an alias: qmail-local reads .qmail-team itself
		case st.N <= 13:
			if res := h.carryOut(&st.step); res.err != nil {
				t.Fatal(res.err)
			}
		case len(st.Argv) == 0 || st.Argv[0] != "q:qmail-local" && st.Argv[0] != "vdelivermail":
			h.byHand(&st)
		default:
			h.settle(&st, &now)
			h.compareDelivery(t, &st)
		}
		if t.Failed() {
			t.Fatalf("step %d: %q %s", st.N, st.Argv, st.Note)
		}
	}
}

// TestDeliverExtensions does the same on an installation with address
// extensions.
func TestDeliverExtensions(t *testing.T) {
	p := realTrees()["many-options"]
	p.AddressExtensions = true
	h := realTree(t, "many-options", p)
	for _, name := range []string{".qmail-x", ".qmail-default"} {
		if err := os.Remove(filepath.Join(h.dir, "VPOPMAIL/domains/example.com/alice", name)); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(1795289900, 0)
	for _, st := range readMailSteps(t, "many-options", 8) {
		if len(st.Argv) == 0 {
			h.byHand(&st)
			continue
		}
		h.settle(&st, &now)
		h.compareDelivery(t, &st)
		if t.Failed() {
			t.Fatalf("step %d: %q %s", st.N, st.Argv, st.Note)
		}
	}
}

// notAlike are steps whose outcome differs on purpose.
const (
	noReturnPath = 103 // "(null)" is put before the message
	noMaildir    = 88  // the name of the file that cannot be made is told
)

func (h *host) compareDelivery(t *testing.T, st *mailStep) {
	t.Helper()
	before := h.snapshot()
	rc, text, sent, problems, err := h.deliverStep(st)
	after := h.snapshot()
	wantText := st.Stdout
	if st.Argv[0] == "q:qmail-local" {
		if rc == DeliveryStop {
			rc = 0
		}
		wantText = strings.TrimSuffix(wantText, "did 0+0+1\n")
	}
	if st.N == noMaildir {
		wantText = wantText[strings.Index(wantText, "\n")+1:]
	}
	if rc != st.RC || text != wantText || (err == nil) != (rc == 0) {
		t.Errorf("status %d, %q, %v; want %d, %q", rc, text, err, st.RC, wantText)
	}
	if discards := st.RC == 0 && len(st.Changed) == 0 && (st.N == 65 || st.N == 26); discards != (len(problems) > 0) {
		t.Errorf("problems: %q", problems)
	}
	changed, removed := diff(before, after)
	if len(removed) > 0 {
		t.Errorf("removed %q", removed)
	}
	masked, want := map[string]seen{}, map[string]goldenFile{}
	for _, name := range changed {
		masked[maskMail(name)] = after[name]
	}
	for name, f := range st.Changed {
		if st.N == noReturnPath {
			name = strings.Replace(name, ",S=338", ",S=332", 1)
			plain := strings.TrimPrefix(*f.Text, "(null)")
			sum := sha256.Sum256([]byte(plain))
			f.Text, f.SHA256 = &plain, hex.EncodeToString(sum[:])
		}
		if !strings.HasPrefix(name, "QMAIL/queue/") {
			want[maskMail(name)] = f
		}
	}
	for name := range masked {
		if _, ok := want[name]; !ok {
			t.Errorf("%s changed: %+v", name, masked[name])
		}
	}
	for name, f := range want {
		got, ok := masked[name]
		if !ok {
			t.Errorf("%s did not change", name)
			continue
		}
		compareFile(t, name, got, &f)
	}
	compareSent(t, st, sent)
}

// compareSent compares forwards with what lies in the queue.
func compareSent(t *testing.T, st *mailStep, sent []sentOn) {
	t.Helper()
	var want []sentOn
	for name, f := range st.Changed {
		id, ok := strings.CutPrefix(name, "QMAIL/queue/todo/")
		if !ok {
			continue
		}
		var w sentOn
		for field := range strings.SplitSeq(*f.Text, "\x00") {
			if rest, ok := strings.CutPrefix(field, "F"); ok {
				w.sender = rest
			} else if rest, ok := strings.CutPrefix(field, "T"); ok {
				w.to = rest
			}
		}
		for mess, f := range st.Changed {
			if strings.HasPrefix(mess, "QMAIL/queue/mess/") && strings.HasSuffix(mess, "/"+id) {
				// qmail-queue and qmail-inject have put a line each before it.
				w.message = strings.SplitN(*f.Text, "\n", 3)[2]
			}
		}
		want = append(want, w)
	}
	if fmt.Sprintf("%q", sent) != fmt.Sprintf("%q", want) {
		t.Errorf("sent on %q\nwant %q", sent, want)
	}
}
