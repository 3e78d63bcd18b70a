package mbox

import (
	"bufio"
	"bytes"
	"context"
	"io"

	"github.com/qmailkit/qmailkit"
)

// Detection is what Detect found out about a mailbox.
type Detection struct {
	// Format is the variant that fits: CL2 or CL where Content-Length found
	// the end of most messages, RD where a line is quoted more than once, O
	// where lines are quoted once, and RD where nothing tells, since all would
	// do.
	Format Format
	// Messages counts all, ByLength those whose end a Content-Length found.
	Messages, ByLength int
	// Lines inside messages: Naked begin "From ", Quoted ">From ", Deep have
	// more than one ">".
	Naked, Quoted, Deep int64
}

// Detect reads a mailbox to its end and says which variant it is. The format
// of mboxo and mboxrd cannot be told apart for sure, and the difference only
// matters for messages that held a quoted line when they came. Errors are as
// those of Index.
func Detect(ctx context.Context, r io.ReaderAt, size int64, opts *Options) (Detection, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.BoundariesOnly = true
	var d Detection
	in := bufio.NewReaderSize(nil, maxLine)
	for h, err := range Index(ctx, r, size, &o) {
		if err != nil {
			return d, err
		}
		d.Messages++
		if h.ByLength {
			d.ByLength++
		}
		in.Reset(Body(r, h, CL2))
		if err := d.lines(in); err != nil {
			return d, qmailkit.Incomplete(err)
		}
	}
	d.decide()
	return d, nil
}

// lines counts the lines of one message.
func (d *Detection) lines(in *bufio.Reader) error {
	for begin := true; ; {
		line, err := in.ReadSlice('\n')
		if begin {
			text := bytes.TrimLeft(line, ">")
			if bytes.HasPrefix(text, fromPrefix) {
				switch len(line) - len(text) {
				case 0:
					d.Naked++
				case 1:
					d.Quoted++
				default:
					d.Deep++
				}
			}
		}
		begin = err == nil
		switch err {
		case nil, bufio.ErrBufferFull:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}

func (d *Detection) decide() {
	byLength := d.ByLength > 0 && 2*d.ByLength >= d.Messages
	switch {
	case byLength && (d.Naked > 0 || d.Quoted == 0):
		d.Format = CL2
	case byLength:
		d.Format = CL
	case d.Deep > 0 || d.Quoted == 0:
		d.Format = RD
	default:
		d.Format = O
	}
}
