//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/vpoptarget"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name: "convert", Args: "[DOMAIN...]", Max: -1,
		Short: "carry domains from vpasswd files to the database or back (vconvert)",
		Long: `Without a DOMAIN all of users/assign are carried. The source stays as it is; which
of the two vpopmail uses is decided where it is configured. A domain with an
account that does not fit the columns, such as one with a hash of 98 bytes in a
column of 40, is refused as a whole before anything is written, each such
account is listed, the other domains go on, and the exit code is 3. It can be
run again: what is there already is not written.`,
		Setup: changing("convert", "vconvert", func(fs *flag.FlagSet) work {
			c := &convertFlags{}
			fs.StringVar(&c.to, "to", "", "`mysql|cdb`: where the accounts shall be")
			fs.BoolVar(&c.o.Aliases, "aliases", false, "carry aliases too")
			fs.BoolVar(&c.o.Limits, "limits", false, "carry limits too")
			fs.BoolVar(&c.o.Replace, "replace", false, "remove accounts that the target has and the source has not; without it such a domain is refused")
			return c.run
		}),
	}
}

// convertFlags are those of convert.
type convertFlags struct {
	to string
	o  vpopmail.ConvertOptions

	refused int
}

func (c *convertFlags) run(ctx context.Context, j *job, domains []string) error {
	var from string
	switch c.to {
	case vpoptarget.SQL:
		from = vpoptarget.Files
	case vpoptarget.Files:
		from = vpoptarget.SQL
	default:
		return cli.Usagef("-to %q is none of mysql, cdb", c.to)
	}
	// The database first: what it tells of the installation holds for files.
	sql, err := j.t.As(ctx, vpoptarget.SQL)
	if err != nil {
		return err
	}
	files, err := j.t.As(ctx, vpoptarget.Files)
	if err != nil {
		return err
	}
	src, dst := files, sql
	if from == vpoptarget.SQL {
		src, dst = sql, files
	}
	switch {
	case j.plan:
		err = c.planAll(ctx, j, src, dst, domains)
	case len(domains) == 0:
		err = c.all(ctx, j, src, dst)
	default:
		for _, d := range domains {
			res, e := src.ConvertDomain(ctx, dst, d, &c.o)
			if err = c.report(ctx, j, d, res, e); err != nil {
				break
			}
		}
	}
	if err == nil && c.refused > 0 {
		err = cli.Partialf("%s not carried", cli.Plural(int64(c.refused), "domain was|domains were"))
	}
	return err
}

// all carries every domain.
func (c *convertFlags) all(ctx context.Context, j *job, src, dst *vpopmail.Store) error {
	for res, err := range src.Convert(ctx, dst, &c.o) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err := c.report(ctx, j, "", res, err); err != nil {
			return err
		}
	}
	return nil
}

// report tells what became of one domain. A refusal concerns that one only.
func (c *convertFlags) report(ctx context.Context, j *job, name string, res *vpopmail.Conversion, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil {
		return c.refuse(j, name, err)
	}
	if err := j.problems(res.Problems...); err != nil {
		return err
	}
	detail := fmt.Sprintf("%s, %s written, %d removed, %d logins, %d aliases", cli.Plural(int64(res.Users), "account"), cli.Count(int64(res.Written)),
		len(res.Removed), res.Logins, res.Aliases)
	return j.tell(row{Item: jsonl.Bytes(res.Domain.Name), Outcome: "converted", Detail: jsonl.Bytes(detail)})
}

