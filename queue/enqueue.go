//go:build unix

package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// EnqueueOptions say in whose name a message is queued. The zero value, and
// nil, stand for this process.
type EnqueueOptions struct {
	// UID and PID are written into the Received line and the envelope; 0 is
	// what os.Getuid and os.Getpid say.
	UID, PID int
	// Alias and Qmaild are the users of these names where they exist. With
	// Owners.Qmails they decide what the Received line says of UID: "by
	// alias", "from network", "for bounce", else "by uid N".
	Alias, Qmaild int
	// Timeout bounds the whole; 0 is the 24 hours of qmail-queue, which must
	// stay below the 36 hours after which qmail-clean takes a message without
	// envelope for dead.
	Timeout time.Duration

	// committing is called with the number once everything but the name in
	// todo is on the disk; an error stops. undoing is called before what was
	// made is removed again.
	committing func(ID) error
	undoing    func()
}

// pidTries bounds the names tried in pid. qmail-queue tries nine, but a
// process of its own for each message; here one may queue many in a second.
const pidTries = 10000

// queueTimeout is DEATH of qmail-queue.c.
const queueTimeout = 24 * time.Hour

// Runner returns a Runner that queues without any program, by Enqueue.
func (q *Queue) Runner(opts *EnqueueOptions) Runner {
	return func(ctx context.Context, message, envelope io.Reader) (int, error) {
		_, err := q.Enqueue(ctx, message, envelope, opts)
		var refused *SubmitError
		if errors.As(err, &refused) {
			return refused.Code, nil
		}
		return 0, err
	}
}

