package vpopmail

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The notes are two small files by which a change that was cut short is
// recognised and completed or taken back by the next one. Both are gone when
// the change is done, so a finished tree is what vpopmail leaves. Their names
// have characters that neither a domain nor, by ownNames, a user can have.
const (
	// intentName lies in a domain's directory while its users change.
	intentName = ".qmailkit_change"
	// afterName lies there while something has to follow a change.
	afterName = ".qmailkit_after"
	// pendingName lies beside the domains while some are prepared but not live.
	pendingName = ".qmailkit_pending"
	// tempPrefix begins the names of unfinished files.
	tempPrefix = ".qmailkit_tmp"
)

// text is a byte string in JSON: what is not printable ASCII is escaped as in
// Go, because JSON strings cannot hold all bytes.
type text string

func (t text) MarshalText() ([]byte, error) {
	q := strconv.QuoteToASCII(string(t))
	return []byte(q[1 : len(q)-1]), nil
}

func (t *text) UnmarshalText(b []byte) error {
	s, err := strconv.Unquote(`"` + string(b) + `"`)
	*t = text(s)
	return err
}

// A sideFile is a small file that changes together with a main one.
type sideFile struct {
	Name   text  `json:"name"`
	Before *text `json:"before"` // null: there was none
	After  text  `json:"after"`
}

// intent is the note in a domain's directory. Version 1 is that of the file
// form, 2 that of a database, which has no vpasswd.
type intent struct {
	Version int        `json:"qmailkit_change"`
	After   string     `json:"vpasswd_sha256,omitempty"` // of vpasswd when the change is done
	Users   []madeNote `json:"users,omitempty"`
	Side    []sideFile `json:"side,omitempty"`
	// Row is the counter of the hash directories where a database has it.
	Row *counterRow `json:"row,omitempty"`
}

type madeNote struct {
	Name text `json:"name"`
	Dir  text `json:"dir"`
}

// parseIntent reads the note of a change of this version. That of another is
// for another Backend to carry out.
func parseIntent(b []byte, version int) (*intent, error) {
	var n intent
	if err := json.Unmarshal(b, &n); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotesDamaged, err)
	}
	if n.Version != version {
		return nil, fmt.Errorf("%w: version %d", ErrNotesDamaged, n.Version)
	}
	for _, u := range n.Users {
		if !plainPath(string(u.Dir)) {
			return nil, fmt.Errorf("%w: directory %q", ErrNotesDamaged, u.Dir)
		}
	}
	for _, f := range n.Side {
		if f.Name != ".dir-control" && f.Name != ".dir_control_free" {
			return nil, fmt.Errorf("%w: side file %q", ErrNotesDamaged, f.Name)
		}
	}
	return &n, nil
}

// plainPath says whether every part of a path is a plain name.
func plainPath(p string) bool {
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." || strings.IndexByte(part, 0) >= 0 {
			return false
		}
	}
	return true
}

// pendingDomain is one domain in the note beside the domains.
type pendingNote struct {
	Name text `json:"name"`
	UID  int  `json:"uid"`
	GID  int  `json:"gid"`
	Dir  text `json:"dir"`
	// Made says that the directory is complete. Before that the domain is
	// taken back by the next change.
	Made bool `json:"made"`
	// Counter is the path of the .dir-control that counted the domain, empty
	// if none did, and what it was before and after.
	Counter text      `json:"counter,omitempty"`
	Side    *sideFile `json:"side,omitempty"`
	// Row is the same where a DomainKeeper counts.
	Row *counterRow `json:"row,omitempty"`
	// Virtual and Rcpt are how many lines equal to the domain's own stood in
	// virtualdomains and in rcpthosts and morercpthosts before it went live.
	Virtual int `json:"virtual,omitempty"`
	Rcpt    int `json:"rcpt,omitempty"`
}

// A counterRow is the counter of the domains of a uid around a change.
type counterRow struct {
	Before DirControl `json:"before"`
	After  DirControl `json:"after"`
}

type pendingNotes struct {
	Version int           `json:"qmailkit_pending"`
	Domains []pendingNote `json:"domains"`
	Leaving []leavingNote `json:"leaving,omitempty"`
}

func parsePending(b []byte) (*pendingNotes, error) {
	n := pendingNotes{Version: 1}
	if b == nil {
		return &n, nil
	}
	if err := json.Unmarshal(b, &n); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotesDamaged, err)
	}
	if n.Version != 1 {
		return nil, fmt.Errorf("%w: version %d", ErrNotesDamaged, n.Version)
	}
	return &n, nil
}

func (n *pendingNotes) find(name string) int {
	for i, d := range n.Domains {
		if string(d.Name) == name {
			return i
		}
	}
	return -1
}

func (n *pendingNote) domain() *Domain {
	return &Domain{Name: string(n.Name), Real: string(n.Name), UID: n.UID, GID: n.GID, Dir: string(n.Dir), Pending: true}
}

// noteBytes is how notes are written.
func noteBytes(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(b, '\n'), err
}
