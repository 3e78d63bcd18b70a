// Package plesk moves the mail of a Plesk host with qmail: it reads what the
// source keeps, and makes the same on a target.
//
// ReadDB and ReadDump read the database psa, live or from a dump: domains, mail
// names, aliases, forwards, groups, autoresponders, quotas, passwords. A
// SecretKey opens passwords of the type sym. ReadMailnames reads the tree of
// mailboxes, CheckTree compares it with psa, and package maildir moves what is
// in a Maildir.
//
// PlanAccounts says what is to be created on the target, and what cannot be
// carried and why. There are three ways to do it: Commands are the calls of the
// target's own tools, with passwords in the environment; UpdateUsers with
// AddAssign and SetPop, and EditControl, write qmail's files; WriteAccounts
// writes the rows of psa.
//
// The numbers of domains in control/virtualdomains and users/assign are those
// of one host. On the target they are looked up (DomainIDs), never copied; nor
// is anything else that belongs to a host: its key, mail handlers, caches.
//
// What no source says of Plesk's files is read leniently, kept as it stands and
// told: further fields of users/poppasswd, lines of .qmail that Plesk does not
// write, types of passwords.
package plesk
