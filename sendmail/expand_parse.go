package sendmail

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A complaint is what Sendmail says of an address without refusing it, or
// before it takes it apart differently from how it was meant.
type complaint struct {
	code   int
	status string
	words  string
}

// parse makes a recipient of the first address in text, and says how many bytes
// that takes (parseaddr.c:parseaddr). It is nil where there is no address;
// there may be complaints beside it.
func (e *expansion) parse(text string, delim byte) (*recipient, int, []complaint) {
	s := e.x.conf.scanner()
	toks, used, bad := s.scan(text, delim)
	var said []complaint
	for _, words := range bad {
		said = append(said, complaint{553, "5.1.3", words})
	}
	if len(toks) == 0 {
		return nil, used, said
	}
	address := text[:used]
	if delim != 0 && used > 0 && (text[used-1] == delim || delim == ' ' && isBlank(text[used-1])) {
		address = address[:used-1]
	}
	if words := invalid(address); words.code != 0 {
		return nil, used, append(said, words)
	}
	r := &recipient{address: trimBlanks(address)}
	e.macros["addr_type"] = "e r"
	m := e.machine()
	for _, set := range []string{"3", "0"} {
		toks, _ = m.rewrite(toks, set, 0)
	}
	e.spent(m)
	for _, words := range m.words {
		said = append(said, complaint{554, "5.3.5", words})
	}
	if m.steps < 0 {
		r.fail(554, "5.3.5", "%s", errRules)
		return r, used, said
	}
	e.build(r, toks)
	if words := controlChars(r.user); words != "" && r.state == stateOK {
		r.fail(501, "5.1.3", "%s", words)
	}
	return r, used, said
}

// machine is one for the next address.
func (e *expansion) machine() *machine {
	return &machine{conf: e.x.conf, maps: e.x.lookup, macros: e.macros, steps: min(maxSteps, e.steps)}
}

// spent takes the steps of a machine off those of the whole expansion.
func (e *expansion) spent(m *machine) { e.steps -= min(maxSteps, e.steps) - m.steps }

// build reads mailer, host and user out of the result of the rules
// (parseaddr.c:buildaddr).
func (e *expansion) build(r *recipient, toks []string) {
	s, sub := e.x.conf.scanner(), e.x.conf.spaceSub
	if len(toks) < 2 || toks[0] != tokMailer {
		r.fail(554, "5.3.5", "buildaddr: no mailer in parsed address")
		return
	}
	mailerName, rest := lower(toks[1]), toks[2:]
	var host []string
	hasHost := len(rest) > 0 && rest[0] == tokHost
	if hasHost {
		rest = rest[1:]
	}
	colon := slices.Index(rest, tokUser)
	if colon < 0 {
		r.fail(554, "5.3.5", "buildaddr: no user")
		return
	}
	if hasHost {
		host = rest[:colon]
	}
	user := rest[colon+1:]
	if mailerName == "error" {
		r.refusedByRules(s.join(host, sub), s.join(user, ' '))
		return
	}
	m, ok := e.x.conf.mailers[mailerName]
	if !ok {
		r.fail(554, "5.3.5", "buildaddr: unknown mailer %s", toks[1])
		return
	}
	r.mailer, r.mailerFlags, r.host = mailerName, m.flags, s.join(host, sub)
	if len(host) == 0 && !r.has("l") {
		r.fail(554, "5.3.5", "buildaddr: no host")
		return
	}
	if r.has("@") && len(user) > 0 && user[0] == "@" {
		user, r.notRemote = user[1:], true
	}
	m, done := e.special(r, m, s.join(user, ' '))
	if !done {
		r.user = s.join(e.rewriteUser(r, m, user), sub)
	}
	if !r.has("h") {
		r.host = lower(r.host)
	}
	if !r.has("u") {
		r.user = lower(r.user)
	}
}

// special sees to programs, files and lists, which a mailer may take by its
// flags. done says that the user stands.
func (e *expansion) special(r *recipient, m mailer, user string) (_ mailer, done bool) {
	text := strings.TrimPrefix(user, `"`)
	switch {
	case r.has("|") && strings.HasPrefix(text, "|"):
		m = e.x.conf.mailers[progMailer]
		r.mailer, r.mailerFlags = progMailer, m.flags
	case r.has("/") && strings.HasPrefix(text, "/"):
		m = mailer{}
		r.mailer, r.mailerFlags = fileMailer, "u"
	case r.has(":") && strings.HasPrefix(text, ":"):
		text = unquote(user)
		if len(text) >= len(includePrefix) && lower(text[:len(includePrefix)]) == includePrefix {
			r.mailer, r.mailerFlags, r.user = includeMailer, "u", text[len(includePrefix):]
			return m, true
		}
	}
	return m, false
}

