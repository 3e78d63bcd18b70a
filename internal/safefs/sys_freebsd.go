package safefs

import "golang.org/x/sys/unix"

func mkfifoat(fd int, name string, mode uint32) error {
	return unix.Mknodat(fd, name, unix.S_IFIFO|mode, 0)
}
