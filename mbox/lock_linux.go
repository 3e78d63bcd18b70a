package mbox

import (
	"os"

	"golang.org/x/sys/unix"
)

const (
	defaultLockMethods = Dotlock | Fcntl | Flock
	fcntlCmd           = unix.F_OFD_SETLK
)

// ownFlock says whether flock is a lock of its own on f's file system. On the
// network file systems it is made of an fcntl lock and would wait for ours.
func ownFlock(f *os.File) bool {
	var st unix.Statfs_t
	if err := noEINTR(func() error { return unix.Fstatfs(int(f.Fd()), &st) }); err != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return false
	}
	return true
}
