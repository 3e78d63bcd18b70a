package maildir

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A disk is an ext4 of its own whose power can be cut.
type disk struct {
	t     testing.TB
	image string
	path  string
	on    bool
}

// newDisk makes a file system in a file. It skips where that cannot be done.
func newDisk(t testing.TB) *disk {
	if os.Geteuid() != 0 {
		t.Skip("cutting the power of a loop-mounted ext4 needs root")
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		if os.Getenv("QMAILKIT_REQUIRE_PEERS") == "1" {
			t.Fatal("mkfs.ext4 is needed for the power-cut test: ", err)
		}
		t.Skip("no mkfs.ext4 (package e2fsprogs): ", err)
	}
	dir := fastDir(t)
	d := &disk{t: t, image: filepath.Join(dir, "image"), path: filepath.Join(dir, "mnt")}
	if err := os.Mkdir(d.path, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, d.image, "")
	if err := os.Truncate(d.image, 128<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(mkfs, "-q", "-F", d.image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.path).CombinedOutput(); err != nil {
		t.Skipf("no loop mount here: %v: %s", err, out)
	}
	d.on = true
	t.Cleanup(d.unmount)
	return d
}

// mount mounts a copy of what is on the disk: as long as anybody's mount name
// space keeps the old mount, the same image would give the dead file system
// again.
func (d *disk) mount() {
	d.t.Helper()
	next := d.image + "+"
	if out, err := exec.Command("cp", "--sparse=always", d.image, next).CombinedOutput(); err != nil {
		d.t.Fatalf("cp: %v: %s", err, out)
	}
	if err := os.Remove(d.image); err != nil {
		d.t.Fatal(err)
	}
	d.image = next
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.path).CombinedOutput(); err != nil {
		d.t.Fatalf("mount: %v: %s", err, out)
	}
	d.on = true
}

func (d *disk) unmount() {
	for i := 0; d.on && i < 50; i++ {
		if err := unix.Unmount(d.path, 0); err == nil {
			d.on = false
			return
		}
		time.Sleep(20 * time.Millisecond) // a child is still going
	}
	if d.on {
		d.t.Errorf("%s cannot be unmounted", d.path)
	}
}

// cut stops the file system without writing its log: what was not committed is
// gone (FS_IOC_SHUTDOWN with NOLOGFLUSH).
func (d *disk) cut() error {
	const ioc, noLogFlush = 0x8004587d, 2
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetPointerInt(int(f.Fd()), ioc, noLogFlush)
}

// reboot is what follows a cut, which it makes unless that was done.
func (d *disk) reboot(isCut bool) {
	d.t.Helper()
	if !isCut {
		if err := d.cut(); err != nil {
			d.t.Skipf("this kernel's ext4 cannot be shut down: %v", err)
		}
	}
	d.unmount()
	d.mount()
}

// checkContent finds messages that a power cut has damaged.
func checkContent(t testing.TB, clean, got map[ID]string) {
	t.Helper()
	for id, is := range got {
		if clean[id] != is {
			t.Errorf("damaged: %s, should be %s", is, clean[id])
		}
	}
}

// countTmp counts what is staged.
func countTmp(t testing.TB, dir string) (n int) {
	t.Helper()
	for _, box := range manyBoxes {
		for _, sub := range []string{"tmp", ".Work/tmp"} {
			list, _ := os.ReadDir(filepath.Join(dir, box, sub))
			n += len(list)
		}
	}
	return n
}

// placed is inventory without tmp/, which need not be empty after a cut.
func placed(t testing.TB, dir string) map[ID]string {
	t.Helper()
	if countTmp(t, dir) == 0 {
		return inventory(t, dir)
	}
	copyDir := fastDir(t)
	if out, err := exec.Command("cp", "-a", dir+"/.", copyDir).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	for _, box := range manyBoxes {
		for _, sub := range []string{"tmp", ".Work/tmp"} {
			os.RemoveAll(filepath.Join(copyDir, box, sub))
		}
	}
	return inventory(t, copyDir)
}

