//go:build linux

package sendmail

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// randomHost makes a host of a few users, domains, aliases, virtual users,
// routes and .forward files that refer to each other at random.
type randomHost struct {
	*rand.Rand
	t     sampleTree
	users []string
}

func (r *randomHost) pick(list ...string) string { return list[r.IntN(len(list))] }

// local is a name that may be a user, an alias or nothing.
func (r *randomHost) local() string {
	return r.pick(append([]string{"a1", "a2", "a3", "a4", "a5", "A2", "nosuch", "list", "root"}, r.users...)...)
}

func (r *randomHost) address() string {
	switch r.IntN(12) {
	case 0:
		return r.local() + "@remote.example"
	case 1:
		return r.local() + "@" + r.pick("route.example", "x.sub.example", "bad.example", "loc.example")
	case 2:
		return r.pick("v1", "v2", "v3", "any") + "@v.example"
	case 3:
		return r.local() + "+" + r.pick("x", "y", "x+y") + "@" + r.pick("example.com", "v.example")
	case 4:
		return r.local() + "@" + r.pick("example.com", "example.org", "EXAMPLE.com", "mail.example.com", "old.example")
	case 5:
		return r.local() + "%remote.example@example.com"
	}
	return r.local()
}

// target is one address of a list.
func (r *randomHost) target() string {
	switch r.IntN(14) {
	case 0:
		return `"|/bin/p` + r.pick("1", "2") + ` -x, y"`
	case 1:
		return "/var/mail/f" + r.pick("1", "2")
	case 2:
		return ":include:/etc/mail/lists/" + r.pick("l1", "l2", "l3", "none")
	case 3:
		return `\` + r.pick(r.users...)
	case 4:
		return "/dev/null"
	case 5:
		return "Name <" + r.address() + "> (note)"
	}
	return r.address()
}

func (r *randomHost) list() string {
	var parts []string
	for range 1 + r.IntN(4) {
		parts = append(parts, r.target())
	}
	return strings.Join(parts, r.pick(", ", ",", " ,", ",\n "))
}

func newRandomHost(t *testing.T, seed uint64) sampleTree {
	r := &randomHost{Rand: rand.New(rand.NewPCG(seed, 7)), t: newSampleHost(t, corpora[seed%2])}
	r.users = []string{"u1", "u2", "u3", "u4"}
	r.t.file("etc/mail/local-host-names", "example.com\nexample.org\n")
	r.t.file("etc/mail/virtuser-domains", "v.example\n")
	r.t.file("etc/mail/domaintable", "old.example\texample.com\n")
	r.t.file("etc/mail/mailertable", "route.example\tsmtp:[relay.example]\n.sub.example\tesmtp:hub.example\nbad.example\terror:5.7.1:550 closed\nloc.example\tlocal:"+r.local()+"\n")
	var b strings.Builder
	for _, name := range []string{"a1", "a2", "a3", "a4", "a5", "list", "owner-list", "u2+x", "a3+*", "u1"} {
		if r.IntN(5) > 0 {
			fmt.Fprintf(&b, "%s: %s\n", name, r.list())
		}
	}
	r.t.file("etc/mail/aliases", b.String())
	b.Reset()
	for _, key := range []string{"v1@v.example", "v2@v.example", "v2+x@v.example", "v3+*@v.example", "a1@example.com", "u3@example.org", "@v.example", "@example.org"} {
		if r.IntN(3) > 0 {
			continue
		}
		// A chain that leads back would only show how deep the rules may go.
		value := r.pick("%1@remote.example", "%1@example.com", "a2", "u1", "nosuch", "error:nouser 550 none", "u2+%2", "list@example.com", `\u3`)
		if strings.HasSuffix(key, "example.org") || strings.HasPrefix(key, "a1") {
			value = r.pick("%1@remote.example", "a2@mail.example.com", "u1@mail.example.com", "error:5.1.1:550 gone")
		}
		fmt.Fprintf(&b, "%s\t%s\n", key, value)
	}
	r.t.file("etc/mail/virtusertable", b.String())
	for _, name := range []string{"l1", "l2", "l3"} {
		r.t["etc/mail/lists/"+name] = node{text: strings.ReplaceAll(r.list(), ",\n", ",") + "\n# note\n" + r.address() + "\n", uid: []int{0, 0, 1000, 4711}[r.IntN(4)]}
	}
	for i, name := range r.users {
		files := map[string]node{".": {mode: []os.FileMode{0o755, 0o755, 0o700, 0o775}[r.IntN(4)]}}
		for _, f := range []string{".forward", ".forward+x"} {
			if r.IntN(2) == 0 {
				files[f] = node{text: strings.ReplaceAll(r.list(), ",\n", ",") + "\n", mode: []os.FileMode{0o644, 0o644, 0o600, 0o664}[r.IntN(4)]}
			}
		}
		r.t.user(name, 1000+i, "User "+name, r.pick("/bin/sh", "/bin/sh", "/bin/false"), files)
	}
	return r.t
}

func randomAddresses() []string {
	var out []string
	for _, name := range []string{"a1", "a2", "a3", "a4", "a5", "list", "u1", "u2", "u3", "u4", "root", "nosuch"} {
		out = append(out, name, name+"+x@example.com")
	}
	return append(out, "v1@v.example", "v2@v.example", "v2+x@v.example", "v3+y@v.example", "other@v.example", "u3@example.org", "a1@example.org",
		"x@route.example", "x@y.sub.example", "x@bad.example", "x@loc.example", "a1@old.example")
}

// TestPeerRandom compares Expand with the real program on random hosts.
func TestPeerRandom(t *testing.T) {
	needSendmail(t)
	hosts := uint64(30)
	switch {
	case os.Getenv("QMAILKIT_LONG") != "":
		hosts = 400
	case testing.Short():
		hosts = 5
	}
	addresses := randomAddresses()
	for seed := range hosts {
		host := newRandomHost(t, seed)
		x := host.expander(t)
		real := peerVerdicts(t, host, addresses)
		for _, a := range addresses {
			if got := verdict(t, x, a); !slices.Equal(got, real[a]) {
				t.Errorf("host %d, %q:\n got %q\nwant %q", seed, a, got, real[a])
			}
		}
		if t.Failed() {
			for _, name := range host.names() {
				if n := host[name]; n.text != "" && (strings.HasPrefix(name, "home/") || strings.HasPrefix(name, "etc/mail/") && !strings.HasSuffix(name, ".cf")) {
					t.Logf("%s %v %d:\n%s", name, n.mode, n.uid, n.text)
				}
			}
			return
		}
	}
	t.Logf("%d hosts, %d addresses each", hosts, len(addresses))
}
