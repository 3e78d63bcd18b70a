//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func limitsCommand() *cli.Command {
	return &cli.Command{
		Name: "limits", Args: "[DOMAIN]", Max: 1,
		Short: "show or change what a domain's administrators may do (vmoddomlimits)",
		Long: `Without a flag that changes something, and with -S, the limits are printed as
vmoddomlimits -S prints them. The letters are vmoddomlimits's. -g and the
permissions replace what was set; an empty word clears them. LETTERS of a
permission are c, m, d, what is forbidden to administrators other than
postmaster: to create, modify, delete; a is all three.`,
		Setup: changing("limits", "vmoddomlimits", func(fs *flag.FlagSet) work {
			l := &limitFlags{}
			l.declare(fs)
			return l.run
		}),
	}
}

// limitFlags are those of limits.
type limitFlags struct {
	show, remove, defaults bool
	edits                  []func(*vpopmail.Limits)
}

func (f *limitFlags) declare(fs *flag.FlagSet) {
	fs.BoolVar(&f.show, "S", false, "show the limits, change nothing")
	fs.BoolVar(&f.remove, "D", false, "remove the domain's own limits: those of the installation count then")
	fs.BoolVar(&f.defaults, "d", false, "the limits of the installation (etc/vlimits.default), in place of a DOMAIN's")
	edit := func(name, usage string, parse func(string) (func(*vpopmail.Limits), error)) {
		fs.Func(name, usage, func(s string) error {
			do, err := parse(s)
			f.edits = append(f.edits, do)
			return err
		})
	}
	most := func(name, what string, field func(*vpopmail.Limits) *int) {
		edit(name, "most `COUNT` of "+what+", -1 for no limit", func(s string) (func(*vpopmail.Limits), error) {
			n, err := strconv.ParseInt(s, 10, 32)
			if err != nil || n < -1 {
				err = errors.New("want a number, or -1")
			}
			return func(l *vpopmail.Limits) { *field(l) = int(n) }, err
		})
	}
	most("P", "accounts", func(l *vpopmail.Limits) *int { return &l.MaxAccounts })
	most("A", "aliases", func(l *vpopmail.Limits) *int { return &l.MaxAliases })
	most("F", "forwards", func(l *vpopmail.Limits) *int { return &l.MaxForwards })
	most("R", "autoresponders", func(l *vpopmail.Limits) *int { return &l.MaxResponders })
	most("L", "mailing lists", func(l *vpopmail.Limits) *int { return &l.MaxLists })
	size := func(name, usage string, field func(*vpopmail.Limits) *uint64) {
		edit(name, usage, func(s string) (func(*vpopmail.Limits), error) {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil || n < 0 {
				err = errors.New("want a number")
			}
			return func(l *vpopmail.Limits) { *field(l) = uint64(n) }, err
		})
	}
	size("Q", "disk quota of the domain in `MEGABYTES`", func(l *vpopmail.Limits) *uint64 { return &l.Quota })
	size("M", "most `MESSAGES` in the domain", func(l *vpopmail.Limits) *uint64 { return &l.MaxMessages })
	size("m", "most `MESSAGES` of a new account", func(l *vpopmail.Limits) *uint64 { return &l.DefaultMaxMsg })
	edit("q", "`QUOTA` of a new account: 10M, 1048576, 0 for none", defaultQuota)
	edit("g", "`LETTERS` of what no user of the domain may: u dialup, d change the password, p POP, s SMTP AUTH, w webmail, i IMAP, r relay, c spamassassin, m maildrop; x deletes spam",
		func(s string) (func(*vpopmail.Limits), error) {
			flags, err := vpopmail.ParseDisabled(s)
			return func(l *vpopmail.Limits) { l.Disabled = flags }, err
		})
	f.declarePerms(edit)
}

// declarePerms declares the flags of permissions.
func (f *limitFlags) declarePerms(edit func(name, usage string, parse func(string) (func(*vpopmail.Limits), error))) {
	for _, p := range []struct {
		name, what string
		field      func(*vpopmail.Limits) *uint16
		shift      int
	}{
		{"p", "accounts", func(l *vpopmail.Limits) *uint16 { return &l.PermAccount }, 0},
		{"a", "aliases", func(l *vpopmail.Limits) *uint16 { return &l.PermAlias }, 0},
		{"f", "forwards", func(l *vpopmail.Limits) *uint16 { return &l.PermForward }, 0},
		{"r", "autoresponders", func(l *vpopmail.Limits) *uint16 { return &l.PermResponder }, 0},
		{"l", "mailing lists", func(l *vpopmail.Limits) *uint16 { return &l.PermLists }, 0},
		{"u", "users of mailing lists", func(l *vpopmail.Limits) *uint16 { return &l.PermLists }, 3},
		{"o", "moderators of mailing lists", func(l *vpopmail.Limits) *uint16 { return &l.PermLists }, 6},
		{"x", "quotas", func(l *vpopmail.Limits) *uint16 { return &l.PermQuota }, 0},
		{"z", "default quotas", func(l *vpopmail.Limits) *uint16 { return &l.PermDefaultQuota }, 0},
	} {
		edit(p.name, "permission `LETTERS` for "+p.what, func(s string) (func(*vpopmail.Limits), error) {
			perm, err := vpopmail.ParsePerm(s)
			return func(l *vpopmail.Limits) {
				v := p.field(l)
				*v = *v&^(7<<p.shift) | perm<<p.shift
			}, err
		})
	}
}

