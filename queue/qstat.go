//go:build unix

package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// maxDepth bounds the directories in directories that Qstat enters. A queue has
// two levels.
const maxDepth = 64

// Qstat is what qmail-qstat counts.
type Qstat struct {
	// Messages are the plain files below mess, Unprocessed those below todo,
	// whatever their names. (The program counts lines, so that a name with a
	// line feed counts twice; so it does here.)
	Messages, Unprocessed int64
}

// Qstat counts like qmail-qstat: all plain files, also those that are no
// messages.
func (q *Queue) Qstat(ctx context.Context) (Qstat, error) {
	var s Qstat
	var err error
	if s.Messages, err = q.countFiles(ctx, Mess); err != nil {
		return s, err
	}
	s.Unprocessed, err = q.countFiles(ctx, Todo)
	return s, err
}

// WriteQstat writes what qmail-qstat prints, byte for byte.
func (q *Queue) WriteQstat(ctx context.Context, w io.Writer) error {
	s, err := q.Qstat(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "messages in queue: %d\nmessages in queue but not yet preprocessed: %d\n", s.Messages, s.Unprocessed)
	return err
}

func (q *Queue) countFiles(ctx context.Context, p Part) (int64, error) {
	d, err := q.top.Sub(p.String())
	if missing(err) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	defer d.Close()
	// The shell leaves out what begins with a dot where it expands mess/*.
	return countIn(ctx, d, p == Mess, 0, 1)
}

// countIn counts as find -type f and wc -l do; lines is what each name counts
// for its directories.
func countIn(ctx context.Context, d *safefs.Dir, hideDots bool, depth int, lines int64) (int64, error) {
	if depth > maxDepth {
		return 0, &fs.PathError{Op: "open", Path: d.Name(), Err: errDeep}
	}
	var n int64
	for e, err := range d.Entries(ctx) {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return n, nil
			}
			return n, err
		}
		name := e.Name()
		feeds := int64(bytes.Count([]byte(name), []byte{'\n'}))
		switch {
		case hideDots && name[0] == '.':
		case e.Type().IsRegular():
			n += lines + feeds
		case e.IsDir():
			sub, err := d.Sub(name)
			if missing(err) {
				continue
			} else if err != nil {
				return n, err
			}
			m, err := countIn(ctx, sub, false, depth+1, min(lines+feeds, math.MaxInt32))
			sub.Close()
			if n += m; err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

var errDeep = errors.New("directories nested too deep")
