//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func addUserCommand() *cli.Command {
	return &cli.Command{
		Name: "adduser", Args: "[ADDRESS]", Max: 1,
		Short: "make an account, or with -batch any number of them (vadduser)",
		Long: `The password is the first line of standard input unless a flag says otherwise.

A batch has an account a line, and each domain's records are rewritten once for
all of its accounts, in the order given. A line is one of

  {"address": "ann@example.com", "hash": "...", "gecos": "Ann", "quota": "10M", "flags": "dp"}
  ann@example.com<TAB>HASH[<TAB>GECOS[<TAB>QUOTA]]
  ann@example.com:HASH
  NAME:HASH:UID:GID:GECOS:DIR:QUOTA[:CLEAR]      as in vpasswd

Of a line of vpasswd UID and DIR are not used, and CLEAR only where HASH is
empty. In JSON "clear" may stand in place of "hash", and "no_password": true in place of
both; strings hold a byte as one code point up to U+00FF. flags are the letters
of vmoduser. Names without a domain are of -domain. Empty lines and those that
begin with # are passed over. A batch can be run again: an account that is there
just as wanted is "same". What is refused is listed, and the exit code is 3.`,
		Setup: changing("adduser", "vadduser", func(fs *flag.FlagSet) work {
			a := &userFlags{}
			fs.StringVar(&a.n.Quota, "q", "", "`QUOTA`: 10M, 10485760S,1000C or NOQUOTA (default: the domain's)")
			fs.StringVar(&a.n.Gecos, "c", "", "`COMMENT`: the full name (default: the user name)")
			a.pw.declare(fs, "e", "")
			a.pw.declareRandom(fs)
			fs.BoolVar(&a.pw.none, "no-password", false, "an account with an empty hash (vadduser -n, 5.4 only)")
			fs.StringVar(&a.batch, "batch", "", "`FILE` with an account a line; - is standard input")
			fs.StringVar(&a.domain, "domain", "", "`D` is the domain of the names of a batch that have none")
			return a.run
		}),
	}
}

// userFlags are those of adduser.
type userFlags struct {
	n             vpopmail.NewUser
	pw            passwordFlags
	batch, domain string
}

func (a *userFlags) run(ctx context.Context, j *job, args []string) error {
	switch {
	case a.batch == "" && len(args) == 0:
		return cli.Usagef("arguments are missing; wanted: ADDRESS, or -batch FILE")
	case a.batch == "" && a.domain != "":
		return cli.Usagef("-domain goes with -batch")
	case a.batch != "" && (len(args) > 0 || a.pw.given() || a.n.Quota != "" || a.n.Gecos != ""):
		return cli.Usagef("-batch takes accounts from its file only")
	case a.batch != "":
		return runBatch(ctx, j, a.batch, a.domain)
	}
	return a.one(ctx, j, args[0])
}

// one makes one account.
func (a *userFlags) one(ctx context.Context, j *job, addr string) error {
	name, domain, err := address(addr)
	if err != nil {
		return err
	}
	a.n.Name = name
	if err := j.checkUser(ctx, domain, a.n); err != nil {
		return j.fail(addr, err)
	}
	w, err := a.pw.read(j, addr)
	if err != nil {
		return err
	}
	w.put(&a.n)
	if j.plan {
		return j.would(name+"@"+domain, "make the account")
	}
	u, err := j.store.AddUser(ctx, domain, a.n)
	if !made(err) {
		return j.fail(addr, err)
	}
	r := row{Item: jsonl.Bytes(u.Name + "@" + domain), Outcome: "added", Dir: jsonl.Bytes(u.Dir)}
	if w.random {
		r.Password = jsonl.Bytes(string(w.clear))
	}
	return errors.Join(err, j.tell(r))
}

