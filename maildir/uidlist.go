package maildir

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Names of the files that keep UIDs, one a folder.
const (
	UIDListName = "dovecot-uidlist"  // Dovecot, version 3
	CourierUIDs = "courierimapuiddb" // Courier; Dovecot's version 1
)

// A UIDList says which UIDs the messages of a folder have, and for Dovecot
// also which POP3 UIDLs. Header fields and record fields that are not known
// here are kept.
type UIDList struct {
	Validity uint32
	Next     uint32   // the UID of the next message
	Fields   []string // other fields of the header, as "Gxxxx"
	Records  []UIDRecord
}

// A UIDRecord is one message of a UIDList.
type UIDRecord struct {
	UID    uint32
	Fields []string // "S123", "Pold-uidl": a letter and its value
	Base   string   // file name without info
}

// Field is the value of the record's field with this letter.
func (r *UIDRecord) Field(key byte) (string, bool) {
	for _, f := range r.Fields {
		if f[0] == key {
			return f[1:], true
		}
	}
	return "", false
}

// A UID list is read whole. A line holds a file name and a few fields; a list
// with more records than this is taken for an attack on the memory.
const (
	maxUIDList    = 128 << 20
	maxUIDLine    = 8192
	maxUIDRecords = 2 << 20
	maxUIDFields  = 4 * maxUIDRecords // of all records
)

// ParseUIDList reads dovecot-uidlist, version 3 or 1, or courierimapuiddb.
func ParseUIDList(b []byte) (*UIDList, error) {
	fail := func(line int, why string) (*UIDList, error) {
		return nil, fmt.Errorf("maildir: UID list, line %d: %s", line, why)
	}
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, maxUIDLine)
	sc.Split(scanLF)
	if !sc.Scan() {
		return fail(1, "empty")
	}
	u := &UIDList{}
	version, err := u.header(strings.Split(sc.Text(), " "))
	if err != nil {
		return fail(1, err.Error())
	}
	fields := 0
	for n := 2; sc.Scan(); n++ {
		uid, rest, _ := strings.Cut(sc.Text(), " ")
		id, err := strconv.ParseUint(uid, 10, 32)
		if err != nil {
			return fail(n, "no UID")
		}
		r := UIDRecord{UID: uint32(id), Base: rest}
		if version == 3 {
			f, base, ok := cutFields(rest)
			if !ok {
				return fail(n, "no file name")
			}
			r.Fields, r.Base = f, base
		}
		fields += len(r.Fields)
		if len(u.Records) == maxUIDRecords || fields > maxUIDFields {
			return fail(n, "too many records or fields")
		}
		r.Base, _, _ = strings.Cut(r.Base, ":")
		if r.Base == "" {
			return fail(n, "no file name")
		}
		u.Records = append(u.Records, r)
	}
	if err := sc.Err(); err != nil {
		return fail(len(u.Records)+2, err.Error())
	}
	return u, nil
}

// scanLF parts lines as bufio.ScanLines does, but keeps a CR: a file name may
// end in one.
func scanLF(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

func (u *UIDList) header(f []string) (version int, err error) {
	number := func(s string) uint32 {
		n, e := strconv.ParseUint(s, 10, 32)
		err = errors.Join(err, e)
		return uint32(n)
	}
	switch {
	case f[0] == "3":
		for _, v := range f[1:] {
			switch {
			case v == "":
			case v[0] == 'V':
				u.Validity = number(v[1:])
			case v[0] == 'N':
				u.Next = number(v[1:])
			default:
				u.Fields = append(u.Fields, v)
			}
		}
		return 3, err
	case f[0] == "1" && len(f) >= 3:
		u.Validity, u.Next = number(f[1]), number(f[2])
		return 1, err
	}
	return 0, errors.New("a version not known here")
}

// cutFields parts the fields of a record from the file name after " :".
func cutFields(s string) (fields []string, base string, ok bool) {
	for !strings.HasPrefix(s, ":") {
		f, rest, more := strings.Cut(s, " ")
		if !more {
			return nil, "", false
		}
		if f != "" {
			fields = append(fields, f)
		}
		s = rest
	}
	return fields, s[1:], len(s) > 1
}

// Bytes is the list as Dovecot writes its version 3; what Dovecot has written
// comes back byte for byte.
func (u *UIDList) Bytes() []byte {
	b := fmt.Appendf(nil, "3 V%d N%d", u.Validity, u.Next)
	for _, f := range u.Fields {
		b = append(append(b, ' '), f...)
	}
	b = append(b, '\n')
	for _, r := range u.Records {
		b = strconv.AppendUint(b, uint64(r.UID), 10)
		for _, f := range r.Fields {
			b = append(append(b, ' '), f...)
		}
		b = append(append(append(b, " :"...), r.Base...), '\n')
	}
	return b
}

// CourierBytes is the list as courierimapuiddb has it; fields are lost.
func (u *UIDList) CourierBytes() []byte {
	b := fmt.Appendf(nil, "1 %d %d\n", u.Validity, u.Next)
	for _, r := range u.Records {
		b = fmt.Appendf(b, "%d %s\n", r.UID, r.Base)
	}
	return b
}

// UIDList reads the folder's dovecot-uidlist. A missing file is an error that
// wraps fs.ErrNotExist.
func (d *Dir) UIDList() (*UIDList, error) {
	b, err := d.root.ReadFile(UIDListName, maxUIDList)
	if err != nil {
		return nil, err
	}
	return ParseUIDList(b)
}

// SeedUIDList writes dovecot-uidlist for a folder that has none yet, before a
// server has opened it: IMAP and POP3 clients then keep what they know. Where
// one exists it stays, and fs.ErrExist is wrapped; but one that was seeded, and
// that no server has read since, is replaced. Dovecot puts a field of its own
// into the header of each list that it has read.
func (d *Dir) SeedUIDList(u *UIDList) error {
	if err := u.check(); err != nil {
		return err
	}
	switch old, err := d.root.ReadFile(UIDListName, maxUIDList); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		was, err := ParseUIDList(old)
		if err == nil && len(was.Fields) == 0 && bytes.Equal(old, was.Bytes()) && len(u.Fields) == 0 {
			if bytes.Equal(old, u.Bytes()) {
				return nil
			}
			return d.writeSide(UIDListName, u.Bytes(), false)
		}
		return &fs.PathError{Op: "create", Path: d.root.Name() + "/" + UIDListName, Err: fs.ErrExist}
	}
	return d.seed(UIDListName, u.Bytes())
}

