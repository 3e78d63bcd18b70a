//go:build unix

package queue

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// benchMessages is the size of the queue on which qmail-qread was measured.
const benchMessages = 20000

// makeBench makes a queue as qmail-send leaves it: 20,000 messages of 1 kB, to
// three local and two remote recipients each.
func makeBench(b *testing.B) *Queue {
	b.Helper()
	dir := b.TempDir()
	for p := range numParts {
		mkdir(b, dir, p.String())
	}
	mkdir(b, dir, "lock")
	mkdir(b, dir, "pid")
	for n := range 23 {
		for _, p := range splitParts {
			mkdir(b, dir, dirPath(p, n))
		}
	}
	l := Layout{Split: 23}
	body := strings.Repeat("0123456789 abcdefghijklmnopqrstuvwxyz 0123456789\n", 20)
	for i := range benchMessages {
		id := ID(15000000 + i)
		put(b, dir, l.Path(Mess, id), "Received: (qmail 1 invoked by uid 0); 21 Nov 2026 19:55:17 -0000\nSubject: "+strconv.Itoa(i)+"\n\n"+body)
		put(b, dir, l.Path(Info, id), fmt.Sprintf("Fsender%d@example.net\x00", i%97))
		put(b, dir, l.Path(Local, id), fmt.Sprintf("Tuser%d@example.com\x00Tuser%d@example.com\x00Tuser%d@example.com\x00", 3*i, 3*i+1, 3*i+2))
		put(b, dir, l.Path(Remote, id), fmt.Sprintf("Tremote%d@host%d.example.org\x00Dremote%d@host%d.example.org\x00", 2*i, 2*i%50, 2*i+1, (2*i+1)%50))
	}
	return openQueue(b, dir, nil)
}

func mkdir(t testing.TB, dir, name string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// bare opens and reads the files of each message and does nothing with them,
// with n goroutines that share the directories of info.
func bare(b *testing.B, q *Queue, n int) {
	root, err := q.root.Open(".")
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	var g sync.WaitGroup
	dirs := make(chan int, q.layout.Split)
	for d := range q.layout.Split {
		dirs <- d
	}
	close(dirs)
	for range n {
		g.Go(func() {
			buf := make([]byte, keep)
			for d := range dirs {
				bareDir(b, q, int(root.Fd()), d, buf)
			}
		})
	}
	g.Wait()
}

func bareDir(b *testing.B, q *Queue, root, n int, buf []byte) {
	f, err := q.root.Open(dirPath(Info, n))
	if err != nil {
		b.Error(err)
		return
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		b.Error(err)
	}
	dir := "/" + strconv.Itoa(n) + "/"
	var st unix.Stat_t
	for _, name := range names {
		if err := unix.Fstatat(root, "mess"+dir+name, &st, 0); err != nil {
			b.Error(err)
		}
		for _, p := range []string{"info", "local", "remote"} {
			fd, err := unix.Openat(root, p+dir+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				b.Error(err)
				continue
			}
			for {
				m, err := unix.Read(fd, buf)
				if m <= 0 || err != nil {
					break
				}
			}
			unix.Close(fd)
		}
	}
}

// BenchmarkList compares listing with the least that reading the same files
// takes: the times a message, by turns in one run so that the ratios count.
func BenchmarkList(b *testing.B) {
	q := makeBench(b)
	ctx := context.Background()
	perMessage := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchMessages, "ns/message")
	}
	for _, n := range []int{1, 2} {
		b.Run(fmt.Sprintf("bare-%d", n), func(b *testing.B) {
			for range b.N {
				bare(b, q, n)
			}
			perMessage(b)
		})
	}
	b.Run("messages", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			messages, recipients := 0, 0
			for m, err := range q.Messages(ctx) {
				if err != nil {
					b.Fatal(err)
				}
				for _, err := range m.Recipients() {
					if err != nil {
						b.Fatal(err)
					}
					recipients++
				}
				messages++
			}
			if messages != benchMessages || recipients != 5*benchMessages {
				b.Fatalf("%d messages, %d recipients", messages, recipients)
			}
		}
		perMessage(b)
	})
	b.Run("qread", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if err := q.WriteQread(ctx, io.Discard); err != nil {
				b.Fatal(err)
			}
		}
		perMessage(b)
	})
	b.Run("check", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			for range q.Check(ctx) {
			}
		}
		perMessage(b)
	})
}
