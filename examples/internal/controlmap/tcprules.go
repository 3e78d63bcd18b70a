package controlmap

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// Rules are those of a tcp.smtp, as tcprules(1) reads them and tcpserver asks
// for the address of a client.
type Rules struct{ rules map[string]string }

// A Verdict is what tcpserver does with a client.
type Verdict struct {
	Deny bool
	// Relay says that RELAYCLIENT is set: the client may send anywhere. Suffix
	// is its value, which qmail-smtpd puts behind each recipient.
	Relay  bool
	Suffix string
	Found  bool // by some rule
}

// ParseRules reads a tcp.smtp. A line that tcprules refuses, for which it makes
// no database at all, is a Problem "tcprules.bad-line".
func ParseRules(path, text string) (*Rules, []qmailkit.Problem) {
	r := &Rules{map[string]string{}}
	var problems []qmailkit.Problem
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, " \t\n")
		if line == "" || line[0] == '#' {
			continue
		}
		address, rule, ok := strings.Cut(line, ":")
		if _, known := ParseRule(rule); !ok || !known {
			problems = append(problems, qmailkit.Problem{Code: "tcprules.bad-line", Severity: qmailkit.Error, Path: path, Line: n,
				Err: fmt.Errorf("tcprules would refuse the whole file for %.80q", line)})
			continue
		}
		for _, a := range addresses(address) {
			if _, there := r.rules[a]; !there { // the first one is found
				r.rules[a] = rule
			}
		}
	}
	return r, problems
}

// addresses writes a range, such as "192.0.2.5-9", as its addresses.
func addresses(s string) []string {
	i := strings.IndexByte(s, '-')
	if i < 0 || strings.ContainsAny(s, "=@") {
		return []string{s}
	}
	from := strings.LastIndexByte(s[:i], '.') + 1
	to := len(s)
	if dot := strings.IndexByte(s[i:], '.'); dot >= 0 {
		to = i + dot
	}
	low, err1 := strconv.ParseUint(s[from:i], 10, 8)
	high, err2 := strconv.ParseUint(s[i+1:to], 10, 8)
	if err1 != nil || err2 != nil {
		return []string{s}
	}
	var list []string
	for ; low <= high; low++ {
		list = append(list, s[:from]+strconv.FormatUint(low, 10)+s[to:])
	}
	return list
}

// ParseRule reads what stands behind the address: "deny", or "allow" with
// variables of the environment.
func ParseRule(rule string) (v Verdict, ok bool) {
	rest, allow := strings.CutPrefix(rule, "allow")
	if !allow {
		if rest, v.Deny = strings.CutPrefix(rule, "deny"); !v.Deny {
			return Verdict{}, false
		}
	}
	v.Found = true
	for rest != "" {
		name, value, found := strings.Cut(strings.TrimPrefix(rest, ","), "=")
		if rest[0] != ',' || !found || value == "" {
			return Verdict{}, false
		}
		quote := value[:1]
		if value, rest, found = strings.Cut(value[1:], quote); !found {
			return Verdict{}, false
		}
		if name == "RELAYCLIENT" {
			v.Relay, v.Suffix = allow, value
		}
	}
	return v, true
}

// Client is the verdict on a client without a name: of its whole address, then
// of what stands before each of its dots, the longest first, then of the rule
// without an address. Without any of these it is allowed.
func (r *Rules) Client(addr netip.Addr) Verdict {
	text := addr.Unmap().String()
	for end := len(text); end >= 0; end-- {
		if end < len(text) && end > 0 && text[end-1] != '.' {
			continue
		}
		if rule, ok := r.rules[text[:end]]; ok {
			v, _ := ParseRule(rule)
			return v
		}
	}
	return Verdict{}
}
