//go:build unix

package queue

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestPeers compares random queues with what the real qmail-qread, qmail-qstat
// and qmail-tcpto print. QMAILKIT_QMAIL_HOME names the directory that they were
// built for (conf-qmail), with the programs in bin. It may hold nothing else: the
// queue there is made and removed.
func TestPeers(t *testing.T) {
	home := os.Getenv("QMAILKIT_QMAIL_HOME")
	if home == "" {
		t.Skip("QMAILKIT_QMAIL_HOME names no home of qmail's programs")
	}
	r := rand.New(rand.NewPCG(3, 4))
	for n := range 50 {
		dir := filepath.Join(home, "queue")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		randomQueue(t, r, dir)
		now := time.Now()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		q, err := Open(root, &Options{Layout: Layout{Split: 23}, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		for program, write := range map[string]func(io.Writer) error{
			"qmail-qread": func(w io.Writer) error { return q.WriteQread(context.Background(), w) },
			"qmail-qstat": func(w io.Writer) error { return q.WriteQstat(context.Background(), w) },
			"qmail-tcpto": q.WriteTcpto,
		} {
			// The clock may step between the two.
			for try := range 3 {
				var got bytes.Buffer
				now = time.Now()
				err := write(&got)
				want, fail := exec.Command(filepath.Join(home, "bin", program)).Output()
				if exit := (*exec.ExitError)(nil); fail != nil && !errors.As(fail, &exit) {
					t.Fatal(fail)
				}
				if bytes.Equal(got.Bytes(), want) && (err != nil) == (fail != nil) {
					break
				}
				if try == 2 {
					t.Fatalf("queue %d, %s: %v and %v: %s", n, program, err, fail, difference(got.Bytes(), want))
				}
			}
		}
		q.Close()
		root.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// difference is the first line that is not the same.
func difference(got, want []byte) string {
	a, b := bytes.SplitAfter(got, []byte("\n")), bytes.SplitAfter(want, []byte("\n"))
	for i := range min(len(a), len(b)) {
		if !bytes.Equal(a[i], b[i]) {
			return fmt.Sprintf("line %d: %.200q, want %.200q", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}

// randomQueue makes a queue that qmail-qread reads to its end nearly always.
// Every info has its NUL: what stands behind one without it is memory of that
// program.
func randomQueue(t *testing.T, r *rand.Rand, dir string) {
	t.Helper()
	for p := range numParts {
		mkdir(t, dir, p.String())
	}
	mkdir(t, dir, "lock")
	for _, p := range splitParts {
		for n := range 23 {
			if r.IntN(3000) > 0 {
				mkdir(t, dir, dirPath(p, n))
			}
		}
	}
	texts := []string{"T", "D", "X", "", "Tjoe@example.com", "Dann@example.com", "T\xff\n\t\x7f~ ", "D" + string(bytes.Repeat([]byte("y"), 40000))}
	for range r.IntN(40) {
		id := ID(r.IntN(100))
		if r.IntN(5) == 0 {
			id = ID(r.Uint64())
		}
		place := func(p Part) string {
			at, name := uint64(id)%23, id.String()
			switch r.IntN(40) {
			case 0:
				at = uint64(r.IntN(23))
			case 1:
				name = "00" + name
			case 2:
				name += "x"
			case 3:
				name = "1844674407370955" + strconv.Itoa(1616+r.IntN(50)) // beyond 64 bits
			}
			if p == Bounce || p == Todo {
				return p.String() + "/" + name
			}
			return dirPath(p, int(at)) + "/" + name
		}
		write := func(p Part, text string) {
			if r.IntN(10) > 0 {
				path := filepath.Join(dir, place(p))
				os.WriteFile(path, []byte(text), 0o600) // the directory may be missing
				when := time.Unix(r.Int64N(4e9), 0)
				os.Chtimes(path, when, when)
			}
		}
		records := func() string {
			b := ""
			for range r.IntN(6) {
				b += texts[r.IntN(len(texts))] + "\x00"
			}
			return b + texts[r.IntN(5)]
		}
		write(Mess, string(bytes.Repeat([]byte("x"), r.IntN(3000))))
		write(Info, []string{"F\x00", "Fann@example.com\x00", "\x00", "Gb\xe9\x00tail", "F\x1b[m\x00"}[r.IntN(5)])
		write(Local, records())
		write(Remote, records())
		if r.IntN(3) == 0 {
			write(Bounce, "x")
			write(Todo, "x")
		}
	}
	table := make([]byte, r.IntN(70)*16+r.IntN(16))
	for i := 0; i+16 <= len(table) && i < tcptoSize; i += 16 {
		binary.LittleEndian.PutUint64(table[i:], r.Uint64())
		table[i+4] = byte(r.IntN(12))
		if r.IntN(10) == 0 {
			table[i+4] = byte(r.IntN(256))
		}
		binary.LittleEndian.PutUint64(table[i+8:], uint64(time.Now().Unix()-r.Int64N(100000)))
	}
	put(t, dir, "lock/tcpto", string(table))
}
