//go:build unix

package queue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// MaxAddress is the length in bytes of the longest address that qmail-queue
// takes (qmail-queue.c, ADDR).
const MaxAddress = 1002

// An Envelope is what a message is queued with. Addresses are bytes without
// NUL. The empty Sender is that of a bounce, "#@[]" that of a double bounce.
type Envelope struct {
	Sender     string
	Recipients []string
}

// Check says whether qmail-queue can take the envelope: a *SubmitError with the
// exit code that it would end with.
func (e Envelope) Check() error {
	if err := checkAddress(e.Sender); err != nil {
		return err
	}
	for _, r := range e.Recipients {
		if err := checkAddress(r); err != nil {
			return err
		}
	}
	return nil
}

func checkAddress(a string) error {
	if i := bytes.IndexByte([]byte(a), 0); i >= 0 {
		// The rest would be read as a record of its own.
		return &SubmitError{Code: ExitProtocol, Err: errors.New("NUL in an address")}
	}
	if len(a) > MaxAddress {
		return &SubmitError{Code: ExitAddress, Err: fmt.Errorf("address of %d bytes", len(a))}
	}
	return nil
}

// WriteTo writes the envelope as qmail-queue reads it from descriptor 1:
// "F" sender NUL, "T" recipient NUL for each, NUL. It refuses what Check does.
func (e Envelope) WriteTo(w io.Writer) (int64, error) {
	if err := e.Check(); err != nil {
		return 0, err
	}
	n, err := io.Copy(w, e.reader())
	return n, err
}

// reader yields the bytes of WriteTo.
func (e Envelope) reader() io.Reader {
	var b bytes.Buffer
	b.WriteString("F" + e.Sender + "\x00")
	for _, r := range e.Recipients {
		b.WriteString("T" + r + "\x00")
	}
	b.WriteByte(0)
	return &b
}

// ReadEnvelope reads an envelope of at most max recipients up to its last NUL;
// what follows is left alone but may have been taken into a buffer, as
// qmail-queue does it. A *SubmitError has the exit code that qmail-queue would
// end with: ExitRead where it ends early, ExitProtocol for a letter that is
// wrong, ExitAddress for an address that is too long. More recipients than max,
// which only saves memory, are ExitMemory.
func ReadEnvelope(r io.Reader, max int) (Envelope, error) {
	var e Envelope
	err := eachRecord(r, func(kind byte, addr []byte) error {
		if kind == 'F' {
			e.Sender = string(addr)
			return nil
		}
		if len(e.Recipients) >= max {
			return &SubmitError{Code: ExitMemory, Err: fmt.Errorf("more than %d recipients", max)}
		}
		e.Recipients = append(e.Recipients, string(addr))
		return nil
	})
	if err != nil {
		return Envelope{}, err
	}
	return e, nil
}

// eachRecord calls take for the sender ('F') and each recipient ('T') of an
// envelope. The bytes are valid during the call only.
func eachRecord(r io.Reader, take func(kind byte, addr []byte) error) error {
	br, ok := r.(io.ByteReader)
	if !ok {
		br = bufio.NewReader(r)
	}
	next := func() (byte, error) {
		c, err := br.ReadByte()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, &SubmitError{Code: ExitRead, Err: err}
		}
		return c, nil
	}
	addr := make([]byte, 0, MaxAddress)
	for want := byte('F'); ; want = 'T' {
		c, err := next()
		if err != nil {
			return err
		}
		if c == 0 && want == 'T' {
			return nil
		}
		if c != want {
			return &SubmitError{Code: ExitProtocol, Err: fmt.Errorf("%q where the envelope needs %q", c, want)}
		}
		for addr = addr[:0]; ; addr = append(addr, c) {
			if len(addr) > MaxAddress {
				return &SubmitError{Code: ExitAddress, Err: fmt.Errorf("address of more than %d bytes", MaxAddress)}
			}
			if c, err = next(); err != nil {
				return err
			}
			if c == 0 {
				break
			}
		}
		if err := take(want, addr); err != nil {
			return err
		}
	}
}

// Exit codes of qmail-queue that this package gives itself (qmail-queue(8)).
const (
	ExitAddress  = 11 // an address is too long
	ExitMemory   = 51 // out of memory
	ExitTimeout  = 52 // it has taken too long
	ExitWrite    = 53 // write error, such as a full disk
	ExitRead     = 54 // the message or the envelope ended early or could not be read
	ExitHome     = 61 // trouble with qmail's directory
	ExitQueue    = 62 // trouble with the queue directory
	ExitPid      = 63 // trouble with a file in pid
	ExitMess     = 64 // the name in mess cannot be made
	ExitIntd     = 65 // the file in intd cannot be made
	ExitTodo     = 66 // the name in todo cannot be made
	ExitInternal = 81 // a bug
	ExitProtocol = 91 // the envelope is malformed
	ExitExec     = 120
)

// ErrPermanent is matched by a SubmitError that trying again will not cure.
var ErrPermanent = errors.New("permanent failure of qmail-queue")

// A SubmitError is a message that was not queued.
type SubmitError struct {
	// Code is the exit code of qmail-queue, or that of the native writer in the
	// same place. 0 means that the program ended well, but did not read all.
	Code int
	// Err is the cause, where it is known.
	Err error
}

// Permanent says whether qmail's programs refuse the message for good, and do
// not ask the sender to try again (qmail.c, qmail_close).
func (e *SubmitError) Permanent() bool { return e.Code >= 11 && e.Code <= 40 || e.Code == 115 }

