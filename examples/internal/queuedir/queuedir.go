//go:build unix

// Package queuedir opens the queue that a command line names: this machine's,
// or one that was unpacked elsewhere, with a manifest of the inode numbers and
// times that it had.
package queuedir

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/queue"
)

// Default is where qmail keeps its queue.
const Default = "/var/qmail/queue"

// Flags are what a command line says of a queue.
type Flags struct {
	Dir    string
	Inodes string
	now    time.Time
	owners [4]string // qmailq, qmails, qmailr, qmail
}

// Declare adds all flags, -queue among them.
func (f *Flags) Declare(fs *flag.FlagSet) {
	fs.StringVar(&f.Dir, "queue", Default, "`DIR` is the queue")
	f.DeclareCopy(fs)
}

// DeclareCopy adds the flags for a queue that is not this machine's.
func (f *Flags) DeclareCopy(fs *flag.FlagSet) {
	fs.StringVar(&f.Inodes, "inodes", "", "`MANIFEST` tells inode numbers and times of a queue that was unpacked elsewhere: columns path, type, inode, nlink, uid, gid, mode, size, mtime, atime, parted by tabs")
	fs.Func("now", "the `TIME` to go by, in seconds since 1970 or as 2006-01-02T15:04:05Z (default: now)", func(s string) (err error) {
		f.now, err = ParseTime(s)
		return err
	})
	for i, name := range []string{"qmailq", "qmails", "qmailr", "qmail"} {
		what := "user"
		if i == 3 {
			what = "group"
		}
		fs.StringVar(&f.owners[i], name, "", fmt.Sprintf("`ID` or name of the %s %s (default: by its name, else as the queue's directories tell)", what, name))
	}
}

// ParseTime reads a time of the command line.
func ParseTime(s string) (time.Time, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, errors.New("want seconds since 1970, or a time such as 2006-01-02T15:04:05Z")
	}
	return t, nil
}

// Now is the time to go by.
func (f *Flags) Now() time.Time {
	if f.now.IsZero() {
		return time.Now()
	}
	return f.now
}

// Owners finds out the numbers of qmail's users. One that is neither given nor
// known to this machine is 0.
func (f *Flags) Owners() (o queue.Owners, err error) {
	for i, to := range []*int{&o.Qmailq, &o.Qmails, &o.Qmailr, &o.Group} {
		name, given := f.owners[i], true
		if name == "" {
			name, given = []string{"qmailq", "qmails", "qmailr", "qmail"}[i], false
		}
		*to, err = number(name, i == 3)
		if err != nil && given {
			return o, cli.Usagef("%w", err)
		}
	}
	return o, nil
}

// number is the id that a name or a number means.
func number(name string, group bool) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	var id string
	if group {
		g, err := user.LookupGroup(name)
		if err != nil {
			return 0, err
		}
		id = g.Gid
	} else {
		u, err := user.Lookup(name)
		if err != nil {
			return 0, err
		}
		id = u.Uid
	}
	return strconv.Atoi(id)
}

// Open opens the queue. The caller closes it.
func (f *Flags) Open() (*Queue, error) {
	opts := &queue.Options{Now: f.Now}
	var err error
	if opts.Owners, err = f.Owners(); err != nil {
		return nil, err
	}
	if f.Inodes != "" {
		m, err := readManifest(f.Inodes)
		if err != nil {
			return nil, err
		}
		opts.Inodes, opts.ATimes = m.inode, m.atime
	}
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return nil, err
	}
	q, err := queue.Open(root, opts)
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	return &Queue{q, root}, nil
}

// A Queue is an open queue with the root that it is read through.
type Queue struct {
	*queue.Queue
	root *os.Root
}

// Close closes both.
func (q *Queue) Close() error { return errors.Join(q.Queue.Close(), q.root.Close()) }

// manifest is what was true of the files of a queue where it came from.
type manifest map[string]manifestLine

type manifestLine struct {
	inode uint64
	atime time.Time
}

func (m manifest) inode(path string) (uint64, bool) {
	l, ok := m[path]
	return l.inode, ok
}

func (m manifest) atime(path string) (time.Time, bool) {
	l, ok := m[path]
	return l.atime, ok
}

// readManifest reads a table whose first line names its columns. Paths may
// begin with "queue/".
func readManifest(name string) (manifest, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := parseManifest(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

func parseManifest(r io.Reader) (manifest, error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20)
	if !in.Scan() {
		return nil, errors.Join(errors.New("line 1: the names of the columns are missing"), in.Err())
	}
	column := map[string]int{}
	for i, c := range strings.Split(in.Text(), "\t") {
		column[c] = i
	}
	for _, c := range []string{"path", "inode", "atime"} {
		if _, ok := column[c]; !ok {
			return nil, fmt.Errorf("line 1: no column %q", c)
		}
	}
	m := manifest{}
	for n := 2; in.Scan(); n++ {
		f := strings.Split(in.Text(), "\t")
		if len(f) < len(column) {
			return nil, fmt.Errorf("line %d: %d columns of %d", n, len(f), len(column))
		}
		inode, err := strconv.ParseUint(f[column["inode"]], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: inode: %w", n, err)
		}
		at, err := strconv.ParseInt(f[column["atime"]], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: atime: %w", n, err)
		}
		m[strings.TrimPrefix(f[column["path"]], "queue/")] = manifestLine{inode, time.Unix(at, 0)}
	}
	return m, in.Err()
}
