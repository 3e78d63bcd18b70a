// Package qmailkit is the root of a library for moving mail: it holds what all
// of its packages share. Each of them reads and writes one of the formats that
// qmail hosts live on; the programs below examples compose them into
// migrations.
//
//	mbox                mailboxes in one file: split, write, lock
//	maildir             messages in files: names, folders, delivery, bulk import
//	qmailcontrol        qmail's control files, lossless
//	qmailcontrol/users  users/assign and users/cdb, as qmail-newu and qmail-lspawn have them
//	vpopmail            domains and accounts of vpopmail, and qmail's files for them
//	plesk               a Plesk host: its database and its tree of mailboxes
//	queue               the qmail queue: read, check, repair, clean, submit
//	sendmail            a Sendmail host as the source of a move
//
// To look into a mailbox, begin with mbox or maildir. To make accounts on a
// vpopmail host, begin with vpopmail; to mend a queue, with queue. To move a
// whole host, begin with the program examples/sendmail2vpopmail or
// examples/qmailmove and take from it what you need.
//
// # Three contracts
//
// Sequences are iter.Seq2[T, error]. A non-nil error concerns that item only,
// and the caller's continue or break is the policy. An error that ends the
// sequence before its end wraps ErrIncomplete, so that a loop that continues
// after errors cannot take a broken read for success. Breaking early releases
// all. Where reading is sequential there is Next, ending in io.EOF, and the
// sequence is a thin form of it.
//
// Bytes that come in go out the same. To parse and then to write is the
// identity on what was not edited, for every format; an edit touches its own
// line. Mail, names and addresses are bytes: they are never re-encoded, and
// nothing is assumed to be UTF-8.
//
// An error says that this call did not do its job. It tells file, line and
// offset where there are any, and matches with errors.Is and errors.As. An
// oddity in old data is a Problem instead: a value with a stable code and a
// place. Checkers never change anything.
//
// # Safety
//
// The library is made to run as root over directories that belong to users.
// Sources are read through a Tree, targets are given as *os.Root. No symbolic
// link that a user could have made is followed, nothing but plain files is
// opened, nothing is replaced that was not meant, and no buffer has the size
// that a file asks for. What is reported done is on the disk.
//
// There are no package-level switches and no logging. Clocks, host names,
// process numbers and randomness are fields of options, which tests may set.
package qmailkit
