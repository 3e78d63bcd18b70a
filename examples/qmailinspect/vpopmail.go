package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/passhash"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// vpopmailDomain is a line of the kind vpopmail.
type vpopmailDomain struct {
	Type    string       `json:"type"` // domain
	Name    jsonl.Bytes  `json:"name"`
	AliasOf *jsonl.Bytes `json:"alias_of,omitempty"`
	UID     int          `json:"uid"`
	GID     int          `json:"gid"`
	Dir     jsonl.Bytes  `json:"dir"`
	Users   uint64       `json:"users"` // as counted, not as there are
}

// vpopmailUser is one of its users.
type vpopmailUser struct {
	Type   string      `json:"type"` // user
	Domain jsonl.Bytes `json:"domain"`
	vpasswdUser
	Effective string         `json:"effective_flags"` // with those of the domain
	Usage     *vpopmailUsage `json:"usage,omitempty"` // where there is a limit
	LastLogin *vpopmailLogin `json:"last_login,omitempty"`
	Created   int64          `json:"created,omitempty"` // of who never logged in
}

type vpopmailUsage struct {
	Bytes    uint64 `json:"bytes"`
	Messages uint64 `json:"messages"`
	Percent  int    `json:"percent"`
	Over     bool   `json:"over"`
}

type vpopmailLogin struct {
	IP   jsonl.Bytes `json:"ip"`
	Time int64       `json:"time"`
}

// vpopmailAlias is a name whose mail goes elsewhere.
type vpopmailAlias struct {
	Type   string        `json:"type"` // alias
	Domain jsonl.Bytes   `json:"domain"`
	Name   jsonl.Bytes   `json:"name"`
	Lines  []jsonl.Bytes `json:"lines"`
}

// vpopmailFlags say which installation it is and what to show of it.
type vpopmailFlags struct {
	qmail, home, release string
	mounts               cli.Strings
	secrets, check       bool
	opts                 vpopmail.CheckOptions
}