// defaultQuota takes a quota word that has a size only.
func defaultQuota(s string) (func(*vpopmail.Limits), error) {
	word, err := vpopmail.ParseQuota(s)
	var n uint64
	if err == nil && word != "" {
		size, ok := strings.CutSuffix(word, "S")
		if n, err = strconv.ParseUint(size, 10, 63); err != nil || !ok {
			err = errors.New("want a size without a count of messages")
		}
	}
	return func(l *vpopmail.Limits) { l.DefaultQuota = n }, err
}

func (f *limitFlags) run(ctx context.Context, j *job, args []string) error {
	name := "default limits"
	switch {
	case f.defaults != (len(args) == 0):
		return cli.Usagef("wanted: a DOMAIN, or -d")
	case f.defaults && f.remove:
		return cli.Usagef("the limits of the installation cannot be removed")
	case f.remove && len(f.edits) > 0:
		return cli.Usagef("-D goes with no other change")
	case !f.defaults:
		name = args[0]
	}
	if f.show || len(f.edits) == 0 && !f.remove {
		return f.print(ctx, j, args)
	}
	edit := func(l *vpopmail.Limits) error {
		for _, do := range f.edits {
			do(l)
		}
		return nil
	}
	if j.plan {
		return f.wouldSet(ctx, j, name, args, edit)
	}
	outcome, err := "changed", error(nil)
	switch {
	case f.remove:
		outcome = "removed"
		err = j.store.RemoveLimits(ctx, name)
	case f.defaults:
		err = j.store.EditDefaultLimits(ctx, edit)
	default:
		err = j.store.EditLimits(ctx, name, edit)
	}
	if err != nil {
		return j.fail(name, err)
	}
	return j.tell(row{Item: jsonl.Bytes(name), Outcome: outcome})
}

// get reads the limits and the title of vmoddomlimits -S for them.
func (f *limitFlags) get(ctx context.Context, j *job, args []string) (l vpopmail.Limits, own bool, title string, err error) {
	if f.defaults {
		l, err = j.store.DefaultLimits(ctx)
		return l, false, "Default limits: " + j.store.Profile().Home + "/etc/vlimits.default", err
	}
	d, err := j.store.Domain(ctx, args[0])
	if err != nil {
		return l, false, "", err
	}
	l, own, err = j.store.Limits(ctx, args[0])
	return l, own, "Domain: " + d.Real, err
}

func (f *limitFlags) wouldSet(ctx context.Context, j *job, name string, args []string, edit func(*vpopmail.Limits) error) error {
	l, own, _, err := f.get(ctx, j, args)
	if err != nil {
		return j.fail(name, err)
	}
	if f.remove && !own {
		return j.would(name, "remove nothing: the domain has no limits of its own")
	}
	if f.remove {
		return j.would(name, "remove the domain's own limits")
	}
	after := l
	if err := edit(&after); err != nil {
		return j.fail(name, err)
	}
	return j.would(name, "write: %s", strings.ReplaceAll(strings.TrimSuffix(string(after.Bytes()), "\n"), "\n", ", "))
}

// limitsRow is what programs read.
type limitsRow struct {
	Domain           jsonl.Bytes `json:"domain,omitempty"`
	Own              bool        `json:"own"` // else those of the installation
	MaxAccounts      int         `json:"max_accounts"`
	MaxAliases       int         `json:"max_aliases"`
	MaxForwards      int         `json:"max_forwards"`
	MaxResponders    int         `json:"max_autoresponders"`
	MaxLists         int         `json:"max_mailinglists"`
	Quota            uint64      `json:"quota_megabytes"`
	MaxMessages      uint64      `json:"max_messages"`
	DefaultQuota     uint64      `json:"default_quota"`
	DefaultMaxMsg    uint64      `json:"default_max_messages"`
	Disabled         string      `json:"disabled"` // letters of moduser
	PermAccount      uint16      `json:"perm_account"`
	PermAlias        uint16      `json:"perm_alias"`
	PermForward      uint16      `json:"perm_forward"`
	PermResponder    uint16      `json:"perm_autoresponder"`
	PermLists        uint16      `json:"perm_maillist"`
	PermQuota        uint16      `json:"perm_quota"`
	PermDefaultQuota uint16      `json:"perm_defaultquota"`
}

func (f *limitFlags) print(ctx context.Context, j *job, args []string) error {
	l, own, title, err := f.get(ctx, j, args)
	if err != nil {
		return j.fail(strings.Join(args, " "), err)
	}
	if !j.json {
		_, err := io.WriteString(j.env.Stdout, l.Classic(title))
		return err
	}
	r := limitsRow{
		Own: own, MaxAccounts: l.MaxAccounts, MaxAliases: l.MaxAliases, MaxForwards: l.MaxForwards, MaxResponders: l.MaxResponders, MaxLists: l.MaxLists,
		Quota: l.Quota, MaxMessages: l.MaxMessages, DefaultQuota: l.DefaultQuota, DefaultMaxMsg: l.DefaultMaxMsg, Disabled: l.Disabled.Letters(),
		PermAccount: l.PermAccount, PermAlias: l.PermAlias, PermForward: l.PermForward, PermResponder: l.PermResponder,
		PermLists: l.PermLists, PermQuota: l.PermQuota, PermDefaultQuota: l.PermDefaultQuota,
	}
	if !f.defaults {
		r.Domain = jsonl.Bytes(strings.TrimPrefix(title, "Domain: "))
	}
	if err := j.enc.Encode(r); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}
