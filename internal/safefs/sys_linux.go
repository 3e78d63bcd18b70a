package safefs

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// HasSyncFS says whether SyncFS works on this system.
const HasSyncFS = true

// lockCmd takes locks that belong to the open file, so that they hold between
// goroutines of one process too, and still meet the process locks of others.
const lockCmd = unix.F_OFD_SETLK

func times(st *unix.Stat_t) (mtime, atime time.Time) {
	return time.Unix(st.Mtim.Unix()), time.Unix(st.Atim.Unix())
}

// renameExcl falls back to link and unlink where the file system has no
// RENAME_NOREPLACE.
func renameExcl(from int, name string, to int, newname string) error {
	err := retry0(func() error { return unix.Renameat2(from, name, to, newname, unix.RENAME_NOREPLACE) })
	if err == unix.EINVAL || err == unix.ENOSYS {
		return linkExcl(from, name, to, newname)
	}
	return err
}

func syncfs(fd int) error { return unix.Syncfs(fd) }

func mkfifoat(fd int, name string, mode uint32) error {
	return unix.Mknodat(fd, name, unix.S_IFIFO|mode, 0)
}

// futimes is futimens(3): the call by name could be led astray by a user who
// swaps the name.
func futimes(fd int, t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	two := [2]unix.Timespec{ts, ts}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&two)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