// Text is what qmail's programs say of the code, with the enhanced status code
// of RFC 3463 in parentheses (qmail.c, qmail_close).
func (e *SubmitError) Text() string {
	switch c := e.Code; {
	case c == 11 || c == 115:
		return "envelope address too long for qq (#5.1.3)"
	case c == 31:
		return "mail server permanently rejected message (#5.3.0)"
	case c >= 11 && c <= 40:
		return "qq permanent problem (#5.3.0)"
	case c >= 62 && c <= 66:
		return "qq trouble creating files in queue (#4.3.0)"
	case c == 0:
		c = ExitRead
		fallthrough
	default:
		if text, ok := exitText(c); ok {
			return text
		}
	}
	return "qq temporary problem (#4.3.0)"
}

// exitText has the codes that have a text to themselves.
func exitText(code int) (string, bool) {
	switch code {
	case ExitMemory:
		return "qq out of memory (#4.3.0)", true
	case ExitTimeout:
		return "qq timeout (#4.3.0)", true
	case ExitWrite:
		return "qq write error or disk full (#4.3.0)", true
	case ExitRead:
		return "qq read error (#4.3.0)", true
	case 55:
		return "qq unable to read configuration (#4.3.0)", true
	case 56:
		return "qq trouble making network connection (#4.3.0)", true
	case ExitHome:
		return "qq trouble in home directory (#4.3.0)", true
	case 71:
		return "mail server temporarily rejected message (#4.3.0)", true
	case 72:
		return "connection to mail server timed out (#4.4.1)", true
	case 73:
		return "connection to mail server rejected (#4.4.1)", true
	case 74:
		return "communication with mail server failed (#4.4.2)", true
	case ExitInternal, ExitProtocol:
		return "qq internal bug (#4.3.0)", true
	case ExitExec:
		return "unable to exec qq (#4.3.0)", true
	}
	return "", false
}

// Error is the text of qmail.c with the exit code and the cause.
func (e *SubmitError) Error() string {
	s := fmt.Sprintf("qmail-queue: %s, exit code %d", e.Text(), e.Code)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *SubmitError) Unwrap() error { return e.Err }

// Is matches ErrPermanent.
func (e *SubmitError) Is(target error) bool { return target == ErrPermanent && e.Permanent() }

// A Runner runs qmail-queue, or whatever QMAILQUEUE names: message is its
// descriptor 0 and envelope its descriptor 1. It returns the exit code, and an
// error where there is none: the program could not be started, or crashed, or
// ctx is done. The envelope can only be read once the message has been read to
// its end, so it needs a goroutine to itself. This package starts no programs;
// with os/exec a Runner is
//
//	func(ctx context.Context, message, envelope io.Reader) (int, error) {
//		r, w, err := os.Pipe()
//		if err != nil {
//			return 0, err
//		}
//		cmd := exec.CommandContext(ctx, "/var/qmail/bin/qmail-queue")
//		cmd.Stdin, cmd.Stdout = message, r
//		err = cmd.Start()
//		r.Close()
//		if err != nil {
//			w.Close()
//			return 0, err
//		}
//		go func() {
//			io.Copy(w, envelope) // a failure shows in the exit code
//			w.Close()
//		}()
//		err = cmd.Wait()
//		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.Exited() {
//			return exit.ExitCode(), nil
//		}
//		return 0, err
//	}
//
// and Queue.Runner makes another one that needs no program at all.
type Runner func(ctx context.Context, message, envelope io.Reader) (exitCode int, err error)

// Submit queues a message through run. A nil error says that qmail-queue has
// taken it, which is then on the disk. A refusal is a *SubmitError; so is a
// message that could not be read to its end, even where the program has not
// noticed: qmail-queue ends a message at the end of its descriptor, so that a
// read error looks like the end to it. To keep half a message out of the queue
// the envelope is not given then, and qmail-queue gives up.
func Submit(ctx context.Context, run Runner, message io.Reader, e Envelope) error {
	if err := e.Check(); err != nil {
		return err
	}
	m := &watched{r: message, done: make(chan struct{})}
	over := make(chan struct{})
	code, err := run(ctx, m, &after{m: m, over: over, r: e.reader()})
	close(over)
	ended, cause := m.state()
	switch {
	case err != nil:
		return fmt.Errorf("qmail-queue: %w", err)
	case code != 0:
		return &SubmitError{Code: code, Err: cause}
	case !ended:
		return &SubmitError{Code: 0, Err: cause}
	}
	return nil
}

// watched remembers how reading a message has ended.
type watched struct {
	r    io.Reader
	done chan struct{} // closed at the end and at an error

	mu   sync.Mutex
	over error // io.EOF or what went wrong
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.over == nil {
			w.over = err
			close(w.done)
		}
	}
	return n, err
}

// state says whether the message was read to its end, or else what happened.
func (w *watched) state() (ended bool, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over == io.EOF {
		return true, nil
	}
	return false, w.over
}

// after gives the envelope only behind a message that was read to its end.
type after struct {
	m    *watched
	over chan struct{} // closed when nobody waits any more
	r    io.Reader
}

func (a *after) Read(p []byte) (int, error) {
	select {
	case <-a.m.done:
	case <-a.over:
		return 0, io.EOF
	}
	if ended, _ := a.m.state(); !ended {
		return 0, io.EOF
	}
	return a.r.Read(p)
}
