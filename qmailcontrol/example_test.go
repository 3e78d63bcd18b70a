package qmailcontrol_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// A domain is added to virtualdomains of a host. Everything else in the file
// stays as it is, and so do its owner and mode.
func ExampleLines_Save() {
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	before := "# our customers\nexample.com:example.com\n\n"
	if err := os.WriteFile(filepath.Join(dir, "virtualdomains"), []byte(before), 0o644); err != nil {
		log.Fatal(err)
	}

	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	domains, err := qmailcontrol.Load(root, "virtualdomains")
	if err != nil {
		log.Fatal(err)
	}
	if _, ok := domains.Map().Lookup("example.net"); !ok {
		if err := domains.Insert(3, "example.net:example.net"); err != nil {
			log.Fatal(err)
		}
	}
	if err := domains.Save(root, "virtualdomains", nil); err != nil {
		log.Fatal(err)
	}
	after, err := os.ReadFile(filepath.Join(dir, "virtualdomains"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", after)
	// Output:
	// # our customers
	// example.com:example.com
	// example.net:example.net
}

// A missing file is not an empty one.
func ExampleLoad() {
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	_, err = qmailcontrol.Load(root, "rcpthosts")
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Println("no rcpthosts: this host accepts mail for every domain")
	}
	// Output: no rcpthosts: this host accepts mail for every domain
}

func ExampleLines_Values() {
	l, err := qmailcontrol.ParseLines(strings.NewReader("# hosts\nexample.com \n\n.example.com\n"))
	if err != nil {
		log.Fatal(err)
	}
	for line, value := range l.Values() {
		fmt.Printf("%d %q\n", line, value)
	}
	// Output:
	// 2 "example.com"
	// 4 ".example.com"
}

func ExampleFileNamed() {
	f, _ := qmailcontrol.FileNamed("bouncehost")
	fmt.Println(f.Kind, f.Me, f.Default)
	f, _ = qmailcontrol.FileNamed("queuelifetime")
	fmt.Println(f.Kind, f.Me, f.Default)
	// Output:
	// line true bouncehost
	// int false 604800
}
