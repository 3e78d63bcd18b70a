package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/passhash"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// vpasswdUser is a line of the kind vpasswd.
type vpasswdUser struct {
	Name     jsonl.Bytes     `json:"name"`
	Scheme   passhash.Scheme `json:"scheme"` // of the hash
	Hash     *jsonl.Bytes    `json:"hash,omitempty"`
	UID      int             `json:"uid"`
	GID      uint32          `json:"gid"` // the flags
	Flags    string          `json:"flags"`
	Gecos    jsonl.Bytes     `json:"gecos"`
	Dir      jsonl.Bytes     `json:"dir"`
	Quota    jsonl.Bytes     `json:"quota"`
	HasClear bool            `json:"has_clear"`
	Clear    *jsonl.Bytes    `json:"clear,omitempty"`
}

// maxVpasswd is far beyond the 390,700 users that a domain can hold.
const maxVpasswd = 256 << 20

func vpasswdKind() *cli.Command {
	return &cli.Command{
		Name: "vpasswd", Args: "FILE", Min: 1, Max: 1,
		Short: "the accounts of a vpopmail domain",
		Long: `gid holds vpopmail's flags and flags their letters in vmoduser; scheme is that of
the hash. Lines that are no account are reported, and the exit code is 3.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			secrets := fs.Bool("secrets", false, "show hash and clear password")
			profile := vpopmail.DefaultProfile54()
			fs.Func("release", "`54|56`: the vpopmail that reads the file; says which lines are odd (default 54)", func(s string) error {
				switch s {
				case "54":
					profile = vpopmail.DefaultProfile54()
				case "56":
					profile = vpopmail.DefaultProfile56()
				default:
					return errors.New("want 54 or 56")
				}
				return nil
			})
			return printing(func(ctx context.Context, out *lines, args []string) error {
				b, err := readFile(args[0], maxVpasswd)
				if err != nil {
					return err
				}
				// Whether the installation keeps clear passwords shows in the first line.
				first, _, _ := bytes.Cut(b, []byte("\n"))
				profile.ClearPasswords = bytes.Count(first, []byte(":")) > 6
				return printVpasswd(ctx, out, args[0], vpopmail.ParseVpasswd(b), profile, *secrets)
			})
		},
	}
}

func printVpasswd(ctx context.Context, out *lines, name string, v *vpopmail.Vpasswd, profile vpopmail.Profile, secrets bool) error {
	for u, err := range v.Users() {
		switch {
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case errors.Is(err, qmailkit.ErrIncomplete):
			return fmt.Errorf("%s: %w", name, err)
		case err != nil:
			out.skip(name, err)
			continue
		}
		line := vpasswdUser{
			Name: jsonl.Bytes(u.Name), Scheme: passhash.Classify(string(u.Hash)), UID: u.UID, GID: uint32(u.Flags), Flags: u.Flags.Letters(),
			Gecos: jsonl.Bytes(u.Gecos), Dir: jsonl.Bytes(u.Dir), Quota: jsonl.Bytes(u.Quota), HasClear: u.Clear != "",
		}
		if secrets {
			line.Hash, line.Clear = ptr(jsonl.Bytes(u.Hash)), ptr(jsonl.Bytes(u.Clear))
		}
		if err := out.print(line); err != nil {
			return err
		}
	}
	for p := range v.Problems(&profile) {
		if p.Code != "vpasswd.few-colons" { // was reported as it was skipped
			out.note(name, p)
		}
	}
	return nil
}
