//go:build unix

package queue

import (
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// inode is the inode number of a file.
func inode(fi fs.FileInfo) uint64 { return uint64(fi.Sys().(*syscall.Stat_t).Ino) }

// accessed is when a file was last read.
func accessed(path string) time.Time {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return time.Time{}
	}
	return time.Unix(st.Atim.Unix())
}
