package mbox

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

const (
	// maxHeader is how much of a message's header is searched for its state.
	maxHeader = 1 << 20
	// maxField bounds an unfolded header field.
	maxField = 64 << 10
	// maxBoundary bounds the boundary of a multipart; RFC 2046 allows 70.
	maxBoundary = 1000
	// maxKeywords bounds the keywords of a message.
	maxKeywords = 1000
)

// fields gathers from the lines of a header what the split and the Header
// need. It is reused from message to message.
type fields struct {
	h     *Header // nil: only what the split needs
	loc   *time.Location
	first bool // this is the first message

	length    int64 // Content-Length, -1 if there is none
	lengthBad bool  // it does not fit
	boundary  []byte
	name      fieldName // field being unfolded
	value     []byte
	received  bool
	date      time.Time // of Date
	hasDate   bool
}

type fieldName uint8

const (
	noField fieldName = iota
	contentType
	status
	xStatus
	xKeywords
	xUID
	xUIDL
	xIMAP
	xIMAPbase
	xMozillaStatus
	xEvolution
	subject
	received
	dateField
)

func (f *fields) reset(h *Header, loc *time.Location, first bool) {
	*f = fields{h: h, loc: loc, first: first, length: -1, value: f.value[:0], boundary: f.boundary[:0]}
}

// line takes the next physical line. stateful is false past maxHeader.
func (f *fields) line(line []byte, stateful bool) {
	if isBlank(line[0]) {
		if f.name != noField && len(f.value)+len(line) < maxField {
			f.value = append(f.value, ' ')
			f.value = append(f.value, trimLeft(line)...)
		}
		return
	}
	if f.name != noField {
		f.flush()
	}
	switch line[0] | 0x20 {
	case 'c':
		f.content(line)
	case 'x':
		if stateful && f.h != nil && len(line) > 1 && line[1] == '-' {
			f.state(line)
		}
	case 's':
		if stateful && f.h != nil && (f.first || len(line) > 1 && line[1]|0x20 == 't') {
			f.state(line)
		}
	case 'r', 'd':
		if stateful && f.h != nil && !f.h.From.HasDate {
			f.state(line)
		}
	}
}

func trimLeft(b []byte) []byte {
	for len(b) > 0 && isBlank(b[0]) {
		b = b[1:]
	}
	return b
}

// hasName says whether line is the field name, in lower case and with its
// colon; blanks before the colon are let through. It returns what follows.
func hasName(line []byte, name string) ([]byte, bool) {
	n := len(name) - 1
	if len(line) <= n || line[n] != ':' && !isBlank(line[n]) {
		return nil, false
	}
	for i := range n {
		c := line[i]
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != name[i] {
			return nil, false
		}
	}
	rest := trimLeft(line[n:])
	if len(rest) == 0 || rest[0] != ':' {
		return nil, false
	}
	return rest[1:], true
}

// content looks for the two fields that the split depends on. Here the name
// must be exact, as in the rule.
func (f *fields) content(line []byte) {
	if len(line) < 13 || line[7] != '-' {
		return
	}
	if f.length < 0 && !f.lengthBad {
		if v, ok := hasName(line, "content-length:"); ok && line[14] == ':' {
			f.contentLength(v)
			return
		}
	}
	if len(f.boundary) == 0 {
		if v, ok := hasName(line, "content-type:"); ok && line[12] == ':' {
			f.begin(contentType, v)
		}
	}
}

// contentLength takes the first value that is decimal; one too large to be
// true is remembered, so that no later one is believed.
func (f *fields) contentLength(v []byte) {
	v = bytes.TrimRight(trimLeft(v), " \t")
	if len(v) == 0 {
		return
	}
	var n int64
	for _, c := range v {
		if !isDigit(c) {
			return
		}
		if n < 1<<59 {
			n = n*10 + int64(c-'0')
		}
	}
	if n >= 1<<59 {
		f.lengthBad = true
		return
	}
	f.length = n
}

// begin starts a field whose value may go on in folded lines.
func (f *fields) begin(name fieldName, value []byte) {
	f.name = name
	f.value = append(f.value[:0], value[:min(len(value), maxField)]...)
}

// stateNames are the fields of interest, after their first letter.
var stateNames = [...]struct {
	name string
	id   fieldName
}{
	{"status:", status}, {"subject:", subject}, {"received:", received}, {"date:", dateField},
	{"x-status:", xStatus}, {"x-keywords:", xKeywords}, {"x-uid:", xUID}, {"x-uidl:", xUIDL},
	{"x-imap:", xIMAP}, {"x-imapbase:", xIMAPbase}, {"x-mozilla-status:", xMozillaStatus},
	{"x-evolution:", xEvolution},
}

func (f *fields) state(line []byte) {
	for i := range stateNames {
		n := &stateNames[i]
		if n.name[0] != line[0]|0x20 || len(line) < len(n.name) || line[2]|0x20 != n.name[2] {
			continue
		}
		v, ok := hasName(line, n.name)
		if !ok {
			continue
		}
		switch n.id {
		case subject:
			ok = f.first
		case received:
			ok = !f.received
		case dateField:
			ok = !f.hasDate
		}
		if ok {
			f.begin(n.id, v)
		}
		return
	}
}

