// Package maildir reads and writes Maildirs: the format of maildir(5) with the
// folders and quotas of Maildir++, and the files that Dovecot and Courier keep
// beside the messages.
//
// To look at a Maildir, Open it and range over Messages and Folders. To put one
// message into it, use Deliver. To bring many, use a Committer: it imports into
// any number of Maildirs, makes groups of messages durable with one sync, and
// can be killed anywhere and run again. Name takes a message's file name apart
// without losing a byte of it.
//
// Messages are bytes and are never changed. Directories belong to their users:
// no link is followed, nothing but plain files is opened, nothing is replaced,
// and owner and mode are set on open descriptors.
//
// # Reruns
//
// An import records in the Maildir what it brought (see JournalName). A message
// that an earlier run delivered is not delivered again, wherever its reader has
// moved it. Only its flags follow the source's, and only where the reader has
// not touched them. See ID for what makes two messages the same.
//
// A Maildir is not safe against two imports at once; the caller holds a lock.
package maildir
