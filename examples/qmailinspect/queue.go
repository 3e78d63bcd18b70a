package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"io/fs"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/queuedir"
	"github.com/qmailkit/qmailkit/queue"
)

// maxShown bounds how much of each file of a message is shown. It is a hundred
// thousand recipients or so.
const maxShown = 4 << 20

// queueMessage is a line of the kind queue. Keys are missing where the file is.
type queueMessage struct {
	ID    queue.ID       `json:"id"`
	Files map[string]any `json:"files"` // a path, or a list of several
	State string         `json:"state"`
	Size  *int64         `json:"size,omitempty"`
	Inode uint64         `json:"inode,omitempty"`
	Age   *int64         `json:"age,omitempty"`

	TodoFields []jsonl.Bytes `json:"todo_fields,omitzero"`
	TodoRest   jsonl.Bytes   `json:"todo_rest,omitempty"`
	IntdFields []jsonl.Bytes `json:"intd_fields,omitzero"`
	IntdRest   jsonl.Bytes   `json:"intd_rest,omitempty"`
	InfoFields []jsonl.Bytes `json:"info_fields,omitzero"`
	InfoRest   jsonl.Bytes   `json:"info_rest,omitempty"`
	Birth      int64         `json:"birth,omitempty"`

	Local       []queueRecipient `json:"local,omitzero"`
	LocalRest   jsonl.Bytes      `json:"local_rest,omitempty"`
	LocalMtime  int64            `json:"local_mtime,omitempty"`
	Remote      []queueRecipient `json:"remote,omitzero"`
	RemoteRest  jsonl.Bytes      `json:"remote_rest,omitempty"`
	RemoteMtime int64            `json:"remote_mtime,omitempty"`

	Bounce *jsonl.Bytes `json:"bounce,omitempty"`
}

type queueRecipient struct {
	Mark jsonl.Bytes `json:"mark"`
	Addr jsonl.Bytes `json:"addr"`
}

func queueKind() *cli.Command {
	return &cli.Command{
		Name: "queue", Args: "DIR", Min: 1, Max: 1,
		Short: "the messages of qmail's queue, and what their files say",
		Long: `files has the path of each file of the message, or a list of several in a damaged
queue. state is S2 to S5 of qmail's INTERNALS, told by which files exist, or bad.
todo_fields, intd_fields and info_fields are their records without the NUL, and
todo_rest ... what follows the last one; local and remote have a mark (T to do, D
done) and an address for each record. birth, local_mtime and remote_mtime are
the modification times of info, local and remote; bounce is the text noted for
the sender; age is seconds since birth. Of each file at most 4 MB are shown.
Qmail-send may run.`,
		Setup: func(flags *flag.FlagSet) cli.Action {
			var at queuedir.Flags
			at.DeclareCopy(flags)
			return printing(func(ctx context.Context, out *lines, args []string) error {
				at.Dir = args[0]
				q, err := at.Open()
				if err != nil {
					return err
				}
				defer q.Close()
				return printQueue(ctx, out, q.Queue, &at)
			})
		},
	}
}

func printQueue(ctx context.Context, out *lines, q *queue.Queue, at *queuedir.Flags) error {
	for m, err := range q.Messages(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err != nil {
			complain(out, at.Dir, err)
		}
		if m == nil {
			continue
		}
		o := queueMessage{ID: m.ID, Files: map[string]any{}, State: m.State.String(), Inode: m.Inode}
		if m.Size >= 0 {
			o.Size = &m.Size
		}
		if !m.Birth.IsZero() {
			age := at.Now().Unix() - m.Birth.Unix()
			o.Age = &age
		}
		for _, p := range []queue.Part{queue.Mess, queue.Todo, queue.Intd, queue.Info, queue.Local, queue.Remote, queue.Bounce} {
			switch paths := m.Paths(p); len(paths) {
			case 0:
				continue
			case 1:
				o.Files[p.String()] = jsonl.Bytes(paths[0])
			default:
				o.Files[p.String()] = jsonl.List(paths)
			}
			if err := o.fill(m, p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				out.skip(at.Dir, err)
			}
		}
		if err := out.print(o); err != nil {
			return err
		}
	}
	return nil
}

// complain tells of what is wrong with a message. What is odd is shown all the
// same; what could not be read is not.
func complain(out *lines, dir string, err error) {
	if bad := (*queue.RecordError)(nil); errors.As(err, &bad) {
		out.note(dir, qmailkit.Problem{Code: "queue.bad-record", Severity: qmailkit.Warning, Path: bad.Path, Offset: bad.Offset, Err: bad.Err})
		return
	}
	out.skip(dir, err)
}

// fill shows what one file says.
func (o *queueMessage) fill(m *queue.Message, p queue.Part) error {
	switch p {
	case queue.Mess:
		return nil
	case queue.Bounce:
		return o.fillBounce(m)
	}
	fields, rest, err := recordsOf(m, p)
	if err != nil {
		return err
	}
	switch p {
	case queue.Todo:
		o.TodoFields, o.TodoRest = fields, rest
	case queue.Intd:
		o.IntdFields, o.IntdRest = fields, rest
	case queue.Info:
		o.InfoFields, o.InfoRest = fields, rest
		o.Birth = m.ModTime(p).Unix()
	case queue.Local:
		o.Local, o.LocalRest, o.LocalMtime = recipientsOf(fields), rest, m.ModTime(p).Unix()
	case queue.Remote:
		o.Remote, o.RemoteRest, o.RemoteMtime = recipientsOf(fields), rest, m.ModTime(p).Unix()
	}
	return nil
}

// recordsOf reads the records of a file, and what follows the last one.
func recordsOf(m *queue.Message, p queue.Part) (fields []jsonl.Bytes, rest jsonl.Bytes, err error) {
	fields = []jsonl.Bytes{}
	size := int64(0)
	for r, err := range m.Records(p) {
		if err != nil {
			return nil, "", err
		}
		if size += r.Size + 16; size > maxShown {
			break
		}
		if r.Ended {
			fields = append(fields, jsonl.Bytes(r.Data))
		} else {
			rest = jsonl.Bytes(r.Data)
		}
	}
	return fields, rest, nil
}

func recipientsOf(fields []jsonl.Bytes) []queueRecipient {
	all := make([]queueRecipient, len(fields))
	for i, f := range fields {
		n := min(1, len(f))
		all[i] = queueRecipient{f[:n], f[n:]}
	}
	return all
}

func (o *queueMessage) fillBounce(m *queue.Message) error {
	f, err := m.OpenBounce()
	if err != nil {
		return err
	}
	defer f.Close()
	var text strings.Builder
	if _, err := io.Copy(&text, io.LimitReader(f, maxShown)); err != nil {
		return err
	}
	shown := jsonl.Bytes(text.String())
	o.Bounce = &shown
	return nil
}
