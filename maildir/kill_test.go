package maildir

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// childDir names the directory into which a child process imports. The tests
// kill it.
const childDir = "MAILDIR_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := importMany(dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var manyBoxes = []string{"ann", "bob", "eve"}

const manyEach = 1000

// many are the messages of one of the mailboxes.
func many(box string) []*Message {
	rng := rand.New(rand.NewPCG(uint64(len(box)), uint64(box[0])))
	out := make([]*Message, manyEach)
	for i := range out {
		body := fmt.Sprintf("Subject: %d\n\n%s\n", i/2, strings.Repeat(box, 10+rng.IntN(500)*(1-i%2)))
		m := &Message{Source: "var/mail/" + box, Size: int64(len(body)), Time: time.Unix(1e9+int64(i), 0)}
		m.Body = func() io.Reader { return strings.NewReader(body) }
		switch i % 5 {
		case 1:
			m.Flags = Seen
		case 2:
			m.Folder, m.Keywords = ".Work", []string{"Junk"}
		}
		out[i] = m
	}
	return out
}

// importMany imports into three Maildirs at once, and says on out which
// messages are sure to be on the disk.
func importMany(dir string, out io.Writer) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	fmt.Fprintln(out, "start")
	c := NewCommitter(&CommitOptions{MaxMessages: 150})
	var wg sync.WaitGroup
	errs := make([]error, len(manyBoxes))
	for i, box := range manyBoxes {
		im, err := c.Import(root, box, nil)
		if err != nil {
			errs[i] = err
			continue
		}
		wg.Go(func() {
			for _, m := range many(box) {
				m.Done = func(r Result) {
					if r.Err == nil {
						fmt.Fprintln(out, r.Outcome, r.ID)
					}
				}
				if errs[i] = im.Add(context.Background(), m); errs[i] != nil {
					break
				}
			}
			if err := im.Close(nil); errs[i] == nil {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	if err := c.Close(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// child starts an import in another process and returns when it has begun.
func child(t testing.TB, dir string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(out)
	if line, err := br.ReadString('\n'); line != "start\n" {
		t.Fatalf("child says %q, %v", line, err)
	}
	return cmd, br
}

// inventory finds the messages of the three Maildirs by their IDs: their place
// and the digest of their bytes. Two with one ID are an error.
func inventory(t testing.TB, dir string) map[ID]string {
	t.Helper()
	out := map[ID]string{}
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		if strings.Contains(rel, "/tmp/") {
			t.Errorf("left in tmp: %s", rel)
			return nil
		}
		if !strings.Contains(rel, "/new/") && !strings.Contains(rel, "/cur/") {
			return nil
		}
		id, ok := importedID(e.Name())
		if !ok || out[id] != "" {
			t.Errorf("twice, or not ours: %s and %s", rel, out[id])
		}
		b, err := os.ReadFile(p)
		out[id] = fmt.Sprintf("%s %x", rel, sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A reader is somebody who reads and deletes mail while it is imported.
type mailReader struct {
	dir           string
	read, deleted map[ID]bool
}

// pass goes once over the new mail.
func (r *mailReader) pass(t testing.TB) {
	for _, box := range manyBoxes {
		for _, sub := range []string{box, box + "/.Work"} {
			for _, from := range []string{"new", "cur"} {
				list, _ := os.ReadDir(filepath.Join(r.dir, sub, from))
				for _, e := range list {
					n, err := ParseName(e.Name())
					id, ours := importedID(e.Name())
					if err != nil || !ours || r.read[id] {
						continue
					}
					at := filepath.Join(r.dir, sub, from, e.Name())
					switch id[0] % 8 {
					case 0:
						if err := os.Remove(at); err != nil {
							t.Errorf("reader: %v", err)
						}
						r.deleted[id] = true
					case 1, 2:
						r.read[id] = true
						seen := n.WithFlags(n.Flags() | Seen | Flagged)
						if err := os.Rename(at, filepath.Join(r.dir, sub, "cur", seen.String())); err != nil {
							t.Errorf("reader: %v", err)
						}
					}
				}
			}
		}
	}
}

// expect says what a clean run's inventory is after the reader has been there.
func (r *mailReader) expect(clean map[ID]string) map[ID]string {
	want := maps.Clone(clean)
	for id := range r.deleted {
		delete(want, id)
	}
	for id := range r.read {
		place, sum, _ := strings.Cut(want[id], " ")
		n, _ := ParseName(filepath.Base(place))
		n = n.WithFlags(n.Flags() | Seen | Flagged)
		want[id] = filepath.Dir(filepath.Dir(place)) + "/cur/" + n.String() + " " + sum
	}
	return want
}

func compareInventory(t testing.TB, want, got map[ID]string) {
	t.Helper()
	for id := range want {
		if got[id] != want[id] {
			t.Errorf("want %s\nhave %s", want[id], got[id])
		}
	}
	for id := range got {
		if want[id] == "" {
			t.Errorf("should not be: %s", got[id])
		}
	}
}

// TestKill kills an import at random moments while somebody reads the mail,
// and runs it again.
func TestKill(t *testing.T) {
	rounds := 5
	if os.Getenv("QMAILKIT_LONG") == "1" {
		rounds = 50
	}
	dir := fastDir(t)
	began := time.Now()
	if err := importMany(dir, io.Discard); err != nil {
		t.Fatal(err)
	}
	whole := time.Since(began)
	clean := inventory(t, dir)
	if len(clean) != manyEach*len(manyBoxes) {
		t.Fatalf("a clean run brings %d messages", len(clean))
	}
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	tries := 0
	for cut := 0; cut < rounds; tries++ {
		dir := fastDir(t)
		cmd, out := child(t, dir)
		r := &mailReader{dir, map[ID]bool{}, map[ID]bool{}}
		stop, stopped := make(chan bool), make(chan bool)
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					r.pass(t)
				}
			}
		}()
		after := time.Duration(rng.Int64N(int64(whole)))
		time.AfterFunc(after, func() { cmd.Process.Kill() })
		rest, _ := io.ReadAll(out)
		if cmd.Wait() != nil {
			cut++
		} else {
			whole = after // it was quicker than the first: the next is killed earlier
		}
		close(stop)
		<-stopped
		r.pass(t)
		for line := range strings.SplitSeq(strings.TrimSpace(string(rest)), "\n") {
			_, hex, _ := strings.Cut(line, " ")
			if id, ok := parseID(hex); ok && clean[id] == "" {
				t.Errorf("child delivered %s, which no clean run has", id)
			}
		}
		if err := importMany(dir, io.Discard); err != nil {
			t.Errorf("rerun: %v", err)
		}
		compareInventory(t, r.expect(clean), inventory(t, dir))
		if t.Failed() {
			t.Fatalf("killed after %v of %v; %d read, %d deleted", after, whole, len(r.read), len(r.deleted))
		}
		os.RemoveAll(dir)
	}
	t.Logf("%d of %d children killed", rounds, tries)
}

// ids are the messages that a child has called delivered.
func ids(out string) []ID {
	var list []ID
	for line := range strings.SplitSeq(out, "\n") {
		what, hex, _ := strings.Cut(line, " ")
		if id, ok := parseID(hex); ok && what == Delivered.String() {
			list = append(list, id)
		}
	}
	return slices.Clip(list)
}