// checkUser says why an account cannot be made, as far as that shows
// beforehand.
func (j *job) checkUser(ctx context.Context, domain string, n vpopmail.NewUser) error {
	p := j.store.Profile()
	name, err := p.User(n.Name)
	if err != nil {
		return err
	}
	if err := checkQuota(j, n.Quota); err != nil {
		return err
	}
	d, err := j.store.Domain(ctx, domain)
	if err != nil {
		return err
	}
	if len(n.Gecos) > p.MaxGecos {
		return &vpopmail.Error{Domain: domain, User: name, Field: "gecos", Err: vpopmail.ErrTooLong}
	}
	if strings.ContainsAny(n.Gecos, ":\n\x00") {
		return &vpopmail.Error{Domain: domain, User: name, Field: "gecos", Err: vpopmail.ErrBadByte}
	}
	if len(n.Hash) > p.MaxHash {
		return &vpopmail.Error{Domain: domain, User: name, Field: "password", Err: vpopmail.ErrTooLong}
	}
	_, err = j.store.User(ctx, name+"@"+d.Name)
	switch {
	case errors.Is(err, vpopmail.ErrNoUser):
		return nil
	case err == nil:
		return &vpopmail.Error{Domain: domain, User: name, Err: vpopmail.ErrUserExists}
	}
	return err
}

// runBatch brings all accounts of a file to their domains.
func runBatch(ctx context.Context, j *job, path, domain string) error {
	b := &batch{domain: domain}
	if err := b.read(j, path); err != nil {
		return err
	}
	for _, d := range b.domains {
		var err error
		if j.plan {
			err = b.planDomain(ctx, j, d)
		} else {
			err = b.putDomain(ctx, j, d)
		}
		if err != nil {
			return err
		}
	}
	if b.refused > 0 {
		return cli.Partialf("%s of %s refused", cli.Count(int64(b.refused)), cli.Plural(int64(b.accounts), "account"))
	}
	return nil
}

func (b *batch) planDomain(ctx context.Context, j *job, domain string) error {
	for _, e := range b.lists[domain] {
		addr := e.n.Name + "@" + domain
		err := j.checkUser(ctx, domain, e.n)
		if errors.Is(err, vpopmail.ErrUserExists) {
			err = j.tell(row{Item: jsonl.Bytes(addr), Outcome: planned, Detail: "is there: would be left alone, or refused if it is not just as wanted"})
		} else if err == nil {
			err = j.would(addr, "make the account")
		} else {
			if c := context.Cause(ctx); c != nil {
				return c
			}
			err = b.refuse(j, e, addr, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putDomain brings the accounts of one domain there. A domain that is missing
// refuses them all.
func (b *batch) putDomain(ctx context.Context, j *job, domain string) error {
	list := b.lists[domain]
	puts := make([]vpopmail.Put, len(list))
	for i, e := range list {
		puts[i].NewUser = e.n
	}
	res, err := j.store.PutUsers(ctx, domain, puts)
	if res == nil && (errors.Is(err, vpopmail.ErrNoDomain) || errors.Is(err, vpopmail.ErrBadDomain)) {
		for _, e := range list {
			if err := b.refuse(j, e, e.n.Name+"@"+domain, err); err != nil {
				return err
			}
		}
		return nil
	}
	if res == nil {
		return j.fail(domain, err)
	}
	if err := j.problems(res.Problems...); err != nil {
		return err
	}
	for i, u := range res.Users {
		addr := list[i].n.Name + "@" + domain
		var e error
		if u.Err != nil {
			e = b.refuse(j, list[i], addr, u.Err)
		} else if j.json {
			e = j.enc.Encode(row{Job: j.name, Item: jsonl.Bytes(addr), Outcome: u.Outcome.String(), Dir: jsonl.Bytes(u.User.Dir)})
		}
		if e != nil {
			return e
		}
		b.counts[u.Outcome]++
	}
	j.env.Printf("%s: %s added, %s there before\n", cli.Name(domain),
		cli.Plural(int64(b.counts[vpopmail.Added]), "account"), cli.Count(int64(b.counts[vpopmail.Same])))
	clear(b.counts)
	return err
}

// refuse lists an account that was not made.
func (b *batch) refuse(j *job, e entry, addr string, err error) error {
	b.refused++
	j.env.Printf("line %d: %s\n", e.line, cli.Name(err.Error()))
	if !j.json {
		return nil
	}
	r := j.refusal(addr, fmt.Errorf("line %d: %w", e.line, err))
	r.Job = j.name
	return j.enc.Encode(r)
}
