//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/plesk"
)

// commands are the calls of Plesk's tools for what is to be created. What the
// tools cannot do becomes a problem, once.
func (m *making) commands() iter.Seq2[plesk.Command, error] {
	opts := &plesk.CommandOptions{Bin: m.c.accounts.bin}
	if m.c.accounts.redirect {
		opts.Tool = plesk.ToolRedirect
	}
	if m.dst != nil {
		opts.Mailnames = "/" + m.dst.mailnames
	}
	late := m.c.accounts.afterCopy
	var list []plesk.Command
	held := 0
	for _, d := range m.plan.Domains {
		for _, a := range d.Accounts {
			// By then the name is there, made by the calls before; as it is when a
			// run was broken off behind the first of several calls.
			ours := m.ours[a.Mailname.Name+"@"+d.Domain.Name]
			if a.Action != plesk.AccountCreate && !(late && a.Action != plesk.AccountRefused) && !ours {
				continue
			}
			commands, probs := plesk.Commands(d.Domain, a.Mailname, a.Password, opts)
			if !late {
				m.problem(probs...)
			}
			for _, c := range commands {
				switch {
				case c.AfterCopy != late:
					held++
				case a.Action == plesk.AccountDiffers && !ours:
					m.warn("accounts.after-copy", a.Mailname.Name+"@"+d.Domain.Name, errors.New("is another one at the target, so that this was left out: "+c.Comment), plesk.ShellWords(c.Argv))
				default:
					list = append(list, c)
				}
			}
		}
	}
	if held > 0 && !late {
		m.problem(qmailkit.Problem{Code: "accounts.after-copy", Severity: qmailkit.Info,
			Err: fmt.Errorf("%s the mailboxes' files first", cli.Plural(int64(held), "call needs|calls need")), Fix: "accounts -after-copy, when copy is done"})
	}
	return func(yield func(plesk.Command, error) bool) {
		for _, c := range list {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// script writes them down.
func (m *making) script() error {
	root, err := os.OpenRoot(filepath.Dir(m.c.accounts.script))
	if err != nil {
		return err
	}
	defer root.Close()
	name := filepath.Base(m.c.accounts.script)
	if err := plesk.WriteScript(root, name, m.commands(), nil); err != nil {
		return err
	}
	m.env.Printf("Written: %s and %s%s. On the new host, as root:\n  sh %s %s%s\n", m.c.accounts.script, m.c.accounts.script, plesk.SecretsSuffix, name, name, plesk.SecretsSuffix)
	return nil
}

// run calls the tools, without a shell. What has succeeded once is not called
// again, unless the tools say that it is not there any more.
func (m *making) run(ctx context.Context) error {
	d, mem, err := m.c.openMemory(toolsID(m.domain), true)
	if err != nil {
		return err
	}
	defer d.Close()
	defer mem.Close()
	done, err := mem.Store(commandStore)
	if err != nil {
		return err
	}
	m.ours = map[string]bool{}
	for r := range done.All() {
		if addr, _, ok := madeBy(done, r.Key); ok {
			m.ours[addr] = true
		}
	}
	for c := range m.commands() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		key := commandKey(c)
		if len(c.Unless) > 0 {
			if tool(ctx, c.Unless, nil) == nil {
				continue
			}
		} else if _, ok := done.Get(key); ok {
			continue
		}
		// It is noted before, for undo: a call that is broken off may have done
		// its work.
		if len(c.Unless) > 0 {
			if err := done.Put(key, called{Argv: c.Argv[:min(len(c.Argv), 3)]}); err != nil {
				return err
			}
		}
		if err := tool(ctx, c.Argv, c.Environ()); err != nil {
			return fmt.Errorf("%s: %w", c.Comment, err)
		}
		if len(c.Unless) == 0 {
			if err := done.Put(key, called{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// toolsID names the state of what Plesk's tools, or its database, were told of
// a domain.
func toolsID(domain string) string { return "accounts " + domain }

const commandStore = "commands"

// called is a call of a tool.
type called struct {
	// Argv begins it, where it has made a name: "mail --create ADDRESS".
	Argv []string `json:"argv,omitempty"`
}

// madeBy is the address that a noted call has made, and the tool.
func madeBy(notes *state.Store, key string) (addr, tool string, ok bool) {
	var c called
	if _, err := notes.Load(key, &c); err != nil || len(c.Argv) != 3 || !strings.HasPrefix(path.Base(c.Argv[0]), "mail") {
		return "", "", false // "true" is what earlier versions noted
	}
	return c.Argv[2], c.Argv[0], true
}

// tool runs a program of Plesk. Its words are part of the error.
func tool(ctx context.Context, argv, env []string) error {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	var words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &words, &words
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(words.Bytes()))
	}
	return nil
}

// commandKey is the digest of a call, without its secrets.
func commandKey(c plesk.Command) string {
	sum := sha256.Sum256([]byte(strings.Join(c.Argv, "\x00")))
	return hex.EncodeToString(sum[:])
}
