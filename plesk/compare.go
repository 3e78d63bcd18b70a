package plesk

import (
	"fmt"
	"slices"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/passhash"
)

// fits says whether a password in clear belongs to a hash; where that cannot be
// told it does.
func fits(hash, clear qmailkit.Secret) bool {
	return passhash.Verify(string(hash), string(clear)).Verdict != passhash.Mismatch
}

// differences says in words how the target's mail name is another than the
// planned one. More aliases or forwards there are none: its users may have
// added them.
func (p *planner) differences(a *Account, m, old *Mailname) (out []string) {
	if m.Mailbox != old.Mailbox {
		out = append(out, fmt.Sprintf("mailbox %s there", yesNo(old.Mailbox)))
	}
	if m.Mailbox && old.Mailbox && m.Quota != old.Quota && (m.Quota >= 0 || old.Quota >= 0) && QuotaKB(m.Quota) != QuotaKB(old.Quota) {
		out = append(out, fmt.Sprintf("quota %d there, not %d", old.Quota, m.Quota))
	}
	for _, s := range missing(m.Aliases, old.Aliases, func(a, b string) bool { return DirName(a) == DirName(b) }) {
		out = append(out, fmt.Sprintf("alias %s missing", s))
	}
	for _, s := range missing(m.Forwards, old.Forwards, func(a, b string) bool { return a == b }) {
		out = append(out, fmt.Sprintf("forward to %s missing", s))
	}
	if len(m.Responders) > 0 && len(old.Responders) == 0 {
		out = append(out, "autoresponder missing")
	}
	if m.Mailbox && old.Mailbox && !a.Password.IsZero() {
		if s := p.passwordDiffers(a.Password, old.Password); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// missing are those of want that have lacks.
func missing(want, have []string, same func(a, b string) bool) (out []string) {
	for _, s := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return same(s, h) }) {
			out = append(out, s)
		}
	}
	return out
}

// passwordDiffers compares as far as that can be done without guessing.
func (p *planner) passwordDiffers(want Credential, old Password) string {
	have, err := old.Credential(p.o.TargetKey)
	switch {
	case err != nil:
		return fmt.Sprintf("password there cannot be read (%v)", err)
	case want.Fits(have):
		return ""
	}
	return "password is another"
}

// Fits says whether two credentials are of one password, as far as that can be
// told without guessing.
func (c Credential) Fits(have Credential) bool {
	switch {
	case c.Clear != "" && have.Clear != "":
		return c.Clear == have.Clear
	case c.Clear != "":
		return fits(have.Hash, c.Clear)
	case have.Clear != "":
		return fits(c.Hash, have.Clear)
	}
	return c.Hash == have.Hash
}
