// Package mbox reads and writes mailboxes in the mbox format: many messages in
// one file, each behind a line that begins "From ".
//
// The format was never written down before everybody had their own, so the
// work is in telling a separator from a line of text that looks like one. The
// rule used here looks at the shape of the line, the blank line before it, the
// header lines behind it, a Content-Length that lands where it should, and a
// multipart message that is still open. It was made by comparing fourteen
// readers on 189 mailboxes out of other projects' test suites.
//
// To read a file, take [Index], which splits an io.ReaderAt at nearly the
// speed of memory and says where each message is, so that several workers can
// copy with [Body] at the same time. To read a stream, take [Reader]. Both find
// exactly the same messages. [Writer] writes, [Lock] locks a spool the way mail
// programs do, [Detect] tells the variants apart, and [StripState] takes off
// the header lines that mail programs keep their state in.
//
// A message is handed over as it is stored, byte for byte, with the quoting of
// "From " lines undone and the one blank line before the next separator taken
// off. Nothing is added, line ends stay as they are, and the state headers
// (Status and its kin) stay in place; they are also decoded into [Header].
//
// # What an mbox is
//
// An mbox begins, after blank lines and a UTF-8 byte order mark, with a "From "
// line; else reading ends with [ErrNotMbox]. [Options].SkipPrologue searches
// for the first separator instead. An empty file is an mbox without messages.
//
// # Variants
//
// The variants differ in how a "From " line inside a message is hidden (see
// [Format]). The split is the same for all of them; the Format only says how
// quoting is undone. [Auto] undoes it as mboxrd does, which is also right for
// mboxo but for messages that had a ">From " line themselves, and undoes
// nothing where a right Content-Length found the end of the message, because
// such a file is an mboxcl2.
//
// # Limits
//
// Memory is bounded whatever the file holds. A "From " line counts as text when
// it is longer than 64 KiB. State headers are read in the first MiB of a
// message's header. A Content-Length, and the end of a multipart message that
// hides a separator, are looked for at most [Options].LookAhead bytes ahead,
// and such searches in vain may cost a few times the length of the file. Where
// a limit was met, Problems says so.
package mbox
