//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"io"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/passhash"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// fieldFlags are the one-letter options that choose what is printed.
type fieldFlags struct {
	letters []string
	set     map[string]*bool
}

func (f *fieldFlags) declare(fs *flag.FlagSet, letters []string, words map[string]string) {
	f.letters, f.set = letters, map[string]*bool{}
	for _, l := range letters {
		f.set[l] = fs.Bool(l, false, "only the "+words[l])
	}
}

// String is the letters that were given.
func (f *fieldFlags) String() string {
	var b strings.Builder
	for _, l := range f.letters {
		if *f.set[l] {
			b.WriteString(l)
		}
	}
	return b.String()
}

func userInfoCommand() *cli.Command {
	return &cli.Command{
		Name: "userinfo", Args: "ADDRESS", Min: 1, Max: 1,
		Short: "print an account, or with -D all accounts of a domain (vuserinfo)",
		Long: `With -secrets the output is vuserinfo's byte for byte; without, a hash or a clear
password stands as [redacted]. Times are those of the local zone. Nothing is
written, where vuserinfo may write maildirsize and vpasswd.cdb.`,
		Setup: reading("userinfo", "vuserinfo", func(fs *flag.FlagSet) work {
			u := &userInfo{}
			u.fields.declare(fs, []string{"n", "p", "C", "u", "g", "c", "d", "q", "Q", "l"}, map[string]string{
				"n": "name", "p": "hash", "C": "clear password", "u": "uid field", "g": "gid field, the flags as a number", "c": "comment",
				"d": "directory", "q": "quota", "Q": "usage of the quota", "l": "time and address of the last login",
			})
			fs.BoolVar(&u.all, "D", false, "all accounts of a domain, which stands in place of ADDRESS")
			return u.run
		}),
	}
}

// userInfo is a call of userinfo.
type userInfo struct {
	fields fieldFlags
	all    bool
}

func (u *userInfo) run(ctx context.Context, j *job, args []string) error {
	out := bufio.NewWriter(j.env.Stdout)
	var err error
	if u.all {
		err = u.domain(ctx, j, out, args[0])
	} else {
		err = u.one(ctx, j, out, args[0])
	}
	return errors.Join(err, out.Flush())
}

func (u *userInfo) one(ctx context.Context, j *job, out io.Writer, addr string) error {
	name, domain, err := address(addr)
	if err != nil {
		return err
	}
	d, err := j.store.Domain(ctx, domain)
	if err != nil {
		return j.fail(addr, err)
	}
	user, err := j.store.User(ctx, name+"@"+domain)
	if err != nil {
		return j.fail(addr, err)
	}
	return u.print(ctx, j, out, d, &user, u.format(j))
}

// domain prints all accounts. Something that cannot be read does not hold up
// the others.
func (u *userInfo) domain(ctx context.Context, j *job, out io.Writer, name string) error {
	d, err := j.store.Domain(ctx, name)
	if err != nil {
		return j.fail(name, err)
	}
	f := u.format(j)
	p := j.store.Profile()
	f.Dashes = p.Release == vpopmail.Release56
	f.NullClear = f.NoClear && !j.t.Database()
	odd := 0
	for user, err := range j.store.Users(ctx, name) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err == nil {
			err = u.print(ctx, j, out, d, &user, f)
		}
		if c := context.Cause(ctx); c != nil {
			return c
		}
		if err != nil {
			odd++
			j.env.Printf("%v\n", err)
		}
	}
	if odd > 0 {
		return cli.Partialf("%s not be read in full", cli.Plural(int64(odd), "account could|accounts could"))
	}
	return nil
}

func (u *userInfo) format(j *job) *vpopmail.InfoFormat {
	p := j.store.Profile()
	return &vpopmail.InfoFormat{Fields: u.fields.String(), NoClear: !p.ClearPasswords, NoLogins: !p.AuthLogging}
}

// userRow is an account for programs.
type userRow struct {
	Name      jsonl.Bytes     `json:"name"`
	Domain    jsonl.Bytes     `json:"domain"`
	Scheme    passhash.Scheme `json:"scheme"` // of the hash
	Hash      *jsonl.Bytes    `json:"hash,omitempty"`
	HasClear  bool            `json:"has_clear"`
	Clear     *jsonl.Bytes    `json:"clear,omitempty"`
	UID       int             `json:"uid"`
	GID       uint32          `json:"gid"`       // the flags
	Flags     string          `json:"flags"`     // their letters
	Effective string          `json:"effective"` // with those of the domain's limits
	Gecos     jsonl.Bytes     `json:"gecos"`
	Dir       jsonl.Bytes     `json:"dir"`
	Quota     jsonl.Bytes     `json:"quota"`
	Bytes     uint64          `json:"bytes"`
	Messages  uint64          `json:"messages"`
	Percent   int             `json:"percent"`
	Over      bool            `json:"over"`
	LastIP    string          `json:"last_ip,omitempty"`
	LastTime  *time.Time      `json:"last_time,omitempty"`
}

