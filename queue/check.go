//go:build unix

package queue

import (
	"io/fs"

	"github.com/qmailkit/qmailkit"
)

// A fault is a Problem with what a repair has to know.
type fault struct {
	code     string
	severity qmailkit.Severity
	path     string // where it is, relative to the queue
	offset   int64
	words    string // what is wrong
	fix      string // what a repair does about it

	id   ID
	part Part
	// to is the path to which the file has to move; empty where it stays. For
	// codeInode that is the place of the message file under its inode number,
	// and the files of the other parts have to follow it.
	to string
	// uid, gid and mode are what the file has to have; negative, or 0 for
	// mode, where that is right as it is.
	uid, gid int
	mode     fs.FileMode
	// paths are further files that belong to the fault, such as those that a
	// lost message left behind.
	paths []string
}
