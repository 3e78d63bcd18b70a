//go:build unix

package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func aliasCommand() *cli.Command {
	return &cli.Command{
		Name: "alias", Args: "ADDRESS|DOMAIN", Min: 1, Max: 1,
		Short: "show, add or remove aliases (valias)",
		Long: `Without -i and -d, and with -s, the aliases are printed as valias -s prints them;
with -names as valias -n does. They stand in .qmail files, or in the table
valias where vpopmail was configured so.`,
		Setup: changing("alias", "valias", func(fs *flag.FlagSet) work {
			a := &aliasFlags{}
			fs.StringVar(&a.line, "i", "", "add `LINE` to the alias ADDRESS, as in a .qmail file")
			fs.BoolVar(&a.remove, "d", false, "remove the alias ADDRESS with all of its lines")
			fs.BoolVar(&a.show, "s", false, "show the alias, or all of a domain; change nothing")
			fs.BoolVar(&a.names, "names", false, "only the names of the aliases of DOMAIN (valias -n)")
			return a.run
		}),
	}
}

// aliasFlags are those of alias.
type aliasFlags struct {
	line                string
	remove, show, names bool
}

func (a *aliasFlags) run(ctx context.Context, j *job, args []string) error {
	n := 0
	for _, given := range []bool{a.line != "", a.remove, a.show, a.names} {
		if given {
			n++
		}
	}
	isAddress := strings.Contains(args[0], "@")
	switch {
	case n > 1:
		return cli.Usagef("-i, -d, -s and -names exclude each other")
	case a.names && isAddress:
		return cli.Usagef("-names wants a domain")
	case (a.line != "" || a.remove) && !isAddress:
		return cli.Usagef("wanted: the ADDRESS of one alias")
	case a.line != "":
		return a.add(ctx, j, args[0])
	case a.remove:
		return a.del(ctx, j, args[0])
	}
	out := bufio.NewWriter(j.env.Stdout)
	err := a.print(ctx, j, out, args[0])
	return errors.Join(j.fail(args[0], err), out.Flush())
}

func (a *aliasFlags) add(ctx context.Context, j *job, addr string) error {
	if j.plan {
		lines, err := j.store.Alias(ctx, addr)
		if err != nil {
			return j.fail(addr, err)
		}
		return j.would(addr, "add a line to the %s that are there", cli.Plural(int64(len(lines)), "line"))
	}
	if err := j.store.AddAlias(ctx, addr, a.line); err != nil {
		return j.fail(addr, err)
	}
	odd := vpopmail.Alias{Name: addr, Lines: []string{a.line}}
	return errors.Join(j.problems(odd.Problems(addr)...), j.tell(row{Item: jsonl.Bytes(addr), Outcome: "added", Detail: jsonl.Bytes(a.line)}))
}

func (a *aliasFlags) del(ctx context.Context, j *job, addr string) error {
	lines, err := j.store.Alias(ctx, addr)
	if err == nil && len(lines) == 0 {
		err = fmt.Errorf("%s: %w", addr, vpopmail.ErrNoAlias)
	}
	if err != nil {
		return j.fail(addr, err)
	}
	if j.plan {
		return j.would(addr, "remove %s", cli.Plural(int64(len(lines)), "line"))
	}
	if _, err := j.store.RemoveAlias(ctx, addr); err != nil {
		return j.fail(addr, err)
	}
	return j.tell(row{Item: jsonl.Bytes(addr), Outcome: "removed"})
}

// aliasRow is an alias for programs.
type aliasRow struct {
	Alias jsonl.Bytes   `json:"alias"`
	Lines []jsonl.Bytes `json:"lines"`
}

func (a *aliasFlags) print(ctx context.Context, j *job, out io.Writer, what string) error {
	switch {
	case j.json:
		return a.rows(ctx, j, out, what)
	case a.names:
		names, err := j.store.AliasNames(ctx, what)
		for _, n := range names {
			if _, err := fmt.Fprintln(out, n); err != nil {
				return err
			}
		}
		return err
	}
	text, err := j.store.ClassicAliases(ctx, what)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

func (a *aliasFlags) rows(ctx context.Context, j *job, out io.Writer, what string) error {
	enc := jsonl.NewEncoder(out)
	if strings.Contains(what, "@") {
		lines, err := j.store.Alias(ctx, what)
		if err == nil && len(lines) == 0 {
			err = vpopmail.ErrNoAlias
		}
		if err != nil {
			return err
		}
		return enc.Encode(aliasRow{jsonl.Bytes(what), jsonl.List(lines)})
	}
	odd := 0
	for al, err := range j.store.Aliases(ctx, what) {
		if errors.Is(err, qmailkit.ErrIncomplete) {
			return err
		}
		if err != nil {
			odd++
			j.env.Printf("%v\n", err)
			continue
		}
		if err := enc.Encode(aliasRow{jsonl.Bytes(al.Name + "@" + what), jsonl.List(al.Lines)}); err != nil {
			return err
		}
	}
	if odd > 0 {
		return cli.Partialf("%s not be read", cli.Plural(int64(odd), "alias could|aliases could"))
	}
	return nil
}
