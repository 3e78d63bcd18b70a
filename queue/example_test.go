//go:build unix

package queue_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/queue"
)

// sample makes a small queue with one message that was tried.
func sample() (dir string) {
	dir, err := os.MkdirTemp("", "queue")
	if err != nil {
		log.Fatal(err)
	}
	files := map[string]string{
		"mess/0/30":   "Received: (qmail 1 invoked by uid 0); 21 Nov 2026 19:55:17 -0000\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\n\nHello\n",
		"info/0/30":   "Fann@example.com\x00",
		"local/0/30":  "Djoe@example.net\x00",
		"remote/0/30": "Tbob@example.org\x00",
		"todo/x":      "",
		"intd/x":      "",
		"bounce/30":   "<joe@example.net>:\nmailbox closed\n\n",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			log.Fatal(err)
		}
		if strings.HasSuffix(name, "/x") {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
		when := time.Unix(1795290917, 0)
		if err := os.Chtimes(path, when, when); err != nil {
			log.Fatal(err)
		}
	}
	return dir
}

func openSample() (*queue.Queue, func()) {
	dir := sample()
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	q, err := queue.Open(root, nil)
	if err != nil {
		log.Fatal(err)
	}
	return q, func() {
		q.Close()
		root.Close()
		os.RemoveAll(dir)
	}
}

// Open tells how the queue is laid out; Messages yields what is in it.
func ExampleQueue_Messages() {
	q, done := openSample() // root, _ := os.OpenRoot("/var/qmail/queue"); q, err := queue.Open(root, nil)
	defer done()
	for m, err := range q.Messages(context.Background()) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			log.Fatal(err)
		}
		if err != nil {
			log.Print(err) // something of this message; go on
		}
		if m == nil {
			continue
		}
		fmt.Println(m.ID, m.State, m.Sender)
		for r, err := range m.Recipients() {
			fmt.Println(r.Channel, r.Done, r.Address, err)
		}
		if h, err := m.Header(); err == nil {
			fmt.Println(h.Text("Subject", nil))
		}
	}
	// Output:
	// 30 S5 ann@example.com
	// local true joe@example.net <nil>
	// remote false bob@example.org <nil>
	// Grüße
}

// Check tells what is wrong. Here a copy has lost the inode numbers, and its
// lock files; a file was put where qmail does not look.
func ExampleQueue_Check() {
	q, done := openSample()
	defer done()
	for p, err := range q.Check(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		if p.Code == "queue.inode" || p.Code == "queue.missing-dir" {
			fmt.Println(p.Severity, p.Code, p.Path)
		}
	}
	// Output:
	// error queue.missing-dir lock
	// error queue.missing-dir pid
	// error queue.inode mess/0/30
}

func ExampleQueue_WriteQread() {
	q, done := openSample()
	defer done()
	if err := q.WriteQread(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 21 Nov 2026 19:55:17 GMT  #30  109  <ann@example.com>  bouncing
	//   done	local	joe@example.net
	// 	remote	bob@example.org
}

func ExampleNextRetry() {
	birth := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
	for _, age := range []time.Duration{0, 400 * time.Second, 1600 * time.Second} {
		fmt.Println(queue.NextRetry(birth, birth.Add(age), queue.ToRemote).Sub(birth))
	}
	// Output:
	// 6m40s
	// 26m40s
	// 1h0m0s
}
