//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/qmailcontrol"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// assign reads users/assign and compares its lines with each other and with
// users/cdb.
func (c *checker) assign(ctx context.Context) error {
	dir, err := c.s.usersDir(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	f, err := readLines(dir, "assign", true)
	if err != nil {
		return err
	}
	if err := c.usersCheck(ctx); err != nil {
		return err
	}
	for i, l := range f.lines {
		if len(l) > c.s.p.AssignBuffer {
			c.add(finding{"control.long-line", qmailkit.Warning, "users/assign", i + 1, ""}, "%d bytes; vpopmail's own programs would cut this line in two", len(l))
		}
		d := parseAssignLine(l)
		if d == nil || !c.s.p.domainLine(d) {
			continue
		}
		c.domains, c.lines = append(c.domains, d), append(c.lines, i+1)
		if first := c.live[d.Name]; first == nil {
			c.live[d.Name] = d
		} else if *first != *d {
			c.add(finding{"vpopmail.domain-twice", qmailkit.Error, "users/assign", i + 1, "remove one of the lines"}, "%q stands above with other fields, and that line counts", d.Name)
		}
		if !strings.Contains(d.Name, ".") {
			c.add(finding{"vpopmail.domain-dotless", qmailkit.Warning, "users/assign", i + 1, ""}, "%q has no dot: vdominfo does not show it and vdeldomain does not remove it", d.Name)
		}
	}
	c.related()
	return c.left(ctx, dir, "users")
}

// usersCheck is users.Check, which compares users/cdb.
func (c *checker) usersCheck(ctx context.Context) error {
	root := c.s.o.Users
	if root == nil {
		r, err := c.s.qmail.OpenRoot("users")
		if err != nil {
			return err
		}
		defer r.Close()
		root = r
	}
	for p, err := range users.Check(ctx, root) {
		if err != nil {
			return err
		}
		p.Path = "users/" + p.Path
		c.pass(p)
		if err := c.on(ctx); err != nil {
			return err
		}
	}
	return nil
}

// related compares alias domains with their domains, and domains with each
// other.
func (c *checker) related() {
	byDir := map[string]*Domain{}
	for i, d := range c.domains {
		f := finding{path: "users/assign", line: c.lines[i]}
		real := c.live[d.Real]
		switch {
		case !d.Alias():
			if other := byDir[d.Dir]; other != nil && other.Name != d.Name {
				f.code, f.sev = "vpopmail.domain-shared", qmailkit.Error
				c.add(f, "%q has the directory of %q", d.Name, other.Name)
			}
			byDir[d.Dir] = d
		case real == nil || real.Alias():
			f.code, f.sev, f.fix = "vpopmail.alias-orphan", qmailkit.Error, "remove the alias domain, or add the domain"
			c.add(f, "%q is an alias of %q, which is no domain", d.Name, d.Real)
		case real.Dir != d.Dir || real.UID != d.UID || real.GID != d.GID:
			f.code, f.sev, f.fix = "vpopmail.alias-differs", qmailkit.Error, "make the fields those of the domain's line"
			c.add(f, "%q has uid %d, gid %d, directory %q; its domain %q has %d, %d, %q", d.Name, d.UID, d.GID, d.Dir, real.Name, real.UID, real.GID, real.Dir)
		}
	}
}

// qmailFiles are the files that vpopmail replaces in qmail's directories.
var qmailFiles = []string{"assign", "rcpthosts", "morercpthosts", "virtualdomains", "locals"}

// left looks for unfinished files in a directory of qmail.
func (c *checker) left(ctx context.Context, dir *safefs.Dir, name string) error {
	for e, err := range dir.Entries(ctx) {
		if err != nil {
			return err
		}
		base := e.Name()
		is := base == "cdb.tmp" || strings.HasSuffix(base, tempSuffix) || ownTemp(base)
		for _, file := range qmailFiles {
			pid, ok := strings.CutPrefix(base, file+".")
			is = is || ok && pid != "" && strings.Trim(pid, "0123456789") == ""
		}
		if is {
			c.leftOver(name + "/" + base)
		}
		if err := c.on(ctx); err != nil {
			return err
		}
	}
	return nil
}

// control asks, as qmail-send and qmail-smtpd would, what becomes of mail for
// each domain.
func (c *checker) control(ctx context.Context) error {
	dir, err := c.s.controlDir()
	if errors.Is(err, fs.ErrNotExist) && len(c.domains) == 0 {
		return nil
	}
	if err != nil {
		c.trouble("control", err)
		return nil
	}
	defer dir.Close()
	if err := c.left(ctx, dir, "control"); err != nil {
		return err
	}
	root := c.s.o.Control
	if root == nil {
		var r *os.Root
		if r, err = c.s.qmail.OpenRoot("control"); err != nil {
			return err
		}
		defer r.Close()
		root = r
	}
	if len(c.domains) == 0 {
		return nil
	}
	cfg, err := qmailcontrol.LoadConfig(ctx, root)
	if err != nil {
		return err
	}
	c.sending(cfg)
	c.accepting(cfg)
	c.virtual(cfg)
	return nil
}

// sending asks qmail-send where mail for each domain goes.
func (c *checker) sending(cfg *qmailcontrol.Config) {
	send, err := cfg.Send()
	if err != nil {
		c.add(finding{code: "vpopmail.control", sev: qmailkit.Error, path: "control"}, "qmail-send does not start: %w", err)
		return
	}
	for i, d := range c.domains {
		f := finding{path: "users/assign", line: c.lines[i], sev: qmailkit.Error}
		to := send.Rewrite("postmaster@" + d.Name)
		got := c.live[lower(to.Prepend)]
		switch {
		case to.Reason == qmailcontrol.ByLocals:
			f.code, f.fix = "vpopmail.local", "remove it from control/locals and send qmail-send a HUP"
			c.add(f, "mail for %q is for users of the system, because it stands in control/locals", d.Name)
		case to.Channel == qmailcontrol.Remote:
			f.code, f.fix = "vpopmail.not-virtual", "add the line "+d.Name+":"+d.Name+" to control/virtualdomains and send qmail-send a HUP"
			c.add(f, "mail for %q leaves this host", d.Name)
		case got == nil || got.Real != d.Real:
			f.code = "vpopmail.virtual-elsewhere"
			c.add(f, "control/virtualdomains gives mail for %q to %q", d.Name, to.Prepend)
		}
	}
}

// accepting asks qmail-smtpd.
func (c *checker) accepting(cfg *qmailcontrol.Config) {
	hosts, err := cfg.RcptHosts()
	for i, d := range c.domains {
		ok := false
		if err == nil {
			ok, err = hosts.Allows("postmaster@" + d.Name)
		}
		if err != nil {
			c.add(finding{code: "vpopmail.control", sev: qmailkit.Error, path: "control"}, "qmail-smtpd takes no mail: %w", err)
			return
		}
		if !ok {
			c.add(finding{"vpopmail.not-accepted", qmailkit.Warning, "users/assign", c.lines[i], "add it to control/rcpthosts"}, "qmail-smtpd refuses mail for %q", d.Name)
		}
	}
}

// virtual looks for lines of virtualdomains, as vpopmail writes them, of
// domains that are gone.
func (c *checker) virtual(cfg *qmailcontrol.Config) {
	l, err := cfg.Lines("virtualdomains")
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		c.add(finding{code: "vpopmail.control", sev: qmailkit.Error, path: "control/virtualdomains"}, "%w", err)
		return
	}
	for line, v := range l.Values() {
		key, to, ok := strings.Cut(v, ":")
		if ok && key != "" && lower(key) == lower(to) && c.live[lower(key)] == nil {
			c.add(finding{"vpopmail.virtual-orphan", qmailkit.Error, "control/virtualdomains", line, "remove the line and send qmail-send a HUP"}, "%q is no domain of vpopmail", key)
		}
	}
}
