// Package qmailcontrol reads and writes the files of qmail's control directory.
//
// Start with Load, which reads one file into Lines, and Save, which replaces
// one durably. Lines keep every byte: comments, order, blank lines, a missing
// newline at the end. What qmail makes of a file is told by the methods of
// Lines, one for each way in which qmail reads (control.c, constmap.c):
//
//	First   a file of one line, such as me
//	Int     a file with a number, such as concurrencyremote
//	Values  a list, such as rcpthosts; Set looks things up in it
//	Map     key:value lines, such as virtualdomains
//
// Files tells which file is read in which way and what stands where it is
// missing. NewMRH and WriteMorercpthosts make morercpthosts.cdb.
//
// A whole directory is a Config, which LoadConfig and ReadConfig read. It
// answers what qmail would do, as the program in question decides it:
//
//	RcptHosts  which recipients are accepted (qmail-smtpd, qmail-qmtpd)
//	SMTPD      the replies to an envelope (qmail-smtpd)
//	Send       local, virtual or remote, and the rewritten name (qmail-send)
//	Remote     the host that remote mail goes to (qmail-remote)
//	Inject     addresses completed (qmail-inject)
//	ShowCtl    the text of qmail-showctl
//
// Check tells what breaks mail. To edit, change a Clone, let Diff make a Plan of
// it, show that, and Apply it: file by file in an order that cannot bounce, each
// in one step, and the way back comes as a Plan too.
//
// All text is bytes. Case is folded for ASCII letters only. The package reads
// at most MaxSize bytes of a file.
package qmailcontrol