// refuse lists a domain, and each account for which it is refused.
func (c *convertFlags) refuse(j *job, name string, err error) error {
	c.refused++
	reasons := []error{err}
	var many *vpopmail.ConvertError
	if errors.As(err, &many) {
		name, reasons = many.Domain, many.Accounts
	}
	for _, why := range reasons {
		item := name
		var e *vpopmail.Error
		if errors.As(why, &e) && e.User != "" {
			item = e.User + "@" + e.Domain
		}
		j.env.Printf("not carried: %v\n", why)
		if !j.json {
			continue
		}
		r := row{Job: j.name, Item: jsonl.Bytes(item), Outcome: "refused", Error: jsonl.Bytes(why.Error())}
		if err := j.enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// planAll is -n: it finds the accounts that would not fit.
func (c *convertFlags) planAll(ctx context.Context, j *job, src, dst *vpopmail.Store, domains []string) error {
	if len(domains) == 0 {
		for d, err := range src.Domains(ctx) {
			if err != nil {
				return err
			}
			if !d.Alias() {
				domains = append(domains, d.Name)
			}
		}
	}
	for _, name := range domains {
		n, misfits, err := c.misfits(ctx, src, dst, name)
		switch {
		case err != nil:
			return j.fail(name, err)
		case len(misfits) > 0:
			err = c.refuse(j, name, &vpopmail.ConvertError{Domain: name, Accounts: misfits})
		default:
			err = j.would(name, "carry %s", cli.Plural(n, "account"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// misfits counts the accounts of a domain and says for which of them it would
// be refused.
func (c *convertFlags) misfits(ctx context.Context, src, dst *vpopmail.Store, name string) (n int64, misfits []error, err error) {
	p, has := dst.Profile(), map[string]bool{}
	for u, err := range src.Users(ctx, name) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return 0, nil, err
		}
		if err == nil {
			n, has[u.Name] = n+1, true
			if err = misfit(&p, name, &u); err == nil && c.to == vpoptarget.Files {
				err = misfitLine(&p, name, &u)
			}
		}
		if err != nil {
			misfits = append(misfits, err)
		}
	}
	if c.o.Replace {
		return n, misfits, nil
	}
	for u, err := range dst.Users(ctx, name) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return 0, nil, err
		}
		if err == nil && !has[u.Name] {
			misfits = append(misfits, &vpopmail.Error{Domain: name, User: u.Name, Err: fmt.Errorf("%w in the target only", vpopmail.ErrUserExists)})
		}
	}
	return n, misfits, nil
}

// misfit says why an account does not fit where it shall go, by the widths that
// are known.
func misfit(p *vpopmail.Profile, domain string, u *vpopmail.User) error {
	clear := len(u.Clear)
	if !p.ClearPasswords {
		clear = 0
	}
	for _, f := range []struct {
		field     string
		has, most int
	}{
		{"user", len(u.Name), p.MaxUser}, {"password", len(u.Hash), p.MaxHash}, {"gecos", len(u.Gecos), p.MaxGecos},
		{"dir", len(u.Dir), p.MaxDir}, {"quota", len(u.Quota), p.MaxQuota}, {"clear", clear, p.MaxClear},
	} {
		if f.has > f.most {
			return &vpopmail.Error{Domain: domain, User: u.Name, Field: f.field, Err: fmt.Errorf("%w: %d bytes, the most is %d", vpopmail.ErrTooLong, f.has, f.most)}
		}
	}
	return nil
}

// misfitLine says why a line of vpasswd cannot hold an account.
func misfitLine(p *vpopmail.Profile, domain string, u *vpopmail.User) error {
	fail := func(field string, err error) error {
		return &vpopmail.Error{Domain: domain, User: u.Name, Field: field, Err: err}
	}
	for _, f := range []struct{ field, text string }{
		{"user", u.Name}, {"password", string(u.Hash)}, {"gecos", u.Gecos}, {"dir", u.Dir}, {"quota", u.Quota},
	} {
		if strings.ContainsAny(f.text, ":\n\x00") {
			return fail(f.field, vpopmail.ErrBadByte)
		}
	}
	switch n := len(u.AppendLine(nil, p.ClearPasswords)); {
	case strings.ContainsAny(string(u.Clear), "\n\x00"):
		return fail("clear", vpopmail.ErrBadByte)
	case u.Clear != "" && !p.ClearPasswords:
		return fail("clear", fmt.Errorf("%w: the installation has no field for clear passwords", vpopmail.ErrTooLong))
	case n > p.LineBuffer:
		return fail("line", fmt.Errorf("%w: the vpasswd line has %d bytes, vpopmail reads %d", vpopmail.ErrTooLong, n, p.LineBuffer))
	}
	return nil
}
