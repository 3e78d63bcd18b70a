package mailcopy

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/qmailkit/qmailkit/maildir"
	"github.com/qmailkit/qmailkit/mbox"
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

// ParseUIDLStyle reads a style; empty is off, too.
func ParseUIDLStyle(s string) (UIDLStyle, error) {
	switch u := UIDLStyle(s); u {
	case NoUIDL, XUIDL, UWUIDL, offUIDL:
		return u, nil
	case "off":
		return offUIDL, nil
	}
	return "", fmt.Errorf("UIDL style %q is none of none, x-uidl, uw, off", s)
}

// maxUID bounds the UIDs that are taken over, so that as many can follow. An
// mbox can say anything.
const maxUID = 1 << 31

// SeedUIDs writes the dovecot-uidlist and the courierimapuiddb of each folder
// that the boxes went to, from the UIDs that their messages had. It leaves a
// folder alone whose list a server has read, or whose mboxes had no UIDs;
// trouble with one folder does not hold up the others. n is the number of
// messages in the lists.
//
// A folder whose UIDs cannot be taken over, and which needs a list for its
// UIDLs, gets a new UIDVALIDITY, as servers do from the time, which is now.
func SeedUIDs(inbox *maildir.Dir, results []*Result, style UIDLStyle, now time.Time) (n int, err error) {
	byFolder := map[string][]*Result{}
	for _, r := range results {
		byFolder[r.Folder] = append(byFolder[r.Folder], r)
	}
	for i, folder := range slices.Sorted(maps.Keys(byFolder)) {
		// Each has another, so that a folder that gets the name of another one
		// is not taken for it.
		k, e := seedFolder(inbox, byFolder[folder], style, uint32(now.Unix())+uint32(i))
		n += k
		err = errors.Join(err, e)
	}
	return n, err
}

func seedFolder(inbox *maildir.Dir, results []*Result, style UIDLStyle, validity uint32) (n int, err error) {
	d, err := inbox.Folder(results[0].Folder)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	was, err := d.UIDList()
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil || len(was.Fields) > 0:
		return 0, nil // a server's
	default:
		validity = was.Validity
	}
	list, err := uidList(inbox, results, style, validity)
	if err != nil || list == nil {
		return 0, err
	}
	if was != nil && was.Validity == list.Validity {
		extend(list, was)
	}
	if err = d.SeedUIDList(list); errors.Is(err, fs.ErrExist) {
		return 0, nil
	}
	if err == nil {
		err = d.SeedCourierUIDs(list, was)
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil // Courier has its own
	}
	return len(list.Records), err
}

// extend keeps the UIDs that an earlier run has written: somebody may have seen
// them. What is new comes behind them.
func extend(list, was *maildir.UIDList) {
	fresh := map[string]maildir.UIDRecord{}
	for _, r := range list.Records {
		fresh[r.Base] = r
	}
	var last uint32
	var all []maildir.UIDRecord
	for _, r := range was.Records {
		if now, ok := fresh[r.Base]; ok {
			r.Fields = now.Fields
		}
		delete(fresh, r.Base)
		all = append(all, r)
		last = max(last, r.UID)
	}
	next := max(last+1, was.Next)
	for _, r := range list.Records {
		if _, ok := fresh[r.Base]; !ok {
			continue
		}
		if r.UID <= last {
			r.UID = next
		}
		last = r.UID
		next = max(next, last+1)
		all = append(all, r)
	}
	list.Records, list.Next = all, max(list.Next, next)
}

// usable says whether an mbox's own numbers can be gone on with: without a
// UIDVALIDITY servers do not look at UIDs at all (mbox-sync-parse.c of Dovecot,
// unix.c of c-client).
func usable(b *mbox.IMAPBase) bool {
	return b != nil && b.UIDValidity != 0 && b.LastUID <= maxUID
}

// uidList gathers the records of one folder. The UIDs of the first mbox that
// has any are kept. Messages of the others come behind it, because their UIDs
// belong to another UIDVALIDITY, under which clients know other messages by
// them. It is nil where there is nothing that a server would not do by itself.
func uidList(inbox *maildir.Dir, results []*Result, style UIDLStyle, validity uint32) (*maildir.UIDList, error) {
	first := slices.IndexFunc(results, func(r *Result) bool { return usable(r.Base) })
	useful := first >= 0
	if !useful && style == NoUIDL {
		return nil, nil
	}
	hist, err := inbox.History()
	if err != nil {
		return nil, err
	}
	defer hist.Close()
	list := &maildir.UIDList{Next: 1}
	if useful {
		list.Validity, list.Next = results[first].Base.UIDValidity, results[first].Base.LastUID+1
	}
	var rest []maildir.UIDRecord
	for i, r := range results {
		for _, u := range kept(r) {
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
			if i == first && u.UID != 0 {
				list.Next = max(list.Next, u.UID+1)
				list.Records = append(list.Records, rec)
				continue
			}
			rest = append(rest, rec)
		}
	}
	if !useful {
		return nil, nil
	}
	for _, rec := range rest {
		rec.UID = list.Next
		list.Next++
		list.Records = append(list.Records, rec)
	}
	if list.Validity == 0 {
		list.Validity = validity
	}
	return list, nil
}

// kept are the messages of an mbox in their order, with the UIDs that a server
// of the mbox would go on with (parse_x_uid of Dovecot's mbox-sync-parse.c): in
// rising order, and not beyond the next one that the mbox would give, because
// anybody can send mail with a UID in its header. From the first other one on
// all messages would get new UIDs; those have 0.
func kept(r *Result) []UID {
	all := slices.Clone(r.UIDs)
	slices.SortStableFunc(all, func(a, b UID) int { return cmp.Compare(a.Offset, b.Offset) })
	if r.Base == nil {
		r = &Result{Base: &mbox.IMAPBase{}}
	}
	broken, last, next := r.Base.UIDValidity == 0, uint32(0), uint64(r.Base.LastUID)+1
	for i := range all {
		u := &all[i]
		if broken = broken || u.UID <= last || uint64(u.UID) > next; broken {
			u.UID = 0
			continue
		}
		last, next = u.UID, max(next, uint64(u.UID)+1)
	}
	return all
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
