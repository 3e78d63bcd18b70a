package mbox

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/qmailkit/qmailkit"
)

// Index finds the messages in the first size bytes of r, and yields one Header
// for each. Nothing is kept, so memory does not grow with the file.
//
// An error ends the sequence and wraps qmailkit.ErrIncomplete: an *ParseError
// with ErrNotMbox, what reading brought up, or ErrChanged where the file became
// shorter, or longer and Options.Prefix is not set. A file that became longer
// is noticed behind its last message.
//
// Index is NewIndexer and All, for a caller who does not want the Problems.
func Index(ctx context.Context, r io.ReaderAt, size int64, opts *Options) iter.Seq2[*Header, error] {
	return NewIndexer(r, size, opts).All(ctx)
}

// An Indexer finds the messages of a file. It serves one goroutine.
type Indexer struct {
	s *splitter
}

// NewIndexer returns an Indexer for the first size bytes of r. It never reads
// behind them, but to see whether the file has grown.
func NewIndexer(r io.ReaderAt, size int64, opts *Options) *Indexer {
	return &Indexer{newSplitter(window{at: r, size: max(size, 0)}, opts)}
}

// All yields the messages in their order, once. See Index for the errors.
func (x *Indexer) All(ctx context.Context) iter.Seq2[*Header, error] {
	return func(yield func(*Header, error) bool) {
		for {
			h, err := x.s.message(ctx)
			if err == io.EOF {
				if err = x.grown(); err == nil {
					return
				}
			}
			if err != nil {
				yield(nil, qmailkit.Incomplete(err))
				return
			}
			if !yield(h, nil) {
				return
			}
		}
	}
}

// grown asks whether the file goes on behind its size.
func (x *Indexer) grown() error {
	if x.s.opt.Prefix {
		return nil
	}
	var b [1]byte
	n, err := x.s.w.at.ReadAt(b[:], x.s.w.size)
	switch {
	case n > 0:
		return x.s.fail(x.s.w.size, ErrChanged)
	case err == nil || errors.Is(err, io.EOF):
		return nil
	}
	return x.s.fail(x.s.w.size, err)
}

// Problems returns what was odd in the file so far: at most a thousand.
func (x *Indexer) Problems() []qmailkit.Problem { return x.s.problems.all() }

// Format returns what Auto amounts to for the messages found so far: CL2 where
// a Content-Length found the end of each, else RD. Detect tells more.
func (x *Indexer) Format() Format {
	if x.s.count > 0 && x.s.byLength == x.s.count {
		return CL2
	}
	return RD
}