// SeedCourierUIDs does the same with courierimapuiddb, for Courier. A file that
// is there stays, and fs.ErrExist is wrapped, unless it says just what was says,
// the list that was seeded before; was may be nil.
func (d *Dir) SeedCourierUIDs(u, was *UIDList) error {
	if err := u.check(); err != nil {
		return err
	}
	text := u.CourierBytes()
	old, err := d.root.ReadFile(CourierUIDs, maxUIDList)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d.seed(CourierUIDs, text)
	case err != nil:
		return err
	case bytes.Equal(old, text):
		return nil
	case was != nil && bytes.Equal(old, was.CourierBytes()):
		return d.writeSide(CourierUIDs, text, false)
	}
	return &fs.PathError{Op: "create", Path: d.root.Name() + "/" + CourierUIDs, Err: fs.ErrExist}
}

// seed makes a file. It is not simply replaced: a server may have made its own
// meanwhile.
func (d *Dir) seed(name string, text []byte) error {
	tmp := "." + name + ".seed"
	err := d.writeSide(tmp, text, false)
	if err == nil {
		err = d.root.RenameExcl(tmp, d.root, name)
	}
	if err != nil {
		d.root.Remove(tmp)
		return err
	}
	return d.root.Sync()
}

// check says whether the list reads back as it is.
func (u *UIDList) check() error {
	fine := func(f string) bool { return f != "" && f[0] != ':' && !strings.ContainsAny(f, " \n\r\x00") }
	for _, f := range u.Fields {
		if !fine(f) || f[0] == 'V' || f[0] == 'N' {
			return fmt.Errorf("maildir: %q cannot stand in a UID list", f)
		}
	}
	for _, r := range u.Records {
		for _, f := range r.Fields {
			if !fine(f) {
				return fmt.Errorf("maildir: UID %d: %q cannot stand in a UID list", r.UID, f)
			}
		}
		if r.Base == "" || strings.ContainsAny(r.Base, ":\n\x00") {
			return fmt.Errorf("maildir: UID %d: %q cannot stand in a UID list", r.UID, r.Base)
		}
	}
	return nil
}

// Subscriptions of a Maildir: Courier's file has "INBOX.A.B" a line in the
// folder encoding, Dovecot's has "V\t2", a blank line, and names whose levels
// a tab parts.
const (
	CourierSubscribed = "courierimapsubscribed"
	DovecotSubscribed = "subscriptions"
)

// Subscribe adds folders to both lists and keeps what stands there. The
// folders are directory names, "." for the INBOX.
func (d *Dir) Subscribe(folders []string) error {
	var courier, dovecot []string
	for _, f := range folders {
		if _, ok := FolderLevels(f, UTF8); !ok || strings.ContainsAny(f, "\n\t\x00") {
			return fmt.Errorf("%w: %q", ErrFolder, f)
		}
		if f == "." {
			courier, dovecot = append(courier, "INBOX"), append(dovecot, "INBOX")
			continue
		}
		courier = append(courier, "INBOX"+f)
		dovecot = append(dovecot, strings.ReplaceAll(f[1:], ".", "\t"))
	}
	if err := d.addLines(CourierSubscribed, "", courier); err != nil {
		return err
	}
	return d.addLines(DovecotSubscribed, "V\t2\n\n", dovecot)
}

// addLines adds the lines that a file lacks.
func (d *Dir) addLines(name, head string, lines []string) error {
	old, err := d.root.ReadFile(name, maxSideFile)
	if errors.Is(err, fs.ErrNotExist) {
		old = []byte(head)
	} else if err != nil {
		return err
	}
	if head != "" && !bytes.HasPrefix(old, []byte(head)) {
		return fmt.Errorf("maildir: %s is not of a version known here", name)
	}
	have := map[string]bool{}
	for l := range strings.SplitSeq(string(old), "\n") {
		have[l] = true
	}
	text := bytes.Clone(old)
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	for _, l := range lines {
		if !have[l] {
			have[l] = true
			text = append(append(text, l...), '\n')
		}
	}
	if bytes.Equal(old, text) || len(lines) == 0 {
		return nil
	}
	return d.writeSide(name, text, false)
}