// flush takes in the field that has come to its end.
func (f *fields) flush() {
	if f.name == noField {
		return
	}
	v, h := f.value, f.h
	switch f.name {
	case contentType:
		f.boundary = append(f.boundary, findBoundary(v)...)
	case status:
		h.State |= lettersOf(v, statusLetters)
	case xStatus:
		h.State |= lettersOf(v, xStatusLetters)
	case xMozillaStatus:
		h.State |= bitsOf(trimSpace(v), mozillaBits)
	case xEvolution:
		if i := bytes.LastIndexByte(v, '-'); i >= 0 {
			h.State |= bitsOf(trimSpace(v[i+1:]), evolutionBits)
		}
	case xKeywords:
		h.Keywords = keywords(h.Keywords, v)
	case xUID:
		h.UID, _ = parseUint32(trimSpace(v))
	case xUIDL:
		h.UIDL = string(trimSpace(v))
	case xIMAP, xIMAPbase:
		f.imapBase(v)
	case subject:
		h.Pseudo = h.Pseudo || string(trimSpace(v)) == pseudoSubject
	case received:
		f.receivedDate(v)
	case dateField:
		if t, ok := fieldDate(v, f.loc); ok {
			f.date, f.hasDate = t, true
		}
	}
	f.name = noField
}

// finish is called at the end of the header.
func (f *fields) finish() {
	f.flush()
	if f.h != nil && !f.h.hasArrival && f.hasDate {
		f.h.arrival, f.h.hasArrival = f.date, true
	}
}

// pseudoSubject is what the c-client library gives its message.
const pseudoSubject = "DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA"

// imapBase reads "uidvalidity lastuid keyword ...". As X-IMAP it makes the
// message a pseudo one. Only the first message may carry it.
func (f *fields) imapBase(v []byte) {
	if !f.first {
		return
	}
	words := strings.Fields(string(v))
	if len(words) < 2 {
		return
	}
	validity, ok1 := parseUint32([]byte(words[0]))
	last, ok2 := parseUint32([]byte(words[1]))
	if !ok1 || !ok2 {
		return
	}
	base := &IMAPBase{UIDValidity: validity, LastUID: last}
	if n := min(len(words), maxKeywords); n > 2 {
		base.Keywords = words[2:n]
	}
	f.h.Base = base
	f.h.Pseudo = f.h.Pseudo || f.name == xIMAP
}

// receivedDate takes the date behind the last semicolon (RFC 5321, 4.4).
func (f *fields) receivedDate(v []byte) {
	f.received = true
	if i := bytes.LastIndexByte(v, ';'); i >= 0 {
		f.h.arrival, f.h.hasArrival = fieldDate(v[i+1:], f.loc)
	}
}

func fieldDate(v []byte, loc *time.Location) (time.Time, bool) {
	var d stamp
	if _, ok := findDate(append([]byte{' '}, v...), 0, &d); !ok {
		return time.Time{}, false
	}
	return d.time(loc)
}

func statusLetters(c byte) Flags {
	switch c {
	case 'R':
		return Read
	case 'O':
		return Old
	case 'D':
		return Deleted
	case 'r':
		return Answered
	}
	return 0
}

func xStatusLetters(c byte) Flags {
	switch c {
	case 'R':
		return Read
	case 'A':
		return Answered
	case 'F':
		return Flagged
	case 'T':
		return Draft
	case 'D':
		return Deleted
	}
	return 0
}

func lettersOf(v []byte, flag func(byte) Flags) (all Flags) {
	for _, c := range v {
		all |= flag(c)
	}
	return all
}

type bitFlag struct {
	bit  uint64
	flag Flags
}

var (
	mozillaBits   = []bitFlag{{1, Read}, {2, Answered}, {4, Flagged}, {8, Deleted}, {0x1000, Forwarded}}
	evolutionBits = []bitFlag{{1, Answered}, {2, Deleted}, {4, Draft}, {8, Flagged}, {0x10, Read}}
)

func bitsOf(hex []byte, table []bitFlag) (all Flags) {
	n, err := strconv.ParseUint(string(hex[:min(len(hex), 16)]), 16, 64)
	if err != nil {
		return 0
	}
	for _, t := range table {
		if n&t.bit != 0 {
			all |= t.flag
		}
	}
	return all
}

func parseUint32(b []byte) (uint32, bool) {
	n, err := strconv.ParseUint(string(b[:min(len(b), 32)]), 10, 32)
	return uint32(n), err == nil
}

func keywords(have []string, v []byte) []string {
	for _, k := range bytes.Fields(v) {
		if len(have) >= maxKeywords {
			break
		}
		have = append(have, string(k))
	}
	return have
}

// findBoundary returns the boundary that an unfolded Content-Type declares if
// its type is multipart.
func findBoundary(v []byte) []byte {
	v = trimLeft(v)
	const multipart = "multipart/"
	if len(v) < len(multipart) || !bytes.EqualFold(v[:len(multipart)], []byte(multipart)) {
		return nil
	}
	for {
		i := bytes.IndexByte(v, ';')
		if i < 0 {
			return nil
		}
		v = v[i+1:]
		rest, ok := cutParameter(v)
		if !ok {
			continue
		}
		var b []byte
		if len(rest) > 0 && rest[0] == '"' {
			end := bytes.IndexAny(rest[1:], "\"\r\n")
			if end > 0 && rest[1+end] == '"' {
				b = rest[1 : 1+end]
			}
		} else {
			end := 0
			for end < len(rest) && !isSpace(rest[end]) && rest[end] != ';' && rest[end] != '"' {
				end++
			}
			b = rest[:end]
		}
		if len(b) > maxBoundary {
			return nil
		}
		if len(b) > 0 {
			return b
		}
	}
}

// cutParameter takes "boundary =" off the start of v.
func cutParameter(v []byte) ([]byte, bool) {
	const name = "boundary"
	v = trimLeft(v)
	if len(v) < len(name) || !bytes.EqualFold(v[:len(name)], []byte(name)) {
		return nil, false
	}
	v = trimLeft(v[len(name):])
	if len(v) == 0 || v[0] != '=' {
		return nil, false
	}
	return trimLeft(v[1:]), true
}
