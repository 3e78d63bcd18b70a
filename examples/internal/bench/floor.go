//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// A floorRun is an mbox, mapped, on its way into a Maildir.
type floorRun struct {
	data     []byte
	spans    []span
	tmp, new *os.File
	base     string
}

func runFloor(ctx context.Context, src, dst string) (err error) {
	r := &floorRun{base: fmt.Sprintf("%d.P%d.", time.Now().Unix(), os.Getpid())}
	if r.spans, err = readSpans(src); err != nil {
		return err
	}
	f, err := os.Open(src)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if r.data, err = unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer unix.Munmap(r.data)
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := os.MkdirAll(filepath.Join(dst, sub), 0o700); err != nil {
			return err
		}
	}
	if r.tmp, err = os.Open(filepath.Join(dst, "tmp")); err != nil {
		return err
	}
	defer r.tmp.Close()
	if r.new, err = os.Open(filepath.Join(dst, "new")); err != nil {
		return err
	}
	defer r.new.Close()
	for from := 0; from < len(r.spans); {
		to, bytes := from, int64(0)
		for to < len(r.spans) && to-from < groupCount && bytes < groupBytes {
			bytes += r.spans[to].size
			to++
		}
		if err := r.group(ctx, from, to); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// group makes the messages from up to to durable.
func (r *floorRun) group(ctx context.Context, from, to int) error {
	if err := r.share(ctx, from, to, r.stage); err != nil {
		return err
	}
	if err := unix.Syncfs(int(r.tmp.Fd())); err != nil {
		return os.NewSyscallError("syncfs", err)
	}
	if err := r.share(ctx, from, to, r.publish); err != nil {
		return err
	}
	if err := r.new.Sync(); err != nil {
		return err
	}
	return r.tmp.Sync()
}

// share has the writers do a step for each message.
func (r *floorRun) share(ctx context.Context, from, to int, step func(i int) error) error {
	var next atomic.Int64
	next.Store(int64(from))
	work, ctx := errgroup.WithContext(ctx)
	for range floorWriters {
		work.Go(func() error {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= to {
					return nil
				}
				if err := step(i); err != nil {
					return err
				}
			}
			return context.Cause(ctx)
		})
	}
	return work.Wait()
}

func (r *floorRun) name(i int) string { return fmt.Sprintf("%s%d.floor", r.base, i) }

// stage uses bare system calls: an *os.File costs more than the write does.
func (r *floorRun) stage(i int) error {
	fd, err := unix.Openat(int(r.tmp.Fd()), r.name(i), unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return os.NewSyscallError("openat", err)
	}
	s := r.spans[i]
	for rest := r.data[s.off : s.off+s.size]; len(rest) > 0; {
		n, err := unix.Write(fd, rest)
		if err != nil {
			unix.Close(fd)
			return os.NewSyscallError("write", err)
		}
		rest = rest[n:]
	}
	return os.NewSyscallError("close", unix.Close(fd))
}

func (r *floorRun) publish(i int) error {
	name := r.name(i)
	return os.NewSyscallError("renameat2",
		unix.Renameat2(int(r.tmp.Fd()), name, int(r.new.Fd()), name, unix.RENAME_NOREPLACE))
}

// syncAll writes out what the run before has left in memory on the file system
// of dir, so that the next run does not pay for it.
func syncAll(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(d.Fd())))
}

// fsName names the file system of dir.
func fsName(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "unknown file system"
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	}
	return fmt.Sprintf("file system %#x", st.Type)
}
