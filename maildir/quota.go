package maildir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// QuotaName is the Maildir++ quota file, in the root of a Maildir only.
const QuotaName = "maildirsize"

// A Quota is what a Maildir may hold. Zero is no limit.
type Quota struct {
	Bytes    int64
	Messages int64
}

// ParseQuota reads "1000S", "10C" or "1000S,10C" (Maildir++). Other parts are
// left out, as its readers do.
func ParseQuota(s string) Quota {
	var q Quota
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			continue
		}
		n, err := strconv.ParseInt(part[:len(part)-1], 10, 64)
		if err != nil || n < 0 {
			continue
		}
		switch part[len(part)-1] {
		case 'S':
			q.Bytes = n
		case 'C':
			q.Messages = n
		}
	}
	return q
}

// String writes the size before the count; no limit at all is empty.
func (q Quota) String() string {
	switch {
	case q.Bytes > 0 && q.Messages > 0:
		return fmt.Sprintf("%dS,%dC", q.Bytes, q.Messages)
	case q.Bytes > 0:
		return fmt.Sprintf("%dS", q.Bytes)
	case q.Messages > 0:
		return fmt.Sprintf("%dC", q.Messages)
	}
	return ""
}

// Usage counts what a Maildir holds, as vdelivermail(8) and Courier do: new/
// and cur/ of the INBOX and of every folder but .Trash; sizes from ",S=" where
// it stands, names with the flag T left out.
func (d *Dir) Usage(ctx context.Context) (bytes, messages int64, err error) {
	add := func(f *Dir) error {
		for e, err := range f.Messages(ctx) {
			if errors.Is(err, qmailkit.ErrIncomplete) {
				return err
			}
			if err != nil || e.Name.Flags().Has(Trashed) {
				continue // a link or a directory is no message
			}
			n, ok := e.Name.Size()
			if !ok {
				fi, err := f.Stat(e)
				if errors.Is(err, fs.ErrNotExist) {
					continue // moved meanwhile
				}
				if err != nil {
					return err
				}
				n = fi.Size
			}
			bytes += min(n, math.MaxInt64-bytes) // a name can say anything
			messages++
		}
		return nil
	}
	if err := add(d); err != nil {
		return 0, 0, err
	}
	for name, err := range d.Folders(ctx) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return 0, 0, err
		}
		if name == ".Trash" {
			continue
		}
		var f *Dir
		if err == nil {
			f, err = d.Folder(name)
		}
		if err != nil {
			if planted(err) || errors.Is(err, ErrNotMaildir) {
				continue
			}
			return 0, 0, err
		}
		err = add(f)
		f.Close()
		if err != nil {
			return 0, 0, err
		}
	}
	return bytes, messages, nil
}

// RebuildQuota counts afresh and writes maildirsize: the limit as it is given,
// then one line with the sums, as vpopmail leaves it. An empty limit, or
// "NOQUOTA", removes the file. A file that says the same, in however many
// lines, is left alone.
func (d *Dir) RebuildQuota(ctx context.Context, limit string) error {
	if limit == "" || limit == "NOQUOTA" {
		err := d.root.Remove(QuotaName)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, d.root.Sync())
	}
	n, c, err := d.Usage(ctx)
	if err != nil {
		return err
	}
	text := fmt.Appendf(nil, "%s\n%d %d\n", limit, n, c)
	old, err := d.root.ReadFile(QuotaName, maxSideFile)
	if err == nil && sameQuota(old, limit, n, c) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, safefs.ErrTooBig) {
		return err
	}
	err = d.writeSideMode(QuotaName, text, d.opts.QuotaMode, d.later != nil)
	if err == nil && d.later != nil {
		d.later.Store(true)
	}
	return err
}

// sameQuota says whether the lines of a maildirsize add up to n bytes in c
// messages.
func sameQuota(file []byte, limit string, n, c int64) bool {
	first, rest, _ := strings.Cut(string(file), "\n")
	if first != limit {
		return false
	}
	for line := range strings.Lines(rest) {
		f := strings.Fields(line)
		if len(f) != 2 {
			return false
		}
		size, err := strconv.ParseInt(f[0], 10, 64)
		count, e := strconv.ParseInt(f[1], 10, 64)
		if err != nil || e != nil {
			return false
		}
		n, c = n-size, c-count
	}
	return n == 0 && c == 0
}

// QuotaLimit is the first line of maildirsize; empty where there is none.
func (d *Dir) QuotaLimit() (string, error) {
	b, err := d.root.ReadFile(QuotaName, maxSideFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line, err
}
