//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// domainsTop looks into the directory of the domains: for those that are
// prepared, and for those without a line in users/assign.
func (c *checker) domainsTop(ctx context.Context) error {
	at := c.s.p.domainsPath(c.s.p.Home)
	top, err := safefs.OpenDir(c.s.home, c.s.p.DomainsDir, c.s.o.hook)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		c.trouble(at, err)
		return nil
	}
	defer top.Close()
	if fi, err := top.Lstat("."); err == nil {
		c.ownerMode(at, fi, &Domain{UID: c.s.p.UID, GID: c.s.p.GID})
	}
	c.readPending(top, at)
	t := &topCheck{checker: c, at: at, dirs: map[string]bool{}, above: map[string]bool{}}
	for _, d := range c.domains {
		t.know(d)
	}
	for _, d := range c.pending {
		t.know(d)
	}
	return t.scan(ctx, top, "", 0)
}

// readPending reads the note of prepared domains.
func (c *checker) readPending(top *safefs.Dir, at string) {
	notes, err := readPending(top)
	if err != nil {
		c.trouble(at+"/"+pendingName, err)
		return
	}
	for i := range notes.Domains {
		d := notes.Domains[i].domain()
		c.pending[d.Name] = d
		if !notes.Domains[i].Made {
			c.interrupted(d.Dir)
			continue
		}
		c.add(finding{"vpopmail.domain-pending", qmailkit.Info, d.Dir, 0, ""}, "domain %q is prepared and not live", d.Name)
	}
}

// A topCheck is the look at the directory of the domains.
type topCheck struct {
	*checker
	at    string
	dirs  map[string]bool // of domains, below it
	above map[string]bool // in which those are
}

func (t *topCheck) know(d *Domain) {
	rel, ok := strings.CutPrefix(d.Dir, t.at+"/")
	if !ok {
		return
	}
	t.dirs[rel] = true
	for i, b := range rel {
		if b == '/' {
			t.above[rel[:i]] = true
		}
	}
}

func (t *topCheck) scan(ctx context.Context, dir *safefs.Dir, below string, depth int) error {
	for e, err := range dir.Entries(ctx) {
		if err := t.on(ctx); err != nil {
			return err
		}
		if err != nil {
			t.trouble(t.at+"/"+below, err)
			return nil
		}
		name := e.Name()
		rel := strings.TrimPrefix(below+"/"+name, "/")
		_, counter := strings.CutPrefix(name, ".dir-control.")
		switch {
		case counter, ownTemp(name) && !e.IsDir():
			t.leftOver(t.at + "/" + rel)
		case ownTemp(name):
			t.interrupted(t.at + "/" + rel)
		case !e.IsDir() || t.dirs[rel]:
		case t.above[rel], depth < maxHash && len(name) == 1 && alnum(name[0]):
			sub, err := dir.Sub(name)
			if err != nil {
				t.trouble(t.at+"/"+rel, err)
				continue
			}
			err = t.scan(ctx, sub, rel, depth+1)
			sub.Close()
			if err != nil {
				return err
			}
		default:
			t.stranger(dir, name, rel)
		}
	}
	return nil
}

// stranger reports a directory that looks like a domain's.
func (t *topCheck) stranger(dir *safefs.Dir, name, rel string) {
	sub, err := dir.Sub(name)
	if err != nil {
		return
	}
	defer sub.Close()
	for _, file := range []string{".qmail-default", "vpasswd", "postmaster"} {
		if _, err := sub.Lstat(file); err == nil {
			t.add(finding{"vpopmail.domain-orphan", qmailkit.Warning, t.at + "/" + rel, 0, "see what mail is there, then remove it"}, "users/assign has no domain with this directory")
			return
		}
	}
}

// counters compares the counter of vpopmail's own domains with users/assign.
func (c *checker) counters(ctx context.Context) error {
	if k, ok := c.s.backend.(DomainKeeper); ok {
		n, err := k.DomainCounter(ctx, c.s.p.UID)
		c.domainCount(fmt.Sprintf("dir_control: dom_%d", c.s.p.UID), n, err)
		return nil
	}
	if !c.files {
		return nil
	}
	top, err := safefs.OpenDir(c.s.home, c.s.p.DomainsDir, c.s.o.hook)
	if err != nil {
		return nil // domainsTop has told
	}
	defer top.Close()
	at := c.s.p.domainsPath(c.s.p.Home) + "/.dir-control"
	b, ok, err := readFile(top, ".dir-control")
	if err == nil && !ok {
		return nil
	}
	var n DirControl
	if err == nil {
		n, err = ParseDirControl(b)
	}
	c.domainCount(at, n, err)
	return nil
}

func (c *checker) domainCount(path string, n DirControl, err error) {
	have := uint64(0)
	seen := map[string]bool{}
	for _, d := range c.domains {
		if !d.Alias() && d.UID == c.s.p.UID && !seen[d.Name] {
			seen[d.Name] = true
			have++
		}
	}
	for _, d := range c.pending {
		if d.UID == c.s.p.UID && !seen[d.Name] {
			have++
		}
	}
	switch {
	case errors.Is(err, ErrDirControl):
		c.add(finding{"vpopmail.counter-damaged", qmailkit.Error, path, 0, ""}, "%w", err)
	case err != nil:
		c.trouble(path, err)
	case n.Users != have:
		c.add(finding{"vpopmail.counter", qmailkit.Info, path, 0, ""}, "it says %d domains, there are %d", n.Users, have)
	}
}
