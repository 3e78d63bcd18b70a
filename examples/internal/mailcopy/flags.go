package mailcopy

import (
	"flag"
	"fmt"
	"time"

	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/mbox"
)

// Flags declares the flags that say how mail is read and written, which are
// the same in every program.
func Flags(fs *flag.FlagSet, o *Options, commit *maildir.CommitOptions, enc *maildir.Encoding, uidl *UIDLStyle) {
	fs.Func("format", "`auto|o|rd|cl|cl2`: how \"From \" lines in messages are hidden (default auto)", func(s string) (err error) {
		o.Format, err = mbox.ParseFormat(s)
		return err
	})
	fs.Func("sync", "`each|group|none`: sync each message, groups of about 1,000, or nothing (default group)", func(s string) (err error) {
		commit.Sync, err = maildir.ParseSyncPolicy(s)
		return err
	})
	fs.BoolVar(&commit.NoSyncFS, "no-syncfs", false, "sync file by file: for network and busy file systems")
	commit.Writers = 2
	fs.Func("workers", "how many messages are written at once, `N` from 1 to 64 (default 2)", func(s string) error {
		if _, err := fmt.Sscanf(s, "%d", &commit.Writers); err != nil || fmt.Sprint(commit.Writers) != s || commit.Writers < 1 || commit.Writers > 64 {
			return fmt.Errorf("not a number from 1 to 64")
		}
		return nil
	})
	fs.BoolVar(&o.Strip, "strip", false, "leave the mbox layer's own headers (Status, X-UID ...) out of the messages")
	fs.BoolFunc("utf8", "write folder names in UTF-8, as Dovecot does with :UTF-8, instead of modified UTF-7", func(string) error {
		*enc = maildir.UTF8
		return nil
	})
	word := *uidl
	if word == offUIDL {
		word = "off"
	}
	o.UIDs = *uidl != offUIDL
	fs.Func("uidl", "`none|x-uidl|uw|off`: seed dovecot-uidlist and courierimapuiddb with the mbox's UIDs and, as named, Dovecot's with its POP3 UIDLs (default "+string(word)+")", func(s string) (err error) {
		*uidl, err = ParseUIDLStyle(s)
		o.UIDs = *uidl != offUIDL
		return err
	})
	fs.DurationVar(&o.LockWait, "lock-wait", 30*time.Second, "how long to wait for the lock of a spool; 0 takes none")
}