// print prints one account, all that is known of it even after an error.
func (u *userInfo) print(ctx context.Context, j *job, out io.Writer, d *vpopmail.Domain, user *vpopmail.User, f *vpopmail.InfoFormat) error {
	i, err := j.store.UserInfo(ctx, d, user)
	if j.json {
		return errors.Join(err, jsonl.NewEncoder(out).Encode(j.userRow(d, &i)))
	}
	if !j.secrets {
		i.Hash, i.Clear = redacted(i.Hash), redacted(i.Clear)
	}
	return errors.Join(err, vpopmail.WriteUserInfo(out, &i, f))
}

// redacted is a secret as it is shown; that there is none is no secret.
func redacted(s qmailkit.Secret) qmailkit.Secret {
	if s == "" {
		return ""
	}
	return qmailkit.Secret(s.String())
}

func (j *job) userRow(d *vpopmail.Domain, i *vpopmail.UserInfo) userRow {
	r := userRow{
		Name: jsonl.Bytes(i.Name), Domain: jsonl.Bytes(d.Real), Scheme: passhash.Classify(string(i.Hash)), HasClear: i.Clear != "",
		UID: i.UID, GID: uint32(i.Flags), Flags: i.Flags.Letters(), Effective: i.Effective.Letters(),
		Gecos: jsonl.Bytes(i.Gecos), Dir: jsonl.Bytes(i.Dir), Quota: jsonl.Bytes(i.Quota),
		Bytes: i.Usage.Bytes, Messages: i.Usage.Messages, Percent: i.Usage.Percent, Over: i.Usage.Over,
	}
	if j.secrets {
		hash, clear := jsonl.Bytes(i.Hash), jsonl.Bytes(i.Clear)
		r.Hash, r.Clear = &hash, &clear
	}
	if i.LoginKnown {
		t := i.Login.Time.UTC()
		r.LastIP, r.LastTime = i.Login.IP, &t
	}
	return r
}

func domInfoCommand() *cli.Command {
	return &cli.Command{
		Name: "dominfo", Args: "[DOMAIN]", Max: 1,
		Short: "print a domain, or all of them (vdominfo)",
		Long: `The output is vdominfo's byte for byte. users is the counter of the domain's
directories, not a count. Nothing is written, where vdominfo may write
.dir-control.`,
		Setup: reading("dominfo", "vdominfo", func(fs *flag.FlagSet) work {
			f := &fieldFlags{}
			f.declare(fs, []string{"n", "u", "g", "d", "t", "r"}, map[string]string{
				"n": "name", "u": "uid", "g": "gid", "d": "directory", "t": "number of users", "r": "real domain",
			})
			return func(ctx context.Context, j *job, args []string) error { return domInfo(ctx, j, f, args) }
		}),
	}
}

func domInfo(ctx context.Context, j *job, f *fieldFlags, args []string) error {
	out := bufio.NewWriter(j.env.Stdout)
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	var err error
	if j.json {
		err = domRows(ctx, j, out, name)
	} else {
		err = j.store.WriteDomainInfo(ctx, out, name, f.String())
	}
	if errors.Is(err, vpopmail.ErrNoDomain) {
		err = j.fail(name, err)
	}
	return errors.Join(err, out.Flush())
}

// domainRow is a domain for programs.
type domainRow struct {
	Domain  jsonl.Bytes   `json:"domain"`
	Real    jsonl.Bytes   `json:"real"`
	Alias   bool          `json:"alias"`
	UID     int           `json:"uid"`
	GID     int           `json:"gid"`
	Dir     jsonl.Bytes   `json:"dir"`
	Users   uint64        `json:"users"`
	Aliases []jsonl.Bytes `json:"aliases"`
}

// domRows prints one domain, or all, those without a dot in their name too.
func domRows(ctx context.Context, j *job, out io.Writer, name string) error {
	names := []string{name}
	if name == "" {
		names = nil
		for d, err := range j.store.Domains(ctx) {
			if err != nil {
				return err
			}
			names = append(names, d.Name)
		}
	}
	enc := jsonl.NewEncoder(out)
	for _, n := range names {
		i, err := j.store.DomainInfo(ctx, n)
		if err != nil {
			return err
		}
		r := domainRow{
			Domain: jsonl.Bytes(i.Name), Real: jsonl.Bytes(i.Real), Alias: i.Domain.Alias(), UID: i.UID, GID: i.GID,
			Dir: jsonl.Bytes(i.Dir), Users: i.Users, Aliases: jsonl.List(i.Aliases),
		}
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}
