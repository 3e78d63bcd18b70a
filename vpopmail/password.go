//go:build unix

package vpopmail

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/passhash"
)

// scheme is the HashKind in the words of passhash.
func (k HashKind) scheme() passhash.Scheme {
	switch k {
	case HashDES:
		return passhash.DES
	case HashSHA512:
		return passhash.SHA512
	}
	return passhash.MD5
}

// hash makes a hash of the kind that the installation makes. vpopmail takes
// the salt from the clock and the process id, so that it can be guessed
// (vpopmail.c:mkpasswd3); here it comes from Options.Rand.
func (s *Store) hash(clear qmailkit.Secret) (qmailkit.Secret, error) {
	var h string
	var err error
	if s.o.Salt != nil {
		h, err = passhash.Make(s.p.Hash.scheme(), string(clear), s.o.Salt(s.p.Hash.saltLen()))
	} else {
		h, err = passhash.Maker{Rand: s.o.Rand}.Make(s.p.Hash.scheme(), string(clear))
	}
	if err != nil {
		return "", fmt.Errorf("vpopmail: hashing a password: %w", err)
	}
	return qmailkit.Secret(h), nil
}

// hashAll hashes many passwords on all processors.
func (s *Store) hashAll(ctx context.Context, list []*readyUser) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	if s.o.Salt != nil || s.o.ownRand {
		// A caller's randomness is for the accounts in their order, and may
		// not bear two readers.
		g.SetLimit(1)
	}
	for _, r := range list {
		g.Go(func() error {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			h, err := s.hash(r.Clear)
			r.want.Hash = h
			return err
		})
	}
	return g.Wait()
}

// samePassword says whether a stored account's password is the one wanted. A
// hash that cannot be verified here counts as another one.
func (s *Store) samePassword(r *readyUser, stored User) bool {
	switch {
	case r.Hash != "":
		return stored.Hash == r.Hash
	case r.NoPassword:
		return stored.Hash == ""
	case s.p.ClearPasswords:
		return stored.Clear == r.Clear
	}
	return passhash.Verify(string(stored.Hash), string(r.Clear)).Verdict == passhash.Match
}
