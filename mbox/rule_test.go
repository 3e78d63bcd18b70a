package mbox

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestRule walks through the rule by its numbers. Each text stands for the
// file behind a first From_ line with a date, unless it begins with its own;
// want is the number of messages.
func TestRule(t *testing.T) {
	const mime = "Content-Type: multipart/mixed; boundary=\"b b\"\n\n--b b\n\n"
	const inner = "\n" + fromLine + "A: b\n\nx\n"
	for _, c := range []struct {
		rule, text string
		want       int
	}{
		{"2: blank line", "A: b\n\nx\n\n" + fromLine, 2},
		{"2: blank line CRLF", "A: b\n\nx\r\n\r\n" + fromLine, 2},
		{"2: header behind", "A: b\n\nx\n" + fromLine + "A: b\n", 2},
		{"2: quoted From_ line and header behind", "A: b\n\nx\n" + fromLine + ">From c\nA: b\n", 2},
		{"2: neither", "A: b\n\nx\n" + fromLine + "x\n", 1},
		{"2: a From_ line is no header", "A: b\n\nx\n" + fromLine + "From x: y\n", 1},
		{"2: blank with a space", "A: b\n\nx\n \n" + fromLine + "x\n", 1},
		{"2: in the header", "A: b\n" + fromLine + "A: b\n", 2},
		{"2: right behind", fromLine + "A: b\n", 2},
		{"1: prose", "A: b\n\n\nFrom here on\nA: b\nC: d\n", 1},
		{"3: other style", "A: b\n\n\nFrom -\nA: b\nC: d\n", 1},
		{"3: dash", "From -\nA: b\nC: d\n\nx\nFrom - \nA: b\nC: d\n", 2},
		{"3: one header, then body", "From -\nA: b\nC: d\n\nx\nFrom -\nA: b\nx\n", 1},
		{"3: one header, then blank", "From -\nA: b\nC: d\n\nx\nFrom -\nA: b\n\n", 2},
		{"3: one header, then the end", "From -\nA: b\nC: d\n\nx\nFrom -\nA: b\n", 2},
		{"3: one header, folded", "From -\nA: b\nC: d\n\nx\nFrom -\nA: b\n c\nC: d\n", 2},
		{"3: no header", "From -\nA: b\nC: d\n\n\nFrom -\n\n", 1},
		{"3: word", "From x\nA: b\nC: d\n\nx\nFrom y\nA: b\nC: d\n", 2},
		{"3: bare is no word", "From x\nA: b\nC: d\n\nx\nFrom \nA: b\nC: d\n", 1},
		{"4: git without its style", "A: b\n\n\nFrom fc88cba7f1f37b9cf3b296eace2422dd0e173502 Mon Sep 17 00:00:00 2001\nA: b\n", 1},
		{"5: lands", "Content-Length: 48\n\nx\n\n" + fromLine + "A: b\n\nabcd\n\n\n" + fromLine, 2},
		{"5: lands at the end", "Content-Length: 43\n\nx\n\n" + fromLine + "A: b\n\n", 1},
		{"5: behind the end", "Content-Length: 44\n\nx\n\n" + fromLine + "A: b\n\n", 2},
		{"5: within a line", "Content-Length: 39\n\nx\n\n" + fromLine + "A: b\n\n", 2},
		{"5: on prose", "Content-Length: 43\n\nx\n\n" + fromLine + "A: b\n\nFrom me to you\n", 2},
		{"5: second is ignored", "Content-Length: 1\nContent-Length: 43\n\nx\n\n" + fromLine + "A: b\n\n", 2},
		{"5: not decimal", "Content-Length: x\nContent-Length: 43\n\nx\n\n" + fromLine + "A: b\n\n", 1},
		{"5: too large", "Content-Length: 99999999999999999999\nContent-Length: 43\n\nx\n\n" + fromLine + "A: b\n\n", 2},
		{"6: open", mime + inner + "--b b--\n", 1},
		{"6: twice", mime + inner + inner + "--b b-- \r\n\n" + fromLine, 2},
		{"6: closed before", mime + "--b b--\n" + inner + "--b b--\n", 2},
		{"6: never closed", mime + inner + "--b b\n", 2},
		{"6: not begun", "Content-Type: multipart/mixed; boundary=b\n\n" + inner + "--b--\n", 2},
		{"6: declared again", mime + inner[:len(inner)-3] + mime + "--b b--\n", 2},
		{"6: longer boundary", mime + inner + "--b b--x\n", 2},
		{"6: no multipart", "Content-Type: text/x; boundary=b\n\n--b\n" + inner + "--b--\n", 2},
		{"7: included", "A: b\n\n-----Original Message-----\n\n" + fromLine + "A: b\n", 1},
		{"7: forwarded", "A: b\n\n---------- Forwarded message ---------\n" + fromLine + "A: b\n", 1},
		{"7: included, first line", "----- Begin Included Message -----\r\n\n" + fromLine + "A: b\n", 1},
		{"7: mark with more", "A: b\n\n-----Original Message----- x\n\n" + fromLine + "A: b\n", 2},
		{"7: mark further up", "A: b\n\n-----Original Message-----\nx\n\n" + fromLine + "A: b\n", 2},
		{"7: of an earlier message", "-----Original Message-----\n", 1},
	} {
		text := c.text
		if c.rule[0] == '2' || c.rule[0] != '3' && !strings.HasPrefix(text, "From ") || c.rule == "3: other style" {
			text = fromLine + text
		}
		for name, data := range map[string]string{"": text, " CRLF": strings.ReplaceAll(strings.ReplaceAll(text, "\r", ""), "\n", "\r\n")} {
			if name != "" && c.rule[0] == '5' {
				continue // the lengths are another
			}
			list, err := readIndexed([]byte(data), nil)
			if err != nil || len(list) != c.want {
				t.Errorf("%s%s: %d messages, want %d: %v", c.rule, name, len(list), c.want, err)
			}
		}
	}
}

