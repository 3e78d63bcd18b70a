// Package sendmail reads a Sendmail host as the source of a move: its accounts,
// the domains that it receives mail for, and where their mail stands. It knows
// no format of mail and no target; it yields accounts, paths and rules.
//
// Open takes the root of the old host's file system, mounted or copied, as a
// qmailkit.Tree. Accounts are judged by a Policy, which says who is carried,
// under which name, and with which password field. Mailboxes yields the mbox
// files of an account, in the spool directories and below its home directory,
// and OpenMailbox opens one. Subscriptions are the folders that its owner has
// subscribed to. Domains reads local-host-names and its relatives.
//
// Expander reads what decides about addresses, the rules of sendmail.cf
// included, and its Expand says where mail to an address ends, as "sendmail -bv"
// does. ReadAliases, ReadList and ReadTable read the files of these settings
// without loss, and ParseVirtUser, ParseRoute and ParseAccess take the entries
// of tables apart. Envelope says whether the host takes a message from a client:
// the rules about relaying and the access map.
//
// What a Sendmail host has beside accounts, mailboxes and domains, NotCarried
// finds, counts and reports: aliases, .forward files, tables, filters, queued
// mail. Nothing is dropped in silence, and whoever carries some of it takes those
// reports back by their codes.
//
// # Sequences
//
// Sequences follow the contract of package qmailkit. An oddity that costs an
// item is its error, an *ItemError; AsProblem gives the Problem in it. Oddities
// of an account that is nevertheless one are in Account.Problems. Severity
// Error means that something is not carried.
//
// # Policy
//
// The rules, in the order in which they are asked, with their defaults;
// Policy.Rules gives the same table with the settings in force:
//
//	include      all                  other names are not carried
//	exclude      none                 these names are not carried
//	uid          1000 to 60000        accounts outside are not carried
//	shell        no filter            an account is carried whatever its shell
//	case         folded               of names that become equal one is carried: that in lower case, else the first
//	name         file names only      names that the new host refuses are not carried
//	empty        never                without a password an account is carried locked
//	locked       kept locked          the hash stays behind its mark
//	expired      kept locked          the hash is put behind "!"
//	no password  kept locked          nobody can log in until a password is set
//	scheme       those of crypt(5)    the hash is carried unchanged, and who cannot log in by it is reported
//	postmaster   no usable password   unless one is given, or the old host has an account of that name
//
// The rows name and scheme become the new host's own rules where Policy.NameOK
// and Policy.SchemeOK are set. The last row is for whoever makes the domains.
//
// # Expansion
//
// Expand runs the host's own rules (rulesets 3, 0 and 5) and follows what
// Sendmail 8.17 does with their result (alias.c, recipient.c). It asks no name
// server: no name is made canonical, and MX records are not looked at. Maps other
// than the text of makemap and newaliases (LDAP, NIS, sockets, programs, regex,
// the user database) find nothing. Rights by a supplementary group are not known.
// The text of a table counts, not its database: an older one is a Problem.
//
// It differs deliberately in this: a .forward that is a symbolic link is read
// only where it leads to the user's own file in the same directory, so that
// nobody can have another file read by root. What an address may cost is bounded
// too: rules that do not come to an end, and lists that grow beyond 10,000
// addresses, end in an error.
//
// The m4 source of sendmail.cf is not read. What it sets is in sendmail.cf, which
// is what the host goes by and which may have been changed since: SMART_HOST and
// its like are Expander.Macro, domains are Expander.Class, FEATUREs are maps,
// rules and options. A source that is newer, or has no sendmail.cf, is a Problem.
//
// # Safety
//
// Every name in passwd is taken for hostile, and so is everything below a
// home directory. Symbolic links are followed only in directories that the
// administrator alone can write (qmailkit.Resolve), never in a user's. A home
// directory must not be, hold or lie in one of the system's. A mailbox is a
// regular file which, if it has several links, belongs to the account.
package sendmail
