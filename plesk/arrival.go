package plesk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// PopUser owns all mail of a Plesk host.
const PopUser = "popuser"

// ErrNoPopUser says that a host has no user popuser: it is no Plesk host, or
// its etc/passwd is not at hand.
var ErrNoPopUser = errors.New("no user " + PopUser)

// An Arrival is what a newly arrived message has: what comes from elsewhere must
// look the same, or Plesk's programs cannot read it.
type Arrival struct {
	User     string // PopUser
	UID, GID int    // its numbers on this host
	// File is the mode of messages and .qmail, Dir that of directories. Neither
	// has an x-bit where there may be none.
	File, Dir fs.FileMode
	// Size is the mode of maildirsize, which also courier's programs read.
	Size fs.FileMode
}

// FindPopUser looks popuser up in etc/passwd of a host. It is 110 and its group
// 31 on all hosts that are known, and by this name on any other. An error wraps
// ErrNoPopUser, or ErrOwner where that would be root.
func FindPopUser(host qmailkit.Tree) (uid, gid int, err error) {
	at, err := qmailkit.Resolve(host, "etc/passwd")
	if err != nil {
		return 0, 0, err
	}
	f, err := host.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, fmt.Errorf("%w: %w", ErrNoPopUser, err)
	}
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	accounts, err := users.ReadPasswd(f)
	if err != nil {
		return 0, 0, fmt.Errorf("etc/passwd: %w", err)
	}
	a, ok := accounts[PopUser]
	if !ok {
		return 0, 0, ErrNoPopUser
	}
	if a.UID == 0 || a.GID == 0 || a.UID > 1<<31-1 || a.GID > 1<<31-1 {
		return 0, 0, fmt.Errorf("etc/passwd: %s: %w", PopUser, ErrOwner)
	}
	return int(a.UID), int(a.GID), nil
}

// samples is how many mailboxes FindArrival looks at.
const samples = 200

// FindArrival says what owner and modes mail has that newly arrives on a host:
// popuser, 0600 and 0700. Messages that wait in new/ of its mailboxes below dir
// are looked at, and another owner or mode there is a Problem plesk.arrival:
// then the host is not as it looks. dir may be missing on a host that has no
// mailbox yet.
func FindArrival(ctx context.Context, host qmailkit.Tree, dir string) (Arrival, []qmailkit.Problem, error) {
	a := Arrival{User: PopUser, File: 0o600, Dir: 0o700, Size: 0o644}
	var err error
	if a.UID, a.GID, err = FindPopUser(host); err != nil {
		return a, nil, err
	}
	var probs []qmailkit.Problem
	left := samples
	for d, err := range ReadMailnames(ctx, host, dir) {
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			if errors.Is(err, qmailkit.ErrIncomplete) {
				return a, probs, err
			}
			continue
		}
		for _, b := range d.Mailboxes {
			if left--; left < 0 {
				return a, probs, nil
			}
			if p, odd := a.sample(ctx, host, b); odd {
				return a, append(probs, p), nil
			}
		}
	}
	return a, probs, nil
}

// sample looks at one message that has just arrived.
func (a *Arrival) sample(ctx context.Context, host qmailkit.Tree, b *Mailbox) (p qmailkit.Problem, odd bool) {
	box, ok := b.Maildir()
	if !ok {
		return p, false
	}
	for e, err := range host.ReadDir(ctx, box+"/new") {
		if err != nil {
			return p, false // who reads the mailbox tells
		}
		at := box + "/new/" + e.Name
		fi, err := host.Lstat(at)
		if err != nil || !fi.Mode.IsRegular() {
			continue
		}
		if fi.UID == a.UID && fi.GID == a.GID && fi.Mode.Perm() == a.File {
			return p, false
		}
		return qmailkit.Problem{Code: "plesk.arrival", Severity: qmailkit.Warning, Path: at,
			Err: fmt.Errorf("a new message belongs to %d:%d and has mode %04o; those of %s should have %d:%d and %04o", fi.UID, fi.GID, fi.Mode.Perm(), PopUser, a.UID, a.GID, a.File),
			Fix: "see that all mail belongs to " + PopUser + " by its name"}, true
	}
	return p, false
}