// TestPowerCut cuts the power right after an import has ended, and in its
// middle.
func TestPowerCut(t *testing.T) {
	d := newDisk(t)
	began := time.Now()
	if err := importMany(d.path, io.Discard); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	clean := inventory(t, d.path)
	d.reboot(false)
	compareInventory(t, clean, inventory(t, d.path))
	if err := importMany(d.path, io.Discard); err != nil {
		t.Fatal(err)
	}
	compareInventory(t, clean, inventory(t, d.path))

	rounds := 4
	if os.Getenv("QMAILKIT_LONG") == "1" {
		rounds = 20
	}
	rng := rand.New(rand.NewPCG(2, uint64(time.Now().UnixNano())))
	early := 0
	for range rounds {
		d := newDisk(t)
		cmd, out := child(t, d.path)
		after := time.Duration(rng.Int64N(int64(whole)))
		cut := make(chan error, 1)
		timer := time.AfterFunc(after, func() { cut <- d.cut() })
		rest, _ := io.ReadAll(out)
		if cmd.Wait() != nil {
			early++
		}
		late := timer.Stop()
		if !late {
			if err := <-cut; err != nil {
				t.Fatal(err)
			}
		}
		d.reboot(!late)
		got := placed(t, d.path)
		checkContent(t, clean, got)
		promised := ids(string(rest))
		for _, id := range promised {
			if got[id] == "" {
				t.Errorf("lost after it was called delivered: %s", clean[id])
			}
		}
		if err := importMany(d.path, io.Discard); err != nil {
			t.Errorf("rerun: %v", err)
		}
		compareInventory(t, clean, inventory(t, d.path))
		t.Logf("cut after %v of %v: %d promised, %d there", after, whole, len(promised), len(got))
		if t.Failed() {
			return
		}
		d.unmount()
	}
	if early == 0 {
		t.Errorf("no cut came before an import's end, of %v", whole)
	}
}

// TestPowerCutDelivery cuts the power right after single deliveries, and right
// after Maildirs were made that got no message.
func TestPowerCutDelivery(t *testing.T) {
	for name, opts := range map[string]*CommitOptions{"group": nil, "files": {NoSyncFS: true}, "each": {Sync: SyncEach}} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			dir, err := Create(filepath.Join(d.path, "one"), nil)
			if err != nil {
				t.Fatal(err)
			}
			e, err := deliver(dir, "text", Arrival{Flags: Seen})
			if err != nil {
				t.Fatal(err)
			}
			if e, err = dir.SetFlags(e, Seen|Replied); err != nil {
				t.Fatal(err)
			}
			if err := dir.Subscribe([]string{"."}); err != nil {
				t.Fatal(err)
			}
			if _, err := runResults(t, d.path, nil, opts, nil); err != nil {
				t.Fatal(err)
			}
			last, err := deliver(dir, "last", Arrival{})
			if err != nil {
				t.Fatal(err)
			}
			dir.Close()
			d.reboot(false)
			if got := read(t, filepath.Join(d.path, "one/new", last.Name.String())); got != "last" {
				t.Errorf("last message: %q", got)
			}
			if got := read(t, filepath.Join(d.path, "one/cur", e.Name.String())); got != "text" {
				t.Errorf("delivered message: %q", got)
			}
			if got := read(t, filepath.Join(d.path, "one", CourierSubscribed)); !strings.HasPrefix(got, "INBOX\n") {
				t.Errorf("subscriptions: %q", got)
			}
			m, err := Open(filepath.Join(d.path, "M"), nil)
			if err != nil {
				t.Fatal("the Maildir without messages: ", err)
			}
			for _, err := range m.Messages(context.Background()) {
				t.Error(err)
			}
			m.Close()
		})
	}
}
