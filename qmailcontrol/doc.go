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
// All text is bytes. Case is folded for ASCII letters only. The package reads
// at most MaxSize bytes of a file.
package qmailcontrol
