package plesk

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
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
secrets_of=
case "${1:?the file with the secrets is missing}" in
*/*) . "$1" ;;
*) . "./$1" ;;
esac
if [ "$secrets_of" != %[1]s ]; then
	echo "$1: these are the secrets of another script" >&2
	exit 1
fi
`

// secretsHead begins the file of secrets, and names the script they belong to:
// with those of another one a mailbox would get somebody else's password.
const secretsHead = "# Passwords for the script beside this file. Keep it to yourself (mode 0600),\n# and remove it when it has run.\nsecrets_of=%[1]s\n"

// CommandScript writes a shell script of the commands, and to secrets the file
// that it reads the passwords from: assignments to variables of the shell. No
// secret stands in the script or is ever an argument, so that none can be seen
// in the list of processes. The script refuses the secrets of another one. The caller makes the second file readable for its
// owner only; WriteScript does.
//
// Any bytes may stand in an argument, except that NUL, which no program can be
// given, is an error that wraps ErrArgument.
func CommandScript(script, secrets io.Writer, commands iter.Seq2[Command, error]) error {
	var s, k bytes.Buffer
	n := 0
	for c, err := range commands {
		if err != nil {
			return err
		}
		if c.Comment != "" {
			fmt.Fprintf(&s, "# %s\n", strings.Map(oneLine, c.Comment))
		}
		if len(c.Unless) > 0 {
			if err := words(&s, c.Comment, c.Unless); err != nil {
				return err
			}
			s.WriteString(" >/dev/null 2>&1 ||\n\t")
		}
		for _, v := range c.Env {
			if strings.IndexByte(string(v.Value), 0) >= 0 {
				return fmt.Errorf("%s: the value of %s: %w: NUL", c.Comment, v.Name, ErrArgument)
			}
			n++
			fmt.Fprintf(&k, "secret_%d=%s\n", n, quote(string(v.Value)))
			fmt.Fprintf(&s, "%s=\"$secret_%d\" ", v.Name, n)
		}
		if err := words(&s, c.Comment, c.Argv); err != nil {
			return err
		}
		s.WriteByte('\n')
	}
	id := sha256.Sum256(s.Bytes())
	for _, f := range []struct {
		w    io.Writer
		head string
		body []byte
	}{{secrets, secretsHead, k.Bytes()}, {script, scriptHead, s.Bytes()}} {
		if _, err := fmt.Fprintf(f.w, f.head, hex.EncodeToString(id[:16])); err != nil {
			return err
		}
		if _, err := f.w.Write(f.body); err != nil {
			return err
		}
	}
	return nil
}

// words writes a command.
func words(w *bytes.Buffer, comment string, argv []string) error {
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
// is either as before or complete. What a kill has left is swept by the next
// WriteScript of that name.
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
	if err := d.WriteFile(name+SecretsSuffix, safefs.Replacement{Mode: 0o600, Owner: safefs.Keep, Temp: "." + name + SecretsSuffix + ".qmailkit"}, secrets.Bytes()); err != nil {
		return err
	}
	return d.WriteFile(name, safefs.Replacement{Mode: 0o700, Owner: safefs.Keep, Temp: "." + name + ".qmailkit"}, script.Bytes())
}
