//go:build unix

package vpopmail

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/internal/passhash"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A Detection is a Profile with the evidence for it.
type Detection struct {
	Profile Profile
	// Told says which parts of the Profile files told, and which file, such as
	// "home: etc/inc_deps". What no file told is as in DefaultProfile54.
	Told []string
	// SQL says that the users are in a database: etc/vpopmail.mysql is there,
	// and no domain that was looked into has a vpasswd. The database tells more:
	// see ReadSQLConfig and SQL.Detect.
	SQL bool
}

// detectDomains is how many domains are looked into.
const detectDomains = 20

// DetectProfile finds out what it can about an installation from its files:
// the home and ids from etc/inc_deps and users/assign, the release from the
// .qmail-default of a domain, clear passwords, hash kind and hash directories
// from its users. An installation without a domain tells little: give Options a
// Profile then. Nothing is changed.
func DetectProfile(home, qmail *os.Root) (*Detection, error) {
	d := &Detection{Profile: DefaultProfile54()}
	if err := d.home(home); err != nil {
		return nil, err
	}
	if err := d.assign(home, qmail); err != nil {
		return nil, err
	}
	if d.SQL = d.SQL && !d.has("vpasswd"); d.SQL {
		d.told("sql", "etc/"+sqlConfigName)
	}
	d.Told = slices.DeleteFunc(d.Told, func(t string) bool { return strings.HasPrefix(t, "vpasswd: ") })
	return d, nil
}

// assign looks into the domains of users/assign.
func (d *Detection) assign(home, qmail *os.Root) error {
	usersDir, err := safefs.OpenDir(qmail, "users", nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer usersDir.Close()
	assign, err := readLines(usersDir, "assign", true)
	if err != nil {
		return err
	}
	looked := 0
	for _, l := range assign.lines {
		dom := parseAssignLine(l)
		if dom == nil || dom.Alias() || looked == detectDomains {
			continue
		}
		base, rel, ok := d.below(dom)
		if !ok {
			continue
		}
		dir, err := safefs.OpenDir(home, rel, nil)
		if errors.Is(err, fs.ErrNotExist) {
			continue // perhaps one that lies elsewhere (vadddomain -d)
		}
		if err != nil {
			return err
		}
		looked++
		if d.told("home", "users/assign") {
			d.Profile.Home = base
		}
		if dom.UID > 0 && d.told("ids", "users/assign") {
			d.Profile.UID, d.Profile.GID = dom.UID, dom.GID
		}
		err = d.domain(dir, dom)
		dir.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *Detection) told(what, where string) bool {
	for _, t := range d.Told {
		if strings.HasPrefix(t, what+": ") {
			return false
		}
	}
	d.Told = append(d.Told, what+": "+where)
	return true
}

func (d *Detection) has(what string) bool {
	for _, t := range d.Told {
		if strings.HasPrefix(t, what+": ") {
			return true
		}
	}
	return false
}

// home reads what vpopmail's installation notes for programs that are built
// against it: "-I/home/vpopmail/include".
func (d *Detection) home(home *os.Root) error {
	etc, err := safefs.OpenDir(home, "etc", nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer etc.Close()
	if _, err := etc.Lstat(sqlConfigName); err == nil {
		d.SQL = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	b, _, err := readFile(etc, "inc_deps")
	if err != nil {
		return err
	}
	for _, w := range strings.Fields(string(b)) {
		if dir, ok := strings.CutPrefix(w, "-I"); ok && strings.HasSuffix(dir, "/include") {
			if h := strings.TrimSuffix(dir, "/include"); strings.HasPrefix(h, "/") && shellSafe(h) && d.told("home", "etc/inc_deps") {
				d.Profile.Home = h
			}
		}
	}
	return nil
}

// below parts the path of a domain's directory into the home and what is below
// it; another home than one that is known is not this one.
func (d *Detection) below(dom *Domain) (base, rel string, ok bool) {
	i := strings.LastIndex(dom.Dir, "/"+d.Profile.DomainsDir+"/")
	if i <= 0 || !plainPath(dom.Dir[1:]) {
		return "", "", false
	}
	base, rel = dom.Dir[:i], dom.Dir[i+1:]
	if d.has("home") {
		return base, rel, base == d.Profile.Home
	}
	return base, rel, shellSafe(base)
}

// domain looks into one domain.
func (d *Detection) domain(dir *safefs.Dir, dom *Domain) error {
	where := func(name string) string { return fmt.Sprintf("%s of %s", name, dom.Name) }
	b, ok, err := readFile(dir, ".qmail-default")
	if err != nil {
		return err
	}
	switch text := string(b); {
	case !ok:
	case strings.HasSuffix(text, "/bin/vdelivermail '' delete\n") && d.told("release", where(".qmail-default")):
		d.become56()
	case strings.HasSuffix(text, "/bin/vdelivermail '' bounce-no-mailbox\n"):
		d.told("release", where(".qmail-default"))
	}
	b, ok, err = readFile(dir, "vpasswd")
	if err != nil || !ok {
		return err
	}
	d.told("vpasswd", where("vpasswd"))
	d.users(ParseVpasswd(b), where("vpasswd"))
	if _, err := dir.Lstat(".dir-control"); err == nil || errors.Is(err, fs.ErrNotExist) {
		if d.told("hash directories", where(".dir-control")) {
			d.Profile.BigDir = err == nil
		}
	}
	return nil
}

// users looks at the records: the number of fields is the installation's, and
// the hash of an account with a clear password was made by it.
func (d *Detection) users(v *Vpasswd, where string) {
	kinds := map[passhash.Scheme]HashKind{passhash.MD5: HashMD5, passhash.DES: HashDES, passhash.SHA512: HashSHA512}
	for i, l := range v.lines {
		u, err := ParseLine([]byte(strings.TrimSuffix(string(l), "\n")))
		if err != nil {
			return
		}
		clear := strings.Count(string(l), ":") > 6
		if d.told("clear passwords", where) {
			d.Profile.ClearPasswords = clear
		}
		kind, known := kinds[passhash.Classify(string(u.Hash))]
		if known && (u.Clear != "" || !clear && u.Name == "postmaster") && d.told("hash", where) {
			d.Profile.Hash = kind
		}
		if i == 1000 || d.has("hash") {
			return
		}
	}
}
