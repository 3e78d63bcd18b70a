package mbox_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/mbox"
)

const mailbox = `From ann@example.org Mon Jan  5 07:01:02 2004
From: ann@example.org
Status: RO

>From now on it works.

From bob@example.net Tue Jan  6 08:00:00 2004
From: bob@example.net
Subject: two

From this you see what is no separator.
`

func ExampleIndex() {
	file := strings.NewReader(mailbox)
	for h, err := range mbox.Index(context.Background(), file, file.Size(), nil) {
		if err != nil {
			log.Fatal(err)
		}
		when, _ := h.Arrival()
		fmt.Printf("%s %d+%d %q %s\n", h.From.Sender, h.Offset, h.Length, h.Letters(), when.Format(time.DateOnly))
		io.Copy(os.Stdout, mbox.Body(file, h, mbox.Auto))
	}
	// Output:
	// ann@example.org 46+57 "S" 2004-01-05
	// From: ann@example.org
	// Status: RO
	//
	// From now on it works.
	// bob@example.net 150+76 "" 2004-01-06
	// From: bob@example.net
	// Subject: two
	//
	// From this you see what is no separator.
}

func ExampleReader() {
	r := mbox.NewReader(strings.NewReader(mailbox))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(h.Index, h.From.Sender, n, h.Length)
	}
	// Output:
	// 0 ann@example.org 56 57
	// 1 bob@example.net 76 76
}

func ExampleWriter() {
	var b bytes.Buffer
	w := mbox.NewWriter(&b, mbox.RD)
	m, err := w.Create(mbox.FromLine{Sender: "ann@example.org", Date: time.Unix(1073286062, 0), HasDate: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(m, "Subject: one\n\nFrom now on it works.\n")
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Print(b.String())
	// Output:
	// From ann@example.org Mon Jan  5 07:01:02 2004
	// Subject: one
	//
	// >From now on it works.
}

func ExampleStripState() {
	r := mbox.NewReader(strings.NewReader(mailbox))
	if _, err := r.Next(); err != nil {
		log.Fatal(err)
	}
	io.Copy(os.Stdout, mbox.StripState(r))
	// Output:
	// From: ann@example.org
	//
	// From now on it works.
}

func ExampleDetect() {
	file := strings.NewReader(mailbox)
	d, err := mbox.Detect(context.Background(), file, file.Size(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Format, d.Messages)
	// Output: o 2
}

// A live spool is locked only while its length is taken; what is delivered
// later is for the next run.
func ExampleLock() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	if err := root.WriteFile("ann", []byte(mailbox), 0o600); err != nil {
		log.Fatal(err)
	}
	f, err := root.OpenFile("ann", os.O_RDWR, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	ctx := context.Background()
	held, err := mbox.Lock(ctx, f, &mbox.LockOptions{Dir: root, Name: "ann"})
	if err != nil {
		log.Fatal(err)
	}
	fi, err := f.Stat()
	if e := held.Unlock(); err == nil {
		err = e
	}
	if err != nil {
		log.Fatal(err)
	}
	n := 0
	for _, err := range mbox.Index(ctx, f, fi.Size(), &mbox.Options{Prefix: true}) {
		if err != nil {
			log.Fatal(err)
		}
		n++
	}
	fmt.Println(n, "messages")
	// Output: 2 messages
}
