//go:build unix

package queue

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// labUser owns the queues that tests make, where root runs them.
const labUser = 12345

// labTime is the time in those queues.
var labTime = time.Unix(1795290000, 0)

// layoutOf makes the empty directories and lock files of a queue in dir.
func layoutOf(t testing.TB, dir string, l Layout) {
	t.Helper()
	for _, name := range []string{"bounce", "info", "local", "remote", "pid", "intd"} {
		labDir(t, dir, name, 0o700)
	}
	for _, name := range []string{".", "mess", "todo", "lock"} {
		labDir(t, dir, name, 0o750)
	}
	for p := range numParts {
		if l.IsSplit(p) {
			for n := range l.Split {
				labDir(t, dir, dirPath(p, n), (&Queue{}).wantDir(p).mode)
			}
		}
	}
	labFile(t, dir, "lock/sendmutex", "", 0o600)
	labFile(t, dir, "lock/tcpto", strings.Repeat("\x00", tcptoSize), 0o644)
	trigger := filepath.Join(dir, "lock/trigger")
	fifo(t, trigger)
	settleLab(t, trigger, 0o622)
}

func labDir(t testing.TB, dir, name string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	settleLab(t, path, mode)
}

func labFile(t testing.TB, dir, name, text string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	settleLab(t, path, mode)
	if err := os.Chtimes(path, labTime, labTime); err != nil {
		t.Fatal(err)
	}
}

func settleLab(t testing.TB, path string, mode fs.FileMode) {
	t.Helper()
	if os.Geteuid() == 0 {
		if err := os.Lchown(path, labUser, labUser); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// fill puts files into a queue, by their paths.
func fill(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		mode := fs.FileMode(0o600)
		if part, _, _ := strings.Cut(name, "/"); part == "mess" || part == "todo" || part == "intd" || part == "pid" {
			mode = 0o644
		}
		labFile(t, dir, name, files[name], mode)
	}
}

// labOptions take each message file for what its name says.
func labOptions() *Options {
	return &Options{
		Now: func() time.Time { return labTime.Add(time.Hour) },
		Inodes: func(path string) (uint64, bool) {
			_, base := splitPath(path)
			id, err := ParseID(strings.TrimLeft(base, "0"))
			return uint64(id), err == nil
		},
		// Reading the files moves the time that the file system tells.
		ATimes: func(string) (time.Time, bool) { return labTime, true },
	}
}

// newLab makes and opens a queue with these files.
func newLab(t testing.TB, l Layout, files map[string]string) (*Queue, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "queue")
	layoutOf(t, dir, l)
	fill(t, dir, files)
	return openQueue(t, dir, labOptions()), dir
}

// both are the maps together.
func both(all ...map[string]string) map[string]string {
	m := map[string]string{}
	for _, a := range all {
		maps.Copy(m, a)
	}
	return m
}

// healthy is a preprocessed message 29 in a split of 23.
func healthy() map[string]string {
	return map[string]string{
		"mess/6/29":   "Received: (qmail 1 invoked by uid 0); 21 Nov 2026 19:55:17 -0000\nSubject: x\n\nhello\n",
		"info/6/29":   "Fjoe@example.com\x00",
		"local/6/29":  "Tann@example.com\x00Dbob@example.com\x00",
		"remote/6/29": "Tx@example.org\x00",
	}
}

func fifo(t testing.TB, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}
