package plesk

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// scriptHead begins every script. A name without a slash would be looked for in
// the PATH by the command ".".
const scriptHead = `#!/bin/sh
# Run as root on the Plesk host:  sh THIS-FILE SECRETS-FILE
# It stops at the first command that fails, and can be run again: what is there
# already is left out. The passwords stand in the other
# file, are never arguments, and go to each program in its environment.
set -e
set +a
case "${1:?the file with the secrets is missing}" in
*/*) . "$1" ;;
*) . "./$1" ;;
esac
`

// secretsHead begins the file of secrets.
const secretsHead = "# Passwords for the script beside this file. Keep it to yourself (mode 0600),\n# and remove it when it has run.\n"

// CommandScript writes a shell script of the commands, and to secrets the file
// that it reads the passwords from: assignments to variables of the shell. No
// secret stands in the script or is ever an argument, so that none can be seen
// in the list of processes. The caller makes the second file readable for its
// owner only; WriteScript does.
//
// Any bytes may stand in an argument, except that NUL, which no program can be
// given, is an error that wraps ErrArgument.
func CommandScript(script, secrets io.Writer, commands iter.Seq2[Command, error]) error {
	s, k := bufio.NewWriter(script), bufio.NewWriter(secrets)
	s.WriteString(scriptHead)
	k.WriteString(secretsHead)
	n := 0
	for c, err := range commands {
		if err != nil {
			return err
		}
		if c.Comment != "" {
			fmt.Fprintf(s, "# %s\n", strings.Map(oneLine, c.Comment))
		}
		if len(c.Unless) > 0 {
			if err := words(s, c.Comment, c.Unless); err != nil {
				return err
			}
			s.WriteString(" >/dev/null 2>&1 ||\n\t")
		}
		for _, v := range c.Env {
			if strings.IndexByte(string(v.Value), 0) >= 0 {
				return fmt.Errorf("%s: the value of %s: %w: NUL", c.Comment, v.Name, ErrArgument)
			}
			n++
			fmt.Fprintf(k, "secret_%d=%s\n", n, quote(string(v.Value)))
			fmt.Fprintf(s, "%s=\"$secret_%d\" ", v.Name, n)
		}
		if err := words(s, c.Comment, c.Argv); err != nil {
			return err
		}
		s.WriteByte('\n')
	}
	if err := k.Flush(); err != nil {
		return err
	}
	return s.Flush()
}

// words writes a command.
func words(w *bufio.Writer, comment string, argv []string) error {
	for i, arg := range argv {
		if strings.IndexByte(arg, 0) >= 0 {
			return fmt.Errorf("%s: argument %d: %w: NUL", comment, i, ErrArgument)
		}
		if i > 0 {
			w.WriteByte(' ')
		}
		w.WriteString(quote(arg))
	}
	return nil
}

// oneLine keeps a comment on its line.
func oneLine(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '?'
	}
	return r
}

// plainWord are the bytes that mean themselves in every place of a command.
const plainWord = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./@:,+%"

// quote makes one word of sh of any bytes but NUL.
func quote(arg string) string {
	if arg != "" && strings.Trim(arg, plainWord) == "" {
		return arg
	}
	return singleQuoted(arg)
}

// ShellWords is a command as it can be typed into a shell.
func ShellWords(argv []string) string {
	var words []string
	for _, arg := range argv {
		words = append(words, quote(arg))
	}
	return strings.Join(words, " ")
}

// ScriptOptions of WriteScript. The nil pointer is the zero value.
type ScriptOptions struct {
	hook safefs.Hook
}

// SecretsSuffix ends the name of a script's file of secrets.
const SecretsSuffix = ".secrets"

// WriteScript writes the script name, mode 0700, and its secrets, 0600, into a
// directory. The secrets are on the disk before the script, and each of the two
// is either as before or complete.
func WriteScript(root *os.Root, name string, commands iter.Seq2[Command, error], opts *ScriptOptions) error {
	o := ScriptOptions{}
	if opts != nil {
		o = *opts
	}
	var script, secrets bytes.Buffer
	if err := CommandScript(&script, &secrets, commands); err != nil {
		return err
	}
	d, err := safefs.OpenDir(root, ".", o.hook)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.WriteFile(name+SecretsSuffix, safefs.Replacement{Mode: 0o600, Owner: safefs.Keep}, secrets.Bytes()); err != nil {
		return err
	}
	return d.WriteFile(name, safefs.Replacement{Mode: 0o700, Owner: safefs.Keep}, script.Bytes())
}
