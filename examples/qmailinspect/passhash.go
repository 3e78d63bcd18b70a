package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/passhash"
)

// hashCheck is the line of the kind passhash.
type hashCheck struct {
	Scheme  passhash.Scheme `json:"scheme"`
	Locked  bool            `json:"locked"`
	Verdict string          `json:"verdict"` // match, mismatch, cannot tell
	Reason  string          `json:"reason,omitempty"`
	Hash    *jsonl.Bytes    `json:"hash,omitempty"`
}

func passhashKind() *cli.Command {
	return &cli.Command{
		Name: "passhash", Max: 0,
		Short: "check a password against a hash: standard input has the hash on one line, the password on the next",
		Long: `The exit code is 0 for a match, 1 for none, 4 for a hash that cannot be checked
here. scheme is that of the hash, behind the mark of a locked account too; such
a hash matches nothing.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			secrets := fs.Bool("secrets", false, "show the hash")
			return printing(func(ctx context.Context, out *lines, _ []string) error {
				in := bufio.NewReader(io.LimitReader(out.env.Stdin, maxItem))
				hash, err := in.ReadString('\n')
				if errors.Is(err, io.EOF) {
					err = cli.Usagef("standard input must have the hash on one line and the password on the next")
				}
				if err != nil {
					return err
				}
				password, err := in.ReadString('\n')
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				hash, password = strings.TrimSuffix(hash, "\n"), strings.TrimSuffix(password, "\n")
				return checkHash(out, hash, password, *secrets)
			})
		},
	}
}

func checkHash(out *lines, hash, password string, secrets bool) error {
	result := passhash.Verify(hash, password)
	inner, locked := passhash.Unlock(hash)
	line := hashCheck{Scheme: passhash.Classify(hash), Locked: locked, Verdict: result.Verdict.String(), Reason: result.Reason}
	if inner != "" {
		line.Scheme = passhash.Classify(inner)
	}
	if secrets {
		line.Hash = ptr(jsonl.Bytes(hash))
	}
	if err := out.print(line); err != nil {
		return err
	}
	switch result.Verdict {
	case passhash.Match:
		return nil
	case passhash.Mismatch:
		return &cli.Exit{Code: cli.Stopped}
	}
	return &cli.Exit{Code: cli.CannotTell, Err: fmt.Errorf("cannot tell: %s", result.Reason)}
}
