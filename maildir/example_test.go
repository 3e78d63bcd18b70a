package maildir_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/maildir"
)

// temporary makes a directory for an example.
func temporary() *os.Root {
	dir, err := os.MkdirTemp("", "maildir")
	if err != nil {
		log.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	return root
}

// Many messages go into a Maildir with one sync for each group of them. A
// second run brings nothing twice, and what the reader has deleted meanwhile
// does not come back.
func ExampleCommitter() {
	root := temporary()
	defer os.RemoveAll(root.Name())
	defer root.Close()
	ctx := context.Background()

	bring := func() {
		c := maildir.NewCommitter(nil)
		im, err := c.Import(root, "Maildir", nil)
		if err != nil {
			log.Fatal(err)
		}
		for _, text := range []string{"Subject: one\n\nfirst\n", "Subject: two\n\nsecond\n"} {
			err := im.Add(ctx, &maildir.Message{
				Source: "spool/ann",
				Flags:  maildir.Seen,
				Time:   time.Date(2004, 1, 5, 7, 1, 2, 0, time.UTC),
				Size:   int64(len(text)),
				Body:   func() io.Reader { return strings.NewReader(text) },
				Done:   func(r maildir.Result) { fmt.Println(r.Outcome, r.Err) },
			})
			if err != nil {
				log.Fatal(err)
			}
		}
		if err := im.Close(nil); err != nil {
			log.Fatal(err)
		}
		if err := c.Close(); err != nil { // now all is on the disk
			log.Fatal(err)
		}
	}
	bring()

	d, err := maildir.OpenRoot(root, "Maildir", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	for e, err := range d.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if err := d.Remove(e); err != nil { // its reader does that
			log.Fatal(err)
		}
	}
	bring()
	// Output:
	// delivered <nil>
	// delivered <nil>
	// present <nil>
	// present <nil>
}

// A single message is delivered as qmail-local does it: it appears when all of
// it is on the disk.
func ExampleDir_Deliver() {
	root := temporary()
	defer os.RemoveAll(root.Name())
	defer root.Close()
	ctx := context.Background()

	d, err := maildir.CreateRoot(root, "Maildir", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	m, err := d.Deliver()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.WriteString(m, "Subject: hello\n\nworld\n"); err != nil {
		m.Cancel()
		log.Fatal(err)
	}
	e, err := m.Commit(ctx, maildir.Arrival{})
	if err != nil {
		log.Fatal(err)
	}
	size, _ := e.Name.Size()
	fmt.Println(e.Sub(), size)
	if _, err := d.SetFlags(e, maildir.Seen|maildir.Flagged); err != nil {
		log.Fatal(err)
	}
	for e, err := range d.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Sub(), e.Name.Info())
	}
	// Output:
	// new 22
	// cur :2,FS
}

// A name keeps what it does not understand.
func ExampleName() {
	n, err := maildir.ParseName("1167609600.M1P2.host,S=1234,X=?:2,RS")
	if err != nil {
		log.Fatal(err)
	}
	when, _ := n.Time()
	size, _ := n.Size()
	fmt.Println(n.Unique(), when.UTC().Format(time.DateOnly), size, n.Flags())
	fmt.Println(n.WithFlags(n.Flags() | maildir.Flagged))
	// Output:
	// 1167609600.M1P2.host 2007-01-01 1234 RS
	// 1167609600.M1P2.host,S=1234,X=?:2,FRS
}

// Folder names are encoded as IMAP servers do it.
func ExampleFolderDir() {
	dir, changed, err := maildir.FolderDir([]string{"Entwürfe", "2004"}, maildir.UTF7)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(dir, changed)
	levels, ok := maildir.FolderLevels(dir, maildir.UTF7)
	fmt.Println(levels, ok)
	// Output:
	// .Entw&APw-rfe.2004 false
	// [Entwürfe 2004] true
}

// Move one Maildir. For many there is one Committer, and an Importer for each.
func ExampleImporter_Transfer() {
	old, target := temporary(), temporary()
	defer old.Close()
	defer target.Close()
	d, err := maildir.CreateRoot(old, "Maildir", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	m, err := d.Deliver()
	if err != nil {
		log.Fatal(err)
	}
	io.WriteString(m, "Subject: hello\n\n")
	ctx := context.Background()
	if _, err := m.Commit(ctx, maildir.Arrival{Flags: maildir.Seen}); err != nil {
		log.Fatal(err)
	}

	tree := qmailkit.NewTree(old)
	c := maildir.NewCommitter(nil)
	im, err := c.Import(target, "Maildir", nil)
	if err != nil {
		log.Fatal(err)
	}
	found, err := im.Transfer(ctx, tree, "Maildir", nil)
	if err != nil {
		log.Fatal(err)
	}
	err = im.Close(func(*maildir.Dir) error {
		_, err := im.CarrySide(ctx, tree, "Maildir", found.Folders, nil)
		return err
	})
	if err := errors.Join(err, c.Close()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(found.Messages, found.Folders)
	// Output: 1 [.]
}
