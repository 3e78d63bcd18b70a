package qmailcontrol_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
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

// site makes a control directory for the examples.
func site(files map[string]string) (*os.Root, func()) {
	dir, err := os.MkdirTemp("", "control")
	if err != nil {
		log.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	return root, func() {
		root.Close()
		os.RemoveAll(dir)
	}
}

// What does qmail do with an address?
func ExampleConfig_Send() {
	root, done := site(map[string]string{
		"me":             "mx1.example.com\n",
		"rcpthosts":      "mx1.example.com\nexample.net\n",
		"virtualdomains": "example.net:joe\n",
		"smtproutes":     ":smart.example.com:587\n",
	})
	defer done()
	config, err := qmailcontrol.LoadConfig(context.Background(), root)
	if err != nil {
		log.Fatal(err)
	}
	hosts, err := config.RcptHosts()
	if err != nil {
		log.Fatal(err)
	}
	send, err := config.Send()
	if err != nil {
		log.Fatal(err) // qmail-send would not start
	}
	remote, err := config.Remote()
	if err != nil {
		log.Fatal(err)
	}
	for _, addr := range []string{"postmaster", "info@example.net", "ann@example.org"} {
		accepted, err := hosts.Allows(addr)
		if err != nil {
			log.Fatal(err)
		}
		t := send.Rewrite(addr)
		fmt.Println(addr, accepted, t.Channel, t.To, t.Reason)
		if t.Channel == qmailcontrol.Remote {
			way := remote.Route(strings.SplitAfter(t.To, "@")[1])
			fmt.Println("  by", way.How, way.Host, way.Port)
		}
	}
	// Output:
	// postmaster true local postmaster@mx1.example.com locals
	// info@example.net true local joe-info@example.net virtualdomains
	// ann@example.org false remote ann@example.org nothing
	//   by relay smart.example.com 587
}

// A domain is added: first the plan, then the deed, then the way back.
func ExamplePlan_Apply() {
	ctx := context.Background()
	root, done := site(map[string]string{
		"me":        "mx1.example.com\n",
		"rcpthosts": "# ours\nmx1.example.com\n",
	})
	defer done()
	before, err := qmailcontrol.LoadConfig(ctx, root)
	if err != nil {
		log.Fatal(err)
	}
	after := before.Clone()
	hosts, err := after.Lines("rcpthosts")
	if err != nil {
		log.Fatal(err)
	}
	if err := errors.Join(
		hosts.Add("example.net"),
		after.Set("rcpthosts", hosts),
		after.SetText("virtualdomains", "example.net:joe\n"),
	); err != nil {
		log.Fatal(err)
	}
	plan := qmailcontrol.Diff(before, after)
	fmt.Print(plan)
	undo, err := plan.Apply(ctx, root, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("--\n%s", undo)
	if _, err := undo.Apply(ctx, root, nil); err != nil {
		log.Fatal(err)
	}
	// Output:
	// virtualdomains: made
	//   +1 example.net:joe
	// rcpthosts: changed
	//   +3 example.net
	// --
	// rcpthosts: changed
	//   -3 example.net
	// virtualdomains: removed
	//   -1 example.net:joe
}

// The targets of virtual domains are looked up with package users.
func ExampleConfig_Check() {
	root, done := site(map[string]string{
		"me":             "mx1.example.com\n",
		"rcpthosts":      "mx1.example.com\nexample.net\nexample.org\n",
		"virtualdomains": "example.net:joe\nexample.org:gone\n",
		"smtproutes":     "inner.example.com:10.1.2.3:\n",
	})
	defer done()
	config, err := qmailcontrol.LoadConfig(context.Background(), root)
	if err != nil {
		log.Fatal(err)
	}
	passwd, err := users.ReadPasswd(strings.NewReader("alias:x:7790:2108::/var/qmail/alias:\njoe:x:1201:1200::/home/joe:\n"))
	if err != nil {
		log.Fatal(err)
	}
	spawn := users.Lspawn{Getpw: (&users.Getpw{Accounts: passwd}).Lookup}
	opts := &qmailcontrol.CheckOptions{Reaches: func(_ context.Context, local string) (bool, error) {
		who, err := spawn.Find(local)
		return who.User.Name != "alias", err // a fuller one would look for .qmail files too
	}}
	for p, err := range config.Check(context.Background(), opts) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(p.Severity, p)
	}
	// Output:
	// error smtproutes:1: "inner.example.com:10.1.2.3:" means port 0 (control.smtproutes-port)
	// error virtualdomains:2: "example.org" reaches nobody: no user and .qmail file for "gone-postmaster" (control.virtual-target)
}

func ExampleInjecting_Complete() {
	root, done := site(map[string]string{"me": "mx1.example.com\n", "defaulthost": "example.com\n"})
	defer done()
	config, err := qmailcontrol.LoadConfig(context.Background(), root)
	if err != nil {
		log.Fatal(err)
	}
	inject, err := config.Inject(nil)
	if err != nil {
		log.Fatal(err)
	}
	text, recipients, err := inject.Complete(`joe, "A. B." <ann@host>`)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
	fmt.Println(recipients)
	// Output:
	// joe@example.com, "A. B." <ann@host.mx1.example.com>
	// [joe@example.com ann@host.mx1.example.com]
}
