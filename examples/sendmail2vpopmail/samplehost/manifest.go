package samplehost

import (
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/sendmail"
)

// A Manifest says what is on the sample host.
type Manifest struct {
	Accounts []Account // users from 1000 on, in the order of passwd
	System   []Account // users below 1000 that have mail
	Domains  []string  // in the order of local-host-names, without localhost
	Reported []Report  // beside those of the accounts
}

// An Account is a user of the sample host.
type Account struct {
	Name   string // as in passwd
	Target string // name on the new host
	UID    int
	GID    int
	// Password is the clear password that belongs to Hash; empty where there
	// is none.
	Password qmailkit.Secret
	// Login says that the password is to work on the new host.
	Login     bool
	Hash      qmailkit.Secret // crypt string, without lock marks
	Scheme    string          // in the words of sendmail.Account
	State     sendmail.State
	Mailboxes []Mailbox
	// Subscriptions are in the form of sendmail.Host.Subscriptions.
	Subscriptions [][]string
	Reported      []Report // in going through the mailboxes
}

// A Mailbox is an mbox file.
type Mailbox struct {
	Path     string // relative to the host's root, without links
	Folder   []string
	Bytes    int64
	Messages int  // without the pseudo message
	Pseudo   bool // UW-IMAP's own message comes first
	// UIDValidity and UIDs are what UW-IMAP has given, if anything.
	UIDValidity uint32
	UIDs        []uint32
}

// A Report is a Problem that a migration must not keep to itself.
type Report struct {
	Code string // as in qmailkit.Problem
	Path string
}

// Messages counts all messages of the accounts that are carried.
func (m *Manifest) Messages() int {
	n := 0
	for _, a := range m.Accounts {
		for _, b := range a.Mailboxes {
			n += b.Messages
		}
	}
	return n
}

// Account returns the user of that name, as in passwd, or nil.
func (m *Manifest) Account(name string) *Account {
	for i := range m.Accounts {
		if m.Accounts[i].Name == name {
			return &m.Accounts[i]
		}
	}
	return nil
}

// Now is a time at which the sample host may be read: one account has expired
// before it, and none expires between it and the present.
func Now() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