// rewriteUser lets the rules for a mailer's recipients work on a user.
func (e *expansion) rewriteUser(r *recipient, m mailer, user []string) []string {
	e.macros["h"] = r.host
	ma := e.machine()
	for _, set := range []string{"2", e.x.conf.rulesetName(m.recipients), "4"} {
		if set != "" {
			user, _ = ma.rewrite(user, set, 0)
		}
	}
	e.spent(ma)
	switch {
	case ma.steps < 0:
		r.fail(554, "5.3.5", "%s", errRules)
	case len(ma.words) > 0:
		e.complain(r, complaint{554, "5.3.5", ma.words[0]})
	}
	return user
}

// exitStatus are the names of sysexits(3) that rules use, with what they mean.
var exitStatus = map[string]struct {
	status string
	code   int
}{
	"nouser": {"5.1.1", 550}, "nohost": {"5.1.2", 550}, "unavailable": {"5.0.0", 553}, "usage": {"5.1.3", 553},
	"tempfail": {"4.0.0", 450}, "75": {"4.0.0", 450}, "protocol": {"5.5.0", 553}, "config": {"5.3.5", 553},
}

// refusedByRules takes "$#error $@ status $: 550 text" apart.
func (r *recipient) refusedByRules(host, user string) {
	status, code, text := host, 553, unquote(user)
	if s, ok := exitStatus[lower(host)]; ok {
		status, code = s.status, s.code
	}
	if !isStatus(status) {
		status = "5.0.0"
	}
	if len(text) >= 4 && text[3] == ' ' && text[0] >= '2' && text[0] <= '5' {
		if n, err := strconv.Atoi(text[:3]); err == nil {
			code, text = n, text[4:]
			if first, rest, ok := strings.Cut(text, " "); ok && isStatus(first) {
				status, text = first, rest
			}
		}
	}
	if code/100 == 4 && status[0] != '4' {
		status = "4.0.0"
	}
	r.fail(code, status, "%s", text)
	r.mailer, r.host, r.user = errorMailer, host, user
}

// isStatus says whether a word is "D.S.N" (RFC 3463).
func isStatus(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 3 || parts[0] != "2" && parts[0] != "4" && parts[0] != "5" {
		return false
	}
	for _, p := range parts[1:] {
		if p == "" || len(p) > 3 || strings.Trim(p, "0123456789") != "" {
			return false
		}
	}
	return true
}

// invalid says why an address is refused before the rules see it, if it is
// (parseaddr.c:invalidaddr): it is too long, or has bytes that sendmail.cf
// writes its own signs with.
func invalid(address string) complaint {
	b, high := []byte(address), false
	for i := range b {
		if b[i]&0xe0 == 0x80 {
			b[i], high = '?', true
		}
	}
	switch {
	case len(b) > maxAddress:
		return complaint{553, "5.1.0", fmt.Sprintf(`Address "%s" too long (%d bytes max)`, b[:maxAddress], maxAddress)}
	case high:
		return complaint{501, "5.1.3", fmt.Sprintf(`8-bit character in mailbox address "%s"`, b)}
	}
	return complaint{}
}

// controlChars says what is wrong with the user of an address, or nothing
// (parseaddr.c:hasctrlchar).
func controlChars(user string) string {
	b, why, quoted := []byte(user), "", false
	for i := 0; i < len(b); i++ {
		if i >= maxAddress {
			return fmt.Sprintf(`Address "%s" too long (%d bytes max)`, b[:maxAddress], maxAddress)
		}
		switch c := b[i]; {
		case !quoted && (c < ' ' || c == 0x7f):
			b[i], why = '?', "non-printable character"
			continue
		case c == '"':
			quoted = !quoted
		case c == '\\' && i+1 == len(b):
			b[i], why = '?', `trailing \ character`
		case c == '\\':
			i++
		}
		if b[i]&0xe0 == 0x80 {
			b[i], why = '?', "8-bit character"
		}
	}
	if quoted {
		why = "unbalanced quote"
	}
	if why == "" {
		return ""
	}
	return fmt.Sprintf(`Syntax error in mailbox address "%s" (%s)`, b, why)
}

// same says whether two recipients are one (parseaddr.c:sameaddr).
func same(a, b *recipient) bool {
	if a.mailer != b.mailer || a.user != b.user || a.host != b.host || a.mailer == errorMailer || a.mailer == "" {
		return false
	}
	if a.mailer == progMailer {
		ca, cb := a.control(), b.control()
		return (ca == nil) == (cb == nil) && (ca == nil || ca.uid == cb.uid)
	}
	return true
}
