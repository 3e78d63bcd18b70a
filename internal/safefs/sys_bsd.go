//go:build freebsd || darwin

package safefs

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// HasSyncFS says whether SyncFS works on this system.
const HasSyncFS = false

// lockCmd takes the locks of the process; these systems have no others that
// meet them.
const lockCmd = unix.F_SETLK

func renameExcl(from int, name string, to int, newname string) error {
	return linkExcl(from, name, to, newname)
}

func syncfs(int) error { return errors.ErrUnsupported }

func futimes(fd int, t time.Time) error {
	tv, err := unix.TimeToTimespec(t)
	if err != nil {
		return err
	}
	v := unix.NsecToTimeval(tv.Nano())
	return unix.Futimes(fd, []unix.Timeval{v, v})
}

func times(st *unix.Stat_t) (mtime, atime time.Time) {
	return time.Unix(st.Mtim.Unix()), time.Unix(st.Atim.Unix())
}
