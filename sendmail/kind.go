package sendmail

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// Kinds of files, by their first bytes, and of directories.
const (
	mboxFile  = "mbox"
	blankFile = "blank"
	otherFile = "other"
	mhFolder  = "MH"
)

// sniffSize is the number of bytes in which a mailbox must show what it is.
const sniffSize = 4096

// sniff reads the beginning of a file in a user's directory.
func (h *Host) sniff(path string, uid int) (string, error) {
	f, err := h.openOwned(path, uid)
	if err != nil {
		return "", err
	}
	defer f.Close()
	buf := make([]byte, sniffSize)
	n, err := io.ReadFull(f, buf)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", err
	}
	return kindOf(buf[:n], n < sniffSize), nil
}

// kindOf tells a mailbox by its beginning; whole says that b is all of it.
func kindOf(b []byte, whole bool) string {
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	for blank := true; blank; {
		if b, blank = bytes.CutPrefix(b, []byte("\n")); !blank {
			b, blank = bytes.CutPrefix(b, []byte("\r\n"))
		}
	}
	for _, k := range [...]struct{ magic, kind string }{
		{"From ", mboxFile},
		{"*mbx*", "mbx"},
		{"\x01\x01\x01\x01\n", "MMDF"},
		{"BABYL OPTIONS:", "Babyl"},
	} {
		if bytes.HasPrefix(b, []byte(k.magic)) {
			return k.kind
		}
	}
	if len(b) == 0 && whole {
		return blankFile
	}
	return otherFile
}

// dirKind tells a directory that is itself a mailbox of another format by the
// names in it; it is empty for a directory of folders.
func dirKind(names []qmailkit.DirEntry) string {
	dirs := 0
	mh := false
	for _, e := range names {
		switch {
		case e.Type.IsDir() && (e.Name == "cur" || e.Name == "new" || e.Name == "tmp"):
			dirs++
		case e.Name == ".mixmeta":
			return "mix"
		case e.Name == "dbox-Mails":
			return "dbox"
		case e.Name == ".mh_sequences", e.Name == ".xmhcache":
			mh = true
		}
	}
	if dirs == 3 {
		return "Maildir"
	}
	if mh {
		return mhFolder
	}
	return ""
}

func numeric(name string) bool {
	return name != "" && strings.Trim(name, "0123456789") == ""
}

// passedOver are names that mail programs keep for themselves: Dovecot's .imap,
// .subscriptions, UW's .mailboxlist.
func passedOver(name string) bool { return strings.HasPrefix(name, ".") }

// isLock says whether name is the dotlock of another of names, which are
// sorted.
func isLock(names []qmailkit.DirEntry, name string) bool {
	base, ok := strings.CutSuffix(name, ".lock")
	if !ok {
		return false
	}
	_, found := slices.BinarySearchFunc(names, base, func(e qmailkit.DirEntry, b string) int { return strings.Compare(e.Name, b) })
	return found
}