// Enqueue does what qmail-queue does: it puts message, behind a Received line,
// and envelope (see Envelope.WriteTo) into the queue and wakes qmail-send. The
// files, their bytes, names and modes are those that qmail-queue leaves, down
// to the inode number that is the name (qmail-queue.c). It has to run as a user
// who may write the queue's directories and give files to Owners.Qmailq: root,
// or qmailq itself; a zero Owners.Qmailq leaves the owner as it is.
//
// Beyond qmail-queue, the directories are synced too, so that a power cut does
// not lose what was accepted, and every failure is cleaned up, where
// qmail-queue leaves some to qmail-clean.
//
// Errors are of type *SubmitError with the exit code of qmail-queue. The number
// returned beside an error is 0, unless the message is queued and only the last
// sync failed, so that a power cut may still lose it.
func (q *Queue) Enqueue(ctx context.Context, message, envelope io.Reader, opts *EnqueueOptions) (ID, error) {
	e := enqueuer{q: q, now: q.opts.Now()}
	if opts != nil {
		e.EnqueueOptions = *opts
	}
	if e.UID == 0 {
		e.UID = os.Getuid()
	}
	if e.PID == 0 {
		e.PID = os.Getpid()
	}
	if e.Timeout <= 0 {
		e.Timeout = queueTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	defer e.close()
	err := e.run(ctx, message, envelope)
	if err == nil || e.queued {
		q.pullTrigger()
		return e.id, err
	}
	if e.undoing != nil {
		e.undoing()
	}
	e.undo()
	return 0, err
}

// pullTrigger wakes qmail-send. Where that fails it looks into todo by itself,
// within 25 minutes (triggerpull.c).
func (q *Queue) pullTrigger() {
	if d, err := q.openDir("lock"); err == nil {
		d.PokeFIFO("trigger", []byte{0})
		d.Close()
	}
}

// An enqueuer queues one message.
type enqueuer struct {
	EnqueueOptions
	q   *Queue
	now time.Time
	id  ID

	pid, mess, intd *safefs.Dir
	pidName         string // in pid, while it is there
	madeMess        bool
	madeIntd        bool
	queued          bool
}

func (e *enqueuer) close() {
	for _, d := range []*safefs.Dir{e.pid, e.mess, e.intd} {
		if d != nil {
			d.Close()
		}
	}
}

// undo removes what was made, in the order of qmail-queue's own cleanup: intd
// before mess, whose file keeps the number taken.
func (e *enqueuer) undo() {
	if e.madeIntd && e.intd.Remove(e.id.String()) != nil {
		return
	}
	if e.pidName != "" {
		e.pid.Remove(e.pidName)
	}
	if e.madeMess {
		e.mess.Remove(e.id.String())
	}
}

// at gives an error its exit code. An error that has one keeps it, and the
// end of ctx is a time-out wherever it strikes.
func at(code int, err error) error {
	var have *SubmitError
	switch {
	case err == nil || errors.As(err, &have):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		code = ExitTimeout
	}
	return &SubmitError{Code: code, Err: err}
}

// run makes one file after the other. Its steps are those of main in
// qmail-queue.c, each with the exit code that it has there.
func (e *enqueuer) run(ctx context.Context, message, envelope io.Reader) error {
	mess, err := e.openPid()
	if err != nil {
		return at(ExitPid, err)
	}
	err = e.linkMess()
	if err == nil {
		err = e.writeMess(ctx, mess, message)
	}
	if cerr := mess.Close(); err == nil {
		err = at(ExitWrite, cerr)
	}
	if err == nil {
		err = e.writeIntd(ctx, envelope)
	}
	if err != nil {
		return err
	}
	// The names have to be there before the one that counts.
	if err := e.mess.Sync(); err != nil {
		return at(ExitWrite, err)
	}
	if err := e.intd.Sync(); err != nil {
		return at(ExitWrite, err)
	}
	if err := context.Cause(ctx); err != nil {
		return at(ExitTimeout, err)
	}
	if e.committing != nil {
		if err := e.committing(e.id); err != nil {
			return at(ExitWrite, err)
		}
	}
	todo, err := e.q.openDir(e.q.layout.Dir(Todo, e.id))
	if err != nil {
		return at(ExitTodo, err)
	}
	defer todo.Close()
	if err := e.intd.Link(e.id.String(), todo, e.id.String()); err != nil {
		return at(ExitTodo, err)
	}
	e.queued = true
	return at(ExitWrite, todo.Sync())
}

// openPid makes the file that gives the message its number.
func (e *enqueuer) openPid() (f *safefs.File, err error) {
	if e.pid, err = e.q.openDir("pid"); err != nil {
		return nil, err
	}
	owner := safefs.Keep
	if e.q.owners.Qmailq > 0 {
		// The group stays that of whoever queues, as with a setuid program.
		owner.UID = e.q.owners.Qmailq
	}
	for seq := 1; ; seq++ {
		name := fmt.Sprintf("%d.%d.%d", e.PID, e.now.Unix(), seq)
		f, err = e.pid.Create(name, 0o644, owner)
		if errors.Is(err, fs.ErrExist) && seq < pidTries {
			continue
		}
		if err != nil {
			return nil, err
		}
		e.pidName = name
		fi, err := e.pid.Lstat(name)
		if err != nil {
			f.Close()
			return nil, err
		}
		e.id = ID(fi.Ino)
		return f, nil
	}
}

// linkMess gives the file its name in mess and takes that in pid away.
func (e *enqueuer) linkMess() (err error) {
	if e.mess, err = e.q.openDir(e.q.layout.Dir(Mess, e.id)); err != nil {
		return at(ExitMess, err)
	}
	if err := e.pid.Link(e.pidName, e.mess, e.id.String()); err != nil {
		return at(ExitMess, err)
	}
	e.madeMess = true
	if err := e.pid.Remove(e.pidName); err != nil {
		return at(ExitPid, err)
	}
	e.pidName = ""
	return nil
}

// writeMess writes the Received line and the message.
func (e *enqueuer) writeMess(ctx context.Context, f *safefs.File, message io.Reader) error {
	if _, err := io.WriteString(f, e.received()); err != nil {
		return at(ExitWrite, err)
	}
	buf := make([]byte, 64<<10)
	for {
		if err := context.Cause(ctx); err != nil {
			return at(ExitRead, err)
		}
		n, err := message.Read(buf)
		if _, werr := f.Write(buf[:n]); werr != nil {
			return at(ExitWrite, werr)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return at(ExitRead, err)
		}
	}
	return at(ExitWrite, f.Sync())
}

// received is the line that qmail-queue puts before a message.
func (e *enqueuer) received() string {
	who := "by uid " + strconv.Itoa(e.UID)
	switch uid := e.UID; {
	case uid == e.Alias && uid != 0:
		who = "by alias"
	case uid == e.Qmaild && uid != 0:
		who = "from network"
	case uid == e.q.owners.Qmails && uid != 0 && e.q.owners.Qmails != e.q.owners.Qmailq:
		// A queue of one owner is a test or a copy, whose owner is nobody's bounce.
		who = "for bounce"
	}
	return fmt.Sprintf("Received: (qmail %d invoked %s); %s\n", e.PID, who, e.now.UTC().Format("2 Jan 2006 15:04:05 -0000"))
}

// writeIntd writes the envelope.
func (e *enqueuer) writeIntd(ctx context.Context, envelope io.Reader) (err error) {
	if e.intd, err = e.q.openDir(e.q.layout.Dir(Intd, e.id)); err != nil {
		return at(ExitIntd, err)
	}
	owner := safefs.Keep
	if e.q.owners.Qmailq > 0 {
		owner.UID = e.q.owners.Qmailq
	}
	f, err := e.intd.Create(e.id.String(), 0o644, owner)
	if err != nil {
		return at(ExitIntd, err)
	}
	e.madeIntd = true
	defer func() {
		if cerr := f.Close(); err == nil {
			err = at(ExitWrite, cerr)
		}
	}()
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "u%d\x00p%d\x00", e.UID, e.PID)
	err = eachRecord(envelope, func(kind byte, addr []byte) error {
		if err := context.Cause(ctx); err != nil {
			return at(ExitRead, err)
		}
		w.WriteByte(kind)
		w.Write(addr)
		return at(ExitWrite, w.WriteByte(0))
	})
	if err == nil {
		err = at(ExitWrite, w.Flush())
	}
	if err == nil {
		err = at(ExitWrite, f.Sync())
	}
	return err
}
