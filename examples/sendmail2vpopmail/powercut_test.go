//go:build linux

package main

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
	"golang.org/x/sys/unix"
)

// A disk is an ext4 of its own, at the place of the new host, whose power can
// be cut.
type disk struct {
	s           *site
	image, path string
}

// newDisk puts an empty new host, and the state, on a disk.
func newDisk(s *site) *disk {
	s.t.Helper()
	if os.Geteuid() != 0 {
		s.t.Skip("cutting the power of a loop-mounted ext4 needs root")
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		hosttest.Need(s.t, "mkfs.ext4 is not installed (e2fsprogs)")
	}
	s.check(os.RemoveAll(s.path("new")))
	s.mkdir("new")
	d := &disk{s, s.path("image"), s.path("new")}
	f, err := os.Create(d.image)
	s.check(err)
	s.check(f.Truncate(256 << 20))
	s.check(f.Close())
	if out, err := exec.Command(mkfs, "-q", "-F", d.image).CombinedOutput(); err != nil {
		s.t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	if out, err := d.mount(); err != nil {
		s.t.Skipf("no loop mount here: %v: %s", err, out)
	}
	s.t.Cleanup(func() { unix.Unmount(d.path, unix.MNT_DETACH) })
	s.renew()
	s.write("new/qmail/control/me", "mail.example.com\n")
	unix.Sync()
	return d
}

func (d *disk) mount() ([]byte, error) {
	return exec.Command("mount", "-o", "loop", d.image, d.path).CombinedOutput()
}

// cut stops the file system without writing its log: what was not committed is
// gone (FS_IOC_SHUTDOWN with NOLOGFLUSH).
func (d *disk) cut() {
	d.s.t.Helper()
	const ioc, noLogFlush = 0x8004587d, 2
	f, err := os.Open(d.path)
	d.s.check(err)
	defer f.Close()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ioc, noLogFlush); err != nil {
		d.s.t.Skipf("this kernel's ext4 cannot be shut down: %v", err)
	}
}

// restart is what follows a cut. It mounts a copy of what is on the disk: as
// long as anybody's mount name space keeps the old mount, the same image would
// give the dead file system again.
func (d *disk) restart() {
	d.s.t.Helper()
	var err error
	for range 100 {
		if err = unix.Unmount(d.path, 0); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.s.check(err)
	next := d.image + "+"
	if out, err := exec.Command("cp", "--sparse=always", d.image, next).CombinedOutput(); err != nil {
		d.s.t.Fatalf("cp: %v: %s", err, out)
	}
	d.s.check(os.Remove(d.image))
	d.image = next
	if out, err := d.mount(); err != nil {
		d.s.t.Fatalf("mount: %v: %s", err, out)
	}
}

// The power goes right after the program has ended, and in its middle.
func TestPowerCut(t *testing.T) {
	s, n := bigHost(t)
	d := newDisk(s)
	state := []string{"-state", s.path("new/state")}
	began := time.Now()
	s.finish(0, "run", state...)
	d.cut()
	took := time.Since(began)
	d.restart()
	clean, settings := s.mail("example.org"), s.settings("example.org")
	total := 0
	for _, list := range clean {
		total += len(list)
	}
	if total != n {
		t.Fatalf("%d of %d messages are there after exit 0 and a power cut", total, n)
	}
	s.finish(0, "verify", state...)
	s.finish(0, "run", state...)
	diff(t, clean, s.mail("example.org"))
	diff(t, settings, s.settings("example.org"))

	rng := hosttest.Seeded(t)
	for range (hosttest.Kills(t) + 1) / 2 {
		unix.Unmount(d.path, unix.MNT_DETACH)
		d = newDisk(s)
		cmd := s.program("run", state...)
		s.check(cmd.Start())
		after := time.Duration(rng.Int64N(int64(took)))
		time.Sleep(after)
		d.cut()
		cmd.Wait()
		d.restart()
		s.finish(0, "run", state...)
		t.Logf("cut after %v of %v", after, took)
		diff(t, clean, s.mail("example.org"))
		diff(t, settings, s.settings("example.org"))
		s.finish(0, "verify", state...)
		if t.Failed() {
			return
		}
	}
}
