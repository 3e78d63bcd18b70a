//go:build unix

// Package freespace asks a file system how much room it has.
package freespace

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Of is what the file system of dir has left for whoever asks; negative inodes
// say that it makes them as they are needed.
func Of(dir string) (bytes, inodes int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	blocks := uint64(max(int64(st.Bavail), 0))
	if os.Geteuid() == 0 {
		blocks = uint64(st.Bfree)
	}
	bytes = math.MaxInt64
	if b := uint64(st.Bsize); b == 0 || blocks <= math.MaxInt64/b {
		bytes = int64(blocks * b)
	}
	if st.Files == 0 {
		return bytes, -1, nil // makes inodes as they are needed
	}
	return bytes, int64(st.Ffree), nil
}