func TestStrict(t *testing.T) {
	text := fromLine + "Content-Length: 100\n\nFrom x y z\nFrom \n" + fromLine + strings.Repeat("x", 100)
	for name, o := range map[string]outcome{
		"indexed":   indexedOutcome([]byte(text), &Options{Strict: true}, 0),
		"streaming": streamOutcome(strings.NewReader(text), &Options{Strict: true}, 0),
	} {
		if len(o.Messages) != 4 || o.Err != "" {
			t.Errorf("%s: %d messages, %s", name, len(o.Messages), o.Err)
		}
	}
}

// What follows is the rule once more in its plainest form: the whole file in
// memory, regular expressions, one line after the other.
const (
	refWeekday = `(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6}`
	refMonth   = `(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}`
	refZone    = `(?:[a-z]{1,6}(?: dst)?|[+-]\d{4}|[+-]\d\d:\d\d|\([a-z]{1,6}\))`
	refZones   = `(?: +` + refZone + `){0,2}`
	refClock   = `\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?(?: ?[ap]m)?`
)

var (
	refDate = regexp.MustCompile(`(?is)[ \t\r\f\v](?:` +
		`(?:` + refWeekday + `,? +)?` + refMonth + ` +\d{1,2},? +(?:\d{4} +)?` + refClock + refZones + `(?: +(?:\d{4}|\d\d))?` + refZones +
		`|(?:` + refWeekday + `,? +)?\d{1,2}[ -]` + refMonth + `[ -](?:\d{4}|\d\d) +` + refClock + refZones +
		`|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z| ?[+-]\d\d:?\d\d)?)(.*)$`)
	refGit      = regexp.MustCompile(`^From (?:[0-9a-f]{40}|[0-9a-f]{64}) Mon Sep 17 00:00:00 2001$`)
	refHeader   = regexp.MustCompile(`(?s)^[!-9;-~]+[ \t]*:`)
	refLength   = regexp.MustCompile(`(?i)^content-length:[ \t]*(\d+)[ \t]*$`)
	refIncluded = regexp.MustCompile(`(?i)^-+ ?(?:begin included message|original message|forwarded message|begin forwarded message:?) ?-+$`)
	refFold     = regexp.MustCompile(`\r?\n[ \t]+`)
	refType     = regexp.MustCompile(`(?im)^content-type:[ \t]*multipart/.*?;[ \t]*boundary[ \t]*=[ \t]*(?:"([^"\r\n]+)"|([^\s\v;"]+))`)
	// refLongWord is what the regular expressions above take for no date, and
	// the rule's text for one with a remark behind it.
	refLongWord = regexp.MustCompile(`(?i)From .*:\d\d.* [a-z]{7}`)
)

