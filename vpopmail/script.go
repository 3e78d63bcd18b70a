package vpopmail

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"
)

// A Command is one call of a classic vpopmail program.
type Command struct {
	Argv    []string
	Comment string // put before it, in one line
}

// DomainCommand is the vadddomain that makes a domain. vadddomain takes the
// postmaster's password as an argument or asks for it, and has no option for a
// hash: a postmaster that is not given as a clear password is left to the
// question.
func DomainCommand(d DomainSpec) Command {
	argv := []string{"vadddomain"}
	if d.Postmaster.Quota != "" {
		argv = append(argv, "-q", d.Postmaster.Quota)
	}
	if d.CatchAll != "" {
		argv = append(argv, "-e", d.CatchAll)
	}
	if d.UID != nil {
		argv = append(argv, "-i", fmt.Sprint(*d.UID))
	}
	if d.GID != nil {
		argv = append(argv, "-g", fmt.Sprint(*d.GID))
	}
	if d.Base != "" {
		argv = append(argv, "-d", d.Base)
	}
	if d.Optimize {
		argv = append(argv, "-O")
	}
	argv = append(argv, "--", d.Name)
	if d.Postmaster.Clear != "" {
		return Command{Argv: append(argv, string(d.Postmaster.Clear))}
	}
	return Command{Argv: argv, Comment: "asks for the password of postmaster"}
}

// AliasCommand is the vaddaliasdomain that makes alias another name of domain.
func AliasCommand(domain, alias string) Command {
	return Command{Argv: []string{"vaddaliasdomain", "--", domain, alias}}
}

// UserCommands are the vadduser that makes an account, and where it has flags
// the vmoduser that sets them: vadduser has no option for them.
func UserCommands(domain string, n NewUser) []Command {
	addr := n.Name + "@" + domain
	argv := []string{"vadduser"}
	if n.Quota != "" {
		argv = append(argv, "-q", n.Quota)
	}
	if n.Gecos != "" {
		argv = append(argv, "-c", n.Gecos)
	}
	switch {
	case n.Hash != "":
		argv = append(argv, "-e", string(n.Hash), "--", addr)
	case n.NoPassword:
		argv = append(argv, "-n", "--", addr)
	default:
		argv = append(argv, "--", addr, string(n.Clear))
	}
	out := []Command{{Argv: argv}}
	if letters := n.Flags.Letters(); letters != "" {
		argv := []string{"vmoduser"}
		for _, c := range letters {
			argv = append(argv, "-"+string(c))
		}
		out = append(out, Command{Argv: append(argv, "--", addr)})
	}
	return out
}

// PasswordCommand is the vmoduser that gives an account that is there, the
// postmaster for one, its hash and full name.
func PasswordCommand(domain string, n NewUser) Command {
	argv := []string{"vmoduser"}
	if n.Quota != "" {
		argv = append(argv, "-q", n.Quota)
	}
	if n.Gecos != "" {
		argv = append(argv, "-c", n.Gecos)
	}
	return Command{Argv: append(argv, "-e", string(n.Hash), "--", n.Name+"@"+domain)}
}

// scriptHead begins every script.
const scriptHead = `#!/bin/sh
# Run as root on the vpopmail host. It stops at the first command that fails.
#
# This file holds password hashes, and perhaps passwords: keep it to yourself.
# The programs take them as arguments and have no other way, so that while one
# runs every user of the host can see them in the list of processes.
set -e
PATH=%s/bin:$PATH
export PATH
`

// CommandScript writes a shell script of commands for sites that prefer
// vpopmail's own programs. home is vpopmail's home directory, as text. Any
// bytes may stand in an argument, except that one with NUL, which no program
// can be given, ends the script with an error that wraps ErrBadByte.
func CommandScript(w io.Writer, home string, commands iter.Seq2[Command, error]) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, scriptHead, Quote(home))
	for c, err := range commands {
		if err != nil {
			return err
		}
		if c.Comment != "" {
			fmt.Fprintf(b, "# %s\n", strings.Map(printable, c.Comment))
		}
		for i, arg := range c.Argv {
			if strings.IndexByte(arg, 0) >= 0 {
				return fmt.Errorf("%s: argument %d: NUL: %w", c.Argv[0], i, ErrBadByte)
			}
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(Quote(arg))
		}
		b.WriteByte('\n')
	}
	return b.Flush()
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// Quote makes one word of sh out of any bytes but NUL: plain words stay, all
// else stands in single quotes, in which only the single quote is special.
func Quote(arg string) string {
	if shellSafe(arg) && !strings.Contains(arg, "=") {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}
