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
//
// The Problems of ReadDump and ReadDB, in Server.Problems, are:
//
//	plesk.bad-row           a row that makes no sense, and is passed over
//	plesk.bad-value         a value of a wrong type: it counts as missing
//	plesk.charset           texts in a character set that is not known
//	plesk.no-table          nothing is known of what this table tells
//	plesk.no-column         the same of a column
//	plesk.no-domains        a new host
//	plesk.no-mail           no mail name at all
//	plesk.no-domain         a mail name of a domain that there is not
//	plesk.domain-twice      two domains, or alias domains, of one name
//	plesk.domain-suspended  a status other than 0; also of an alias domain,
//	plesk.mail-suspended    of the mail service,
//	plesk.client-suspended  and of the client
//	plesk.default-quota     the size of mailboxes that have none of their own
//	plesk.unknown-action    mail for unknown names has an unknown fate
//	plesk.catch-all-join    it may have one that psa tells in a doubtful way
//	plesk.no-account        a mailbox without a row in accounts,
//	plesk.no-password       without a password,
//	plesk.password-type     or with one of an unknown type
//	plesk.alias-twice       an alias that is somebody's name or alias already
//	plesk.forward-off       forwards that are switched off
//	plesk.forward-self      a forward to the name itself
//	plesk.mailing-list      a list of Mailman, which is not carried
package plesk
