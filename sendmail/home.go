package sendmail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// ErrUnsafe says that a name out of passwd leads to a place that is not the
// account's own.
var ErrUnsafe = errors.New("not a safe place to read")

// systemDirs hold no user's mail. A name that ends in "*" stands for all that
// begin so.
var systemDirs = []string{"etc", "bin", "sbin", "lib*", "usr", "boot", "dev", "proc", "sys", "root", "var/spool", "var/mail"}

// homeParents are directories of homes below a system directory: FreeBSD's,
// OSF/1's and IRIX's.
var homeParents = []string{"usr/home/", "usr/users/", "usr/people/", "usr/local/home/"}

// systemDir says whether a path is in or above a system directory.
func systemDir(path string) bool {
	if path == "." || path == "var" {
		return true
	}
	for _, p := range homeParents {
		if strings.HasPrefix(path, p) {
			return false
		}
	}
	for _, d := range systemDirs {
		if prefix, open := strings.CutSuffix(d, "*"); open {
			if strings.HasPrefix(path, prefix) {
				return true
			}
		} else if within(path, d) || within(d, path) {
			return true
		}
	}
	return false
}

// within says whether path is dir or below it.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir) && path[len(dir)] == '/'
}

// cleanHome turns the home of a passwd line into a name in the tree.
func cleanHome(home string) (string, error) {
	if !strings.HasPrefix(home, "/") {
		return "", fmt.Errorf("%w: not an absolute path", ErrUnsafe)
	}
	if strings.IndexByte(home, 0) >= 0 {
		return "", fmt.Errorf("%w: a NUL in the path", ErrUnsafe)
	}
	var parts []string
	for part := range strings.SplitSeq(home, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", fmt.Errorf("%w: a .. in the path", ErrUnsafe)
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return ".", nil
	}
	return strings.Join(parts, "/"), nil
}

// home finds the home directory of an account and judges whether it is its
// own. The path has no links.
//
// An administrator may have made a home, or any directory on the way to it, a
// link to another disk, so links are followed as qmailkit.Resolve does. What a
// home that is itself a link leads to must be no system directory and belong
// to the account or, because copies lose their owners, to root or to whoever
// runs this program. A home that is no link may be a system directory only if
// it belongs to the account, as root's does (to whoever runs this program, in
// a copy), and may else belong to somebody else, as shared ones do.
func (h *Host) home(a *Account) (string, error) {
	name, err := cleanHome(a.Home)
	if err != nil {
		return "", err
	}
	dir, base := ".", name
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		dir, base = name[:i], name[i+1:]
	}
	parent, err := qmailkit.Resolve(h.tree, dir)
	if err != nil {
		return "", err
	}
	at := join(parent, base)
	fi, err := h.tree.Lstat(at)
	if err != nil {
		return "", err
	}
	direct := fi.Mode.Type() != fs.ModeSymlink
	if !direct {
		if at, fi, err = h.lookup(at); err != nil {
			return "", err
		}
	}
	if !fi.Mode.IsDir() {
		return "", fmt.Errorf("%w: not a directory", ErrUnsafe)
	}
	for _, spool := range h.layout.Spools {
		if within(at, spool) || within(spool, at) && at != "." {
			return "", fmt.Errorf("%w: /%s holds everybody's mail", ErrUnsafe, at)
		}
	}
	switch {
	case direct && (fi.UID == a.UID || a.UID == 0 && fi.UID == os.Geteuid()):
		return at, nil
	case systemDir(at):
		return "", fmt.Errorf("%w: /%s is a system directory", ErrUnsafe, at)
	case !direct && fi.UID != a.UID && fi.UID != 0 && fi.UID != os.Geteuid():
		return "", fmt.Errorf("%w: a link to /%s, which user %d owns", ErrUnsafe, at, fi.UID)
	}
	return at, nil
}

// homeless says that home failed because there is no home directory, or none
// that may be read.
func homeless(err error) bool {
	return missing(err) || errors.Is(err, ErrUnsafe) || errors.Is(err, qmailkit.ErrLink)
}

// homeError is what is reported where home fails.
func homeError(a *Account, err error) error {
	at := a.place()
	switch {
	case missing(err):
		return &ItemError{at.problem(qmailkit.Warning, "home-missing",
			"the home directory %.200q of user %.80q does not exist", a.Home, a.Name)}
	case homeless(err):
		return at.item("home-unsafe", "the home directory %.200q of user %.80q is not searched for mail: %w", a.Home, a.Name, err)
	}
	return at.item("home-unreadable", "the home directory %.200q of user %.80q cannot be read: %w", a.Home, a.Name, err)
}

// plainName says whether a user name can be a file name.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// hashedNames are the places of a user's mail below a spool directory of a
// hashed layout: under the first letter, letters, or beginnings of the name.
func hashedNames(user string) []string {
	if user == "" || user[0] == '.' {
		return nil
	}
	names := []string{user[:1] + "/" + user}
	if len(user) >= 2 && user[1] != '.' {
		names = append(names, user[:1]+"/"+user[1:2]+"/"+user, user[:1]+"/"+user[:2]+"/"+user)
	}
	return names
}

// gone says that nothing stands under a name.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }
