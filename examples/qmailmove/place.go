//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/sftptree"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/plesk"
)

// A place is one host's file system.
type place struct {
	name      string // as the command line has it, absolute
	tree      qmailkit.Tree
	root      *os.Root // nil over SFTP
	mailnames string   // in the tree
	// host says that it is a file system with a Plesk in it, and not only the
	// directory of the mailboxes.
	host  bool
	close func() error
}

// Close gives it back.
func (p *place) Close() error {
	if p == nil || p.close == nil {
		return nil
	}
	return p.close()
}

// openSource opens the old host's file system.
func (c *config) openSource(ctx context.Context) (p *place, err error) {
	if !strings.HasPrefix(c.sourceRoot, sftptree.Scheme) {
		p, err = openDir(c.sourceRoot)
		if err != nil {
			return nil, fmt.Errorf("the old host: %w", err)
		}
	} else {
		known := []string(c.knownHosts)
		if len(known) == 0 {
			known = sftptree.DefaultKnownHosts()
		}
		t, err := sftptree.Dial(ctx, c.sourceRoot, &sftptree.Options{Keys: c.keys, KnownHosts: known})
		if errors.Is(err, sftptree.ErrKeys) {
			err = fmt.Errorf("%w: -ssh-key FILE names one", err)
		}
		if err != nil {
			return nil, fmt.Errorf("the old host: %w", err)
		}
		p = &place{name: c.sourceRoot, tree: t, close: t.Close}
	}
	if err := p.find(c.sourceMailnames); err != nil {
		p.Close()
		return nil, fmt.Errorf("the old host: %w", err)
	}
	return p, nil
}

func openDir(name string) (*place, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &place{name: abs, tree: qmailkit.NewTree(root), root: root, close: root.Close}, nil
}

// openTarget opens the new host's file system. One that tells nothing is
// arranged as the source is; source may be nil.
func (c *config) openTarget(source *place) (*place, error) {
	p, err := openDir(c.targetRoot)
	if err != nil {
		return nil, fmt.Errorf("the new host: %w", err)
	}
	if err := p.find(c.targetMailnames); err != nil {
		p.Close()
		return nil, fmt.Errorf("the new host: %w", err)
	}
	if c.targetMailnames != "" || p.host || source == nil || !source.host {
		return p, nil
	}
	if _, err := p.tree.Lstat(strings.ToLower(c.domain)); errors.Is(err, fs.ErrNotExist) {
		p.mailnames = relative(plesk.DefaultMailnames)
	}
	return p, nil
}

// find looks for the directory of the mailboxes.
func (p *place) find(given string) error {
	dir := given
	if dir == "" {
		conf, err := plesk.ReadPsaConf(p.tree)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		switch _, there := p.stat("var/qmail"); {
		case err == nil:
			if dir, err = conf.Mailnames(); err != nil {
				return err
			}
			p.host = true
		case there == nil:
			dir, p.host = plesk.DefaultMailnames, true
		case !errors.Is(there, fs.ErrNotExist):
			return there
		}
	}
	at, err := qmailkit.Resolve(p.tree, relative(dir))
	if errors.Is(err, fs.ErrNotExist) {
		at, err = relative(dir), nil // to be made; or its absence is told later
	}
	p.mailnames = at
	return err
}

// stat describes what a name stands for, behind links of the administrator's.
func (p *place) stat(name string) (qmailkit.FileInfo, error) {
	at, err := qmailkit.Resolve(p.tree, name)
	if err != nil {
		return qmailkit.FileInfo{}, err
	}
	return p.tree.Lstat(at)
}

// relative is an absolute path of a host as a Tree has it.
func relative(path string) string {
	path = strings.Trim(filepath.Clean("/"+path), "/")
	if path == "" {
		return "."
	}
	return path
}

// read reads a small file, behind links of the administrator's.
func (p *place) read(name string, most int64) ([]byte, error) {
	at, err := qmailkit.Resolve(p.tree, name)
	if err != nil {
		return nil, err
	}
	f, err := p.tree.Open(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: %w", name, safefs.ErrTooBig)
	}
	return b, err
}

var errNoOwner = errors.New("the new host's popuser is not known")

// mailOwner finds out whose the mail is to be.
func (c *config) mailOwner(p *place) (safefs.Owner, error) {
	if c.owner.Given {
		return c.owner.Owner, nil
	}
	if os.Geteuid() != 0 {
		return safefs.Keep, nil // others cannot give files away
	}
	uid, gid, err := plesk.FindPopUser(p.tree)
	if err == nil {
		return safefs.Owner{UID: uid, GID: gid}, nil
	}
	for _, dir := range []string{p.mailnames + "/" + strings.ToLower(c.domain), p.mailnames} {
		if fi, err := p.tree.Lstat(strings.TrimPrefix(dir, "./")); err == nil && fi.Mode.IsDir() && fi.UID > 0 {
			return safefs.Owner{UID: fi.UID, GID: fi.GID}, nil
		}
	}
	return safefs.Owner{}, fmt.Errorf("%w: %w, and no owner of %s below %s tells: -owner UID:GID", errNoOwner, err, p.mailnames, p.name)
}
