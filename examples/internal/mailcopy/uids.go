package mailcopy

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/qmailkit/qmailkit/maildir"
)

// UIDLStyle says which POP3 UIDL the old server gave a message.
type UIDLStyle string

// The styles that can be told from an mbox.
const (
	NoUIDL  UIDLStyle = "none"   // UIDs for IMAP only
	XUIDL   UIDLStyle = "x-uidl" // the header X-UIDL, as qpopper keeps it
	UWUIDL  UIDLStyle = "uw"     // UIDVALIDITY and UID in hexadecimal, as UW ipop3d and Dovecot
	offUIDL UIDLStyle = ""
)

// ParseUIDLStyle reads a style; empty is off.
func ParseUIDLStyle(s string) (UIDLStyle, error) {
	switch u := UIDLStyle(s); u {
	case NoUIDL, XUIDL, UWUIDL, offUIDL:
		return u, nil
	}
	return "", fmt.Errorf("UIDL style %q is none of none, x-uidl, uw", s)
}

// maxUID bounds the UIDs that are taken over, so that as many can follow. An
// mbox can say anything.
const maxUID = 1 << 31

// SeedUIDs writes the dovecot-uidlist of each folder that the boxes went to,
// from the UIDs that their messages had. It leaves a folder alone that has such
// a list already, or whose mboxes had no UIDs; trouble with one folder does not
// hold up the others. n is the number of messages in the lists.
func SeedUIDs(inbox *maildir.Dir, results []*Result, style UIDLStyle) (n int, err error) {
	byFolder := map[string][]*Result{}
	for _, r := range results {
		byFolder[r.Folder] = append(byFolder[r.Folder], r)
	}
	for _, rs := range byFolder {
		k, e := seedFolder(inbox, rs, style)
		n += k
		err = errors.Join(err, e)
	}
	return n, err
}

func seedFolder(inbox *maildir.Dir, results []*Result, style UIDLStyle) (n int, err error) {
	list, err := uidList(inbox, results, style)
	if err != nil || list == nil {
		return 0, err
	}
	d, err := inbox.Folder(results[0].Folder)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	err = d.SeedUIDList(list)
	if errors.Is(err, fs.ErrExist) {
		return 0, nil
	}
	return len(list.Records), err
}

// uidList gathers the records of one folder, in the order of their UIDs.
// Messages without a UID come last, in the order of the mbox.
func uidList(inbox *maildir.Dir, results []*Result, style UIDLStyle) (*maildir.UIDList, error) {
	hist, err := inbox.History()
	if err != nil {
		return nil, err
	}
	defer hist.Close()
	list := &maildir.UIDList{}
	useful := false
	var rest []maildir.UIDRecord
	for _, r := range results {
		if r.Base != nil && list.Validity == 0 && r.Base.LastUID <= maxUID {
			list.Validity, list.Next = r.Base.UIDValidity, r.Base.LastUID+1
		}
		for _, u := range r.UIDs {
			e, ok, err := hist.Entry(u.ID)
			if err != nil {
				return nil, err
			}
			if !ok || e.Folder != r.Folder {
				continue
			}
			rec := maildir.UIDRecord{UID: u.UID, Base: e.Name.Base()}
			if p := oldUIDL(r, u, style); p != "" {
				rec.Fields = append(rec.Fields, "P"+p)
				useful = true
			}
			if u.UID == 0 || u.UID > maxUID {
				rest = append(rest, rec)
				continue
			}
			useful = true
			list.Records = append(list.Records, rec)
		}
	}
	if !useful {
		return nil, nil
	}
	number(list, rest)
	return list, nil
}

// number sorts the list and gives UIDs to those that have none or share one.
func number(list *maildir.UIDList, rest []maildir.UIDRecord) {
	slices.SortStableFunc(list.Records, func(a, b maildir.UIDRecord) int { return cmp.Compare(a.UID, b.UID) })
	kept := list.Records[:0]
	var last uint32
	for _, r := range list.Records {
		if r.UID == last {
			rest = append(rest, r)
			continue
		}
		last = r.UID
		kept = append(kept, r)
	}
	list.Records = kept
	list.Next = max(list.Next, last+1)
	for _, r := range rest {
		r.UID = list.Next
		list.Next++
		list.Records = append(list.Records, r)
	}
	if list.Validity == 0 {
		list.Validity = 1
	}
}

// oldUIDL is what a POP3 client knows the message by; empty if it cannot be
// told, or could not stand in the list.
func oldUIDL(r *Result, u UID, style UIDLStyle) string {
	s := ""
	switch style {
	case XUIDL:
		s = u.UIDL
	case UWUIDL:
		if r.Base != nil && u.UID != 0 {
			s = fmt.Sprintf("%08x%08x", r.Base.UIDValidity, u.UID)
		}
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '!' || s[i] > '~' {
			return ""
		}
	}
	if len(s) > 70 { // RFC 1939 section 7
		return ""
	}
	return s
}