func vpopmailKind() *cli.Command {
	return &cli.Command{
		Name: "vpopmail", Args: "HOME", Min: 1, Max: 1,
		Short: "the domains, users and aliases of a vpopmail, and what is wrong with it",
		Long: `HOME is vpopmail's home directory, with its accounts in files. type says what a
line is: domain, user or alias. users of a domain is vpopmail's counter, times
are seconds since 1970. Behind them come the problems, each with its code under
problem. An error among those, or something that could not be shown, makes exit
code 3. Nothing is written: vuserinfo may write maildirsize and vpasswd.cdb.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			var f vpopmailFlags
			fs.StringVar(&f.qmail, "qmail", "/var/qmail", "qmail's `DIR`, with control and users in it")
			fs.StringVar(&f.home, "home", "", "vpopmail's home as `PATH` in files, where HOME is mounted elsewhere (default: as its files tell, else HOME)")
			fs.Var(&f.mounts, "mount", "`PATH=DIR`: the directory that files call PATH, outside vpopmail's home, is open as DIR; may be repeated")
			fs.StringVar(&f.release, "release", "", "`54|56`: the vpopmail that it is (default: as its files tell)")
			fs.BoolVar(&f.secrets, "secrets", false, "show hashes and clear passwords")
			fs.BoolVar(&f.check, "check", false, "show the problems only")
			fs.Var((*cli.Strings)(&f.opts.Domains), "domain", "show and check the users of `NAME` only; may be repeated")
			fs.BoolVar(&f.opts.Messages, "messages", false, "count messages, to compare maildirsize with them")
			fs.BoolVar(&f.opts.Passwords, "passwords", false, "compare clear passwords with their hashes, which takes its time")
			return printing(f.run)
		},
	}
}

func (f *vpopmailFlags) run(ctx context.Context, out *lines, args []string) error {
	store, done, err := f.open(args[0])
	if err != nil {
		return err
	}
	defer done()
	if !f.check {
		if err := f.show(ctx, out, store); err != nil {
			return err
		}
	}
	found := false
	for p, err := range store.Check(ctx, &f.opts) {
		if err != nil {
			return err
		}
		found = found || p.Severity == qmailkit.Error
		if err := out.print(jsonl.Problem(p)); err != nil {
			return err
		}
	}
	if found {
		return cli.Partialf("the installation has the errors above")
	}
	return nil
}

// open opens the installation.
func (f *vpopmailFlags) open(dir string) (*vpopmail.Store, func(), error) {
	var roots []*os.Root
	done := func() {
		for _, r := range roots {
			r.Close()
		}
	}
	root := func(name string) (*os.Root, error) {
		r, err := os.OpenRoot(name)
		if err == nil {
			roots = append(roots, r)
		}
		return r, err
	}
	store, err := f.openRoots(dir, root)
	if err != nil {
		done()
	}
	return store, done, err
}

func (f *vpopmailFlags) openRoots(dir string, root func(string) (*os.Root, error)) (*vpopmail.Store, error) {
	home, err := root(dir)
	if err != nil {
		return nil, err
	}
	qmail, err := root(f.qmail)
	if err != nil {
		return nil, err
	}
	p, err := f.profile(dir, home, qmail)
	if err != nil {
		return nil, err
	}
	opts := &vpopmail.Options{Profile: &p}
	for _, m := range f.mounts {
		path, at, ok := strings.Cut(m, "=")
		if !ok || at == "" || !filepath.IsAbs(path) {
			return nil, cli.Usagef("-mount %q is not PATH=DIR with an absolute PATH", m)
		}
		r, err := root(at)
		if err != nil {
			return nil, err
		}
		opts.Mounts = append(opts.Mounts, vpopmail.Mount{Path: filepath.Clean(path), Root: r})
	}
	return vpopmail.Open(home, qmail, opts)
}

// profile is what the files tell of the installation, and what flags say
// otherwise.
func (f *vpopmailFlags) profile(dir string, home, qmail *os.Root) (vpopmail.Profile, error) {
	d, err := vpopmail.DetectProfile(home, qmail)
	if err != nil {
		return vpopmail.Profile{}, err
	}
	p := d.Profile
	switch f.release {
	case "":
	case "54", "56":
		q := vpopmail.DefaultProfile54()
		if f.release == "56" {
			q = vpopmail.DefaultProfile56()
		}
		q.Home, q.UID, q.GID, q.ClearPasswords, q.Hash, q.BigDir = p.Home, p.UID, p.GID, p.ClearPasswords, p.Hash, p.BigDir
		p = q
	default:
		return p, cli.Usagef("-release %q: want 54 or 56", f.release)
	}
	told := slices.ContainsFunc(d.Told, func(s string) bool { return strings.HasPrefix(s, "home: ") })
	switch {
	case f.home != "":
		p.Home = filepath.Clean(f.home)
	case !told:
		p.Home, err = filepath.Abs(dir)
	}
	return p, err
}

// show prints domains, and behind each its users and aliases. What cannot be
// read of one does not hold up the others.
func (f *vpopmailFlags) show(ctx context.Context, out *lines, s *vpopmail.Store) error {
	for d, err := range s.Domains(ctx) {
		if err != nil {
			return err
		}
		if len(f.opts.Domains) > 0 && !slices.ContainsFunc(f.opts.Domains, func(n string) bool {
			return strings.EqualFold(n, d.Name) || strings.EqualFold(n, d.Real)
		}) {
			continue
		}
		i, err := s.DomainInfo(ctx, d.Name)
		if err != nil {
			out.skip(d.Name, err)
		}
		line := vpopmailDomain{Type: "domain", Name: jsonl.Bytes(d.Name), UID: d.UID, GID: d.GID, Dir: jsonl.Bytes(d.Dir), Users: i.Users}
		if d.Alias() {
			line.AliasOf = ptr(jsonl.Bytes(d.Real))
		}
		if err := out.print(line); err != nil {
			return err
		}
		if d.Alias() {
			continue
		}
		if err := f.users(ctx, out, s, d); err != nil {
			return err
		}
		if err := f.aliases(ctx, out, s, d); err != nil {
			return err
		}
	}
	return nil
}

func (f *vpopmailFlags) users(ctx context.Context, out *lines, s *vpopmail.Store, d *vpopmail.Domain) error {
	for u, err := range s.Users(ctx, d.Name) {
		if c := context.Cause(ctx); c != nil {
			return c
		}
		if err != nil {
			out.skip(d.Name, err)
			if errors.Is(err, qmailkit.ErrIncomplete) {
				return nil
			}
			continue
		}
		i, err := s.UserInfo(ctx, d, &u)
		if err != nil {
			out.skip(d.Name, err)
		}
		if err := out.print(f.user(d, &i)); err != nil {
			return err
		}
	}
	return nil
}

// user makes the line of a user.
func (f *vpopmailFlags) user(d *vpopmail.Domain, i *vpopmail.UserInfo) vpopmailUser {
	line := vpopmailUser{Type: "user", Domain: jsonl.Bytes(d.Name), Effective: i.Effective.Letters(), vpasswdUser: vpasswdUser{
		Name: jsonl.Bytes(i.Name), Scheme: passhash.Classify(string(i.Hash)), UID: i.UID, GID: uint32(i.Flags), Flags: i.Flags.Letters(),
		Gecos: jsonl.Bytes(i.Gecos), Dir: jsonl.Bytes(i.Dir), Quota: jsonl.Bytes(i.Quota), HasClear: i.Clear != "",
	}}
	if f.secrets {
		line.Hash, line.Clear = ptr(jsonl.Bytes(i.Hash)), ptr(jsonl.Bytes(i.Clear))
	}
	if q := vpopmail.ClassicQuota(i.Quota); q != "" && q != vpopmail.NoQuota {
		line.Usage = &vpopmailUsage{i.Usage.Bytes, i.Usage.Messages, i.Usage.Percent, i.Usage.Over}
	}
	switch {
	case !i.LoginKnown:
	case i.Login.IP == "0.0.0.0":
		line.Created = i.Login.Time.Unix()
	default:
		line.LastLogin = &vpopmailLogin{jsonl.Bytes(i.Login.IP), i.Login.Time.Unix()}
	}
	return line
}

func (f *vpopmailFlags) aliases(ctx context.Context, out *lines, s *vpopmail.Store, d *vpopmail.Domain) error {
	for a, err := range s.Aliases(ctx, d.Name) {
		if c := context.Cause(ctx); c != nil {
			return c
		}
		if err != nil {
			out.skip(d.Name, fmt.Errorf("aliases: %w", err))
			if errors.Is(err, qmailkit.ErrIncomplete) {
				return nil
			}
			continue
		}
		if err := out.print(vpopmailAlias{"alias", jsonl.Bytes(d.Name), jsonl.Bytes(a.Name), jsonl.List(a.Lines)}); err != nil {
			return err
		}
	}
	return nil
}
