//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/emersion/go-message/charset"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/queue"
)

// shower prints single messages.
type shower struct {
	j     *job
	raw   bool
	lines int
}

func showCommand() *cli.Command {
	s := &shower{j: &job{}}
	return &cli.Command{
		Name: "show", Args: "ID...", Min: 1, Max: -1,
		Short: "show a message: envelope, files, times, failures, header, beginning of the body",
		Long: `Control bytes of the message are shown as \xNN, so that it can do nothing to the
terminal; -raw writes the bytes of one message as they are.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			s.j.flags(fs)
			fs.BoolVar(&s.raw, "raw", false, "write the message's bytes and nothing else")
			fs.IntVar(&s.lines, "lines", 20, "lines of the body to show, `N`; -1 is all")
			return s.j.action(s.run)
		},
	}
}

func (s *shower) run(ctx context.Context, args []string) error {
	if s.raw && (len(args) > 1 || s.j.json) {
		return cli.Usagef("-raw takes one message and no -json")
	}
	var ids []queue.ID
	for _, a := range args {
		id, err := queue.ParseID(a)
		if err != nil {
			return cli.Usagef("%q is not the number of a message", a)
		}
		ids = append(ids, id)
	}
	var missing []error
	for i, id := range ids {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		m, err := s.j.q.Message(id)
		if errors.Is(err, queue.ErrNoMessage) {
			missing = append(missing, fmt.Errorf("message %v is not in the queue", id))
			continue
		}
		if err != nil {
			s.j.trouble(m, err)
		}
		if m == nil {
			continue
		}
		if i > 0 && !s.j.json {
			fmt.Fprintln(s.j.out)
		}
		if err := s.one(m); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, fmt.Errorf("message %v: its file is not there, or went meanwhile", id))
		} else if err != nil {
			return err
		}
	}
	return absent(errors.Join(missing...))
}

// detail is a message of show -json.
type detail struct {
	*entry
	NextLocal  int64       `json:"next_local,omitempty"`
	NextRemote int64       `json:"next_remote,omitempty"`
	UID        *int64      `json:"uid,omitempty"`
	PID        *int64      `json:"pid,omitempty"`
	Bounce     jsonl.Bytes `json:"bounce,omitempty"`
	Header     jsonl.Bytes `json:"header"`
}

// maxBounce is how much is shown of the failures of one message.
const maxBounce = 64 << 10

func (s *shower) one(m *queue.Message) error {
	if s.raw {
		f, err := m.Open()
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(s.j.out, f)
		return err
	}
	d := detail{entry: s.j.entry(m)}
	if m.BounceSize >= 0 {
		b, err := readBounce(m)
		if err != nil {
			s.j.trouble(m, err)
		}
		d.Bounce = jsonl.Bytes(b)
	}
	h, err := m.Header()
	if err == nil {
		d.Header = jsonl.Bytes(h.Raw())
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.j.trouble(m, err)
	}
	if !s.j.json {
		return s.words(m, &d)
	}
	unix := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.Unix()
	}
	d.NextLocal, d.NextRemote = unix(m.NextLocal), unix(m.NextRemote)
	if m.PID >= 0 {
		d.UID, d.PID = &m.UID, &m.PID
	}
	return s.j.enc.Encode(d)
}

func readBounce(m *queue.Message) ([]byte, error) {
	f, err := m.OpenBounce()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBounce))
}

func (s *shower) words(m *queue.Message, d *detail) error {
	l := &lister{j: s.j, colors: s.j.colors("auto")}
	l.words(m, d.entry)
	if !m.Birth.IsZero() {
		l.line("queued", m.Birth.UTC().Format("2006-01-02 15:04:05")+" UTC")
	}
	if m.PID >= 0 {
		l.line("by", fmt.Sprintf("uid %d, process %d", m.UID, m.PID))
	}
	for _, n := range []struct {
		label string
		t     time.Time
	}{{"retry", m.NextLocal}, {"retry", m.NextRemote}} {
		if !n.t.IsZero() {
			l.line(n.label, n.t.UTC().Format("2006-01-02 15:04:05")+" UTC")
		}
	}
	for _, f := range d.Files {
		l.line("file", cli.Name(string(f)))
	}
	if d.Bounce != "" {
		l.line("bounce", cli.Plural(m.BounceSize, "byte"))
		quote(s.j.out, string(d.Bounce))
	}
	f, err := m.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	fmt.Fprintln(s.j.out)
	return s.text(bufio.NewReaderSize(f, 64<<10))
}

func quote(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "    %s\n", cli.Name(strings.TrimSuffix(line, "\n")))
	}
}

// text prints the header, decoded words as people read them, and the first
// lines of the body. A line is cut where a buffer is full.
func (s *shower) text(r *bufio.Reader) error {
	body, left := false, s.lines
	for {
		b, err := r.ReadSlice('\n')
		if len(b) > 0 {
			line := strings.TrimSuffix(string(b), "\n")
			if body && left == 0 {
				return nil
			}
			if body {
				left--
				fmt.Fprintln(s.j.out, cli.Name(line))
			} else {
				fmt.Fprintln(s.j.out, cli.Name(decoded(line)))
			}
			body = body || line == ""
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// decoded decodes the words of a header line, if it has any.
func decoded(line string) string {
	if !strings.Contains(line, "=?") {
		return line
	}
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	return indent + queue.DecodeText(strings.TrimLeft(line, " \t"), charset.Reader)
}