// latin maps bytes to code points of the same number, because regexp reads
// UTF-8 and mail is bytes.
func latin(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

func refShape(line []byte) shape {
	s := latin(line)
	if refGit.MatchString(s) {
		return git
	}
	if m := refDate.FindStringSubmatch(s[5:]); m != nil && (m[1] == "" || m[1][0] == ' ' || m[1][0] == '\t') {
		return dated
	}
	switch r := strings.Trim(s[5:], " \t\r\n\f\v"); {
	case r == "":
		return bare
	case r == "-":
		return dash
	case !strings.ContainsAny(r, " \t"):
		return word
	}
	return prose
}

type reference struct {
	data  []byte
	style shape
}

// line returns the line at p without its end, and where the next one begins.
func (r *reference) line(p int) ([]byte, int) {
	if i := bytes.IndexByte(r.data[p:], '\n'); i >= 0 {
		return bytes.TrimSuffix(r.data[p:p+i], []byte("\r")), p + i + 1
	}
	return bytes.TrimSuffix(r.data[p:], []byte("\r")), len(r.data)
}

func (r *reference) headers(p, want int) bool {
	got := 0
	for p < len(r.data) && got < want {
		l, next := r.line(p)
		switch {
		case refHeader.MatchString(latin(l)) && !bytes.HasPrefix(l, fromPrefix):
			got++
		case got > 0 && len(l) > 0 && (l[0] == ' ' || l[0] == '\t'):
		case got == 0 && regexp.MustCompile(`^>+From `).Match(l):
		default:
			return got > 0 && len(l) == 0
		}
		p = next
	}
	return got > 0
}

// inside is rule 6 for a candidate at p.
func (r *reference) inside(boundary []byte, body, p int) bool {
	if boundary == nil {
		return false
	}
	q := regexp.QuoteMeta(latin(boundary))
	open := regexp.MustCompile(`(?m)^--` + q + `[ \t]*\r?$`)
	closing := regexp.MustCompile(`(?m)^--` + q + `--[ \t]*\r?$`)
	if s := latin(r.data[body:p]); !open.MatchString(s) || closing.MatchString(s) {
		return false
	}
	rest := latin(r.data[p:])
	c := closing.FindStringIndex(rest)
	return c != nil && !regexp.MustCompile(`boundary[ \t]*=[ \t]*"?`+q).MatchString(rest[:c[0]])
}

// landing is rule 5 for a body at p.
func (r *reference) landing(p int, value string) (next int, exact, ok bool) {
	n, err := strconv.Atoi(value)
	if err != nil || n > len(r.data)-p {
		return 0, false, false
	}
	to := p + n
	exact = r.data[to-1] == '\n'
	at, ended := to, exact
	for k := blankAt(r.data[at:]); k > 0; k = blankAt(r.data[at:]) {
		at += k
		ended = true
	}
	if at == len(r.data) {
		return at, exact, true
	}
	l, _ := r.line(at)
	return at, exact, ended && bytes.HasPrefix(l, fromPrefix) && refShape(l) == r.style
}

// split returns the offsets of the From_ line and of the message, and its end.
func (r *reference) split() (list [][3]int, ok bool) {
	p := 0
	if bytes.HasPrefix(r.data, []byte("\xef\xbb\xbf")) {
		p = 3
	}
	for k := blankAt(r.data[p:]); k > 0; k = blankAt(r.data[p:]) {
		p += k
	}
	if p == len(r.data) {
		return nil, true
	}
	l, _ := r.line(p)
	if !bytes.HasPrefix(l, fromPrefix) || bytes.ContainsRune(bytes.TrimRight(l, "\r"), '\r') {
		return nil, false
	}
	r.style = refShape(l)
	for p < len(r.data) {
		from := p
		_, msg := r.line(p)
		end, next := r.message(msg)
		list = append(list, [3]int{from, msg, end})
		p = next
	}
	return list, true
}

// message finds the end of the message at msg and the next From_ line.
func (r *reference) message(msg int) (end, next int) {
	length, body := "", -1
	var boundary, last []byte
	blank := false
	p := msg
	for p < len(r.data) {
		l, after := r.line(p)
		if bytes.HasPrefix(l, fromPrefix) && r.separates(l, after, blank, last) && !r.inside(boundary, max(body, 0), p) {
			break
		}
		if m := refLength.FindSubmatch(l); body < 0 && m != nil && length == "" {
			length = string(m[1])
		}
		if body < 0 && len(l) == 0 {
			body = after
			head := refFold.ReplaceAllString(latin(r.data[msg:p]), " ")
			if m := refType.FindStringSubmatch(head); m != nil {
				for _, c := range m[1] + m[2] {
					boundary = append(boundary, byte(c))
				}
			}
			if at, exact, ok := r.landing(body, length); ok {
				if exact {
					n, _ := strconv.Atoi(length)
					return body + n, at
				}
				p = at
				break
			}
		}
		if blank = len(l) == 0; !blank {
			last = l
		}
		p = after
	}
	m := r.data[msg:p]
	switch {
	case bytes.HasSuffix(m, []byte("\n\r\n")), string(m) == "\r\n":
		return p - 2, p
	case bytes.HasSuffix(m, []byte("\n\n")), string(m) == "\n":
		return p - 1, p
	}
	return p, p
}

// separates is rules 2 to 4 and 7.
func (r *reference) separates(line []byte, after int, blank bool, last []byte) bool {
	switch s := refShape(line); s {
	case prose:
		return false
	case git:
		return r.style == git && blank
	case dated:
		return !refIncluded.MatchString(latin(last)) && (blank || r.headers(after, 1))
	default:
		return r.style == s && r.headers(after, 2)
	}
}

// FuzzRule compares with the plain form of the rule.
func FuzzRule(f *testing.F) {
	addSeeds(f, func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 8<<10 || refLongWord.Match(data) {
			return
		}
		r := &reference{data: data}
		want, ok := r.split()
		list, err := readStream(bytes.NewReader(data), nil)
		if ok != (err == nil) {
			t.Fatalf("%v, want %v", err, ok)
		}
		var got [][3]int
		for _, m := range list {
			got = append(got, [3]int{int(m.FromOffset), int(m.Offset), int(m.Offset + m.Length)})
		}
		if len(got) != len(want) {
			t.Fatalf("split %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("split %v, want %v", got, want)
			}
		}
	})
}
