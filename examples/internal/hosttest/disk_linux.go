package hosttest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// SmallDisk puts a file system of that many kilobytes over a directory until
// the test ends. It holds another file, of fill kilobytes, that can be removed.
func SmallDisk(t *testing.T, dir string, kb, fill int) (ballast string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=755", kb)); err != nil {
		t.Skipf("a tmpfs cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast = filepath.Join(dir, "ballast")
	check(t, os.WriteFile(ballast, make([]byte, fill<<10), 0o600))
	return ballast
}
