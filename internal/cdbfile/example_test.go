package cdbfile_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

func Example() {
	dir, err := os.MkdirTemp("", "cdbfile")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "cdb"))
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	w := cdbfile.NewWriter(f)
	w.Add([]byte("!joe\x00"), []byte("joe\x001000\x00100\x00/home/joe\x00\x00"))
	w.Add(nil, nil)
	if err := w.Finish(); err != nil { // also tells what Add met
		log.Fatal(err)
	}

	fi, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	r, err := cdbfile.Open(f, fi.Size())
	if err != nil {
		log.Fatal(err)
	}
	data, found, err := r.Get([]byte("!joe\x00"))
	fmt.Printf("%q %v %v\n", data, found, err)
	// Output: "joe\x001000\x00100\x00/home/joe\x00\x00" true <nil>
}
