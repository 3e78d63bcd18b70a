//go:build unix

package route_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/route"
)

// The whole path of two addresses through a small host.
func Example() {
	dir, err := os.MkdirTemp("", "host")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	control := filepath.Join(dir, "var/qmail/control")
	if err := os.MkdirAll(control, 0o755); err != nil {
		log.Fatal(err)
	}
	for name, text := range map[string]string{"me": "mx.example.com\n", "rcpthosts": "example.com\n", "smtproutes": ":smart.example.net:587\n"} {
		if err := os.WriteFile(filepath.Join(control, name), []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	tree := qmailkit.NewTree(root)

	router, err := route.Open(context.Background(), tree, "var/qmail", &route.Options{Files: tree})
	if err != nil {
		log.Fatal(err)
	}
	defer router.Close()
	for _, addr := range []string{"ann@example.org", "joe@mx.example.com"} {
		p, err := router.Route(context.Background(), addr)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(p.Addr, p.Accepted, p.Class(), p.Fate)
		if p.Remote != nil {
			fmt.Println("by way of", p.Remote.Host, p.Remote.Port)
		}
		if p.Err != nil {
			fmt.Println(p.Err)
		}
	}
	// Output:
	// ann@example.org false remote sent
	// by way of smart.example.net 587
	// joe@mx.example.com false local unknown
	// the accounts of the system are not known
}
