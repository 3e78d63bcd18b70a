package sendmail

import (
	"slices"
	"strconv"
	"strings"
)

// findUser finds an account by its name, by that in lower case, or, where
// MatchGecos is set, by the full name (recipient.c:finduser).
func (x *Expander) findUser(name string) (a *Account, fuzzy bool) {
	if a = x.users[name]; a != nil {
		return a, false
	}
	folded := lower(name)
	if a = x.users[folded]; a != nil {
		return a, true
	}
	if !optionSet(x.conf.options["matchgecos"]) {
		return nil, false
	}
	folded = strings.ReplaceAll(strings.ReplaceAll(folded, string([]byte{x.conf.spaceSub}), " "), "_", " ")
	for _, a := range x.order {
		if full := a.matchedName(); strings.Contains(full, " ") && lower(full) == folded {
			return a, true
		}
	}
	return nil, false
}

// matchedName is the full name that MatchGecos compares (libsm: sm_pwfullname).
func (a *Account) matchedName() string {
	name := strings.TrimPrefix(a.Gecos, "*")
	if i := strings.IndexAny(name, ",;%"); i >= 0 {
		name = name[:i]
	}
	return a.withLogin(name)
}

// shellOK says whether a user with this shell may name programs.
func (x *Expander) shellOK(shell string) bool {
	return shell == "" || x.shells[shell] || x.shells["/SENDMAIL/ANY/SHELL/"]
}

// defaultUser is the user who reads lists of aliases: DefaultUser, else 1 and 1.
func (x *Expander) defaultUser() (uid, gid int) {
	value := x.conf.options["defaultuser"]
	first, second, ok := strings.Cut(value, ":")
	if !ok {
		first, second, _ = strings.Cut(value, ".")
	}
	uid, gid = 1, 1
	if n, err := strconv.Atoi(first); err == nil {
		uid = n
	} else if a := x.users[first]; a != nil {
		uid, gid = a.UID, a.GID
	}
	if n, err := strconv.Atoi(second); err == nil {
		gid = n
	}
	return uid, gid
}

// delivery makes the answer of a recipient that is left.
func (e *expansion) delivery(r *recipient) Delivery {
	d := Delivery{
		Mailer: r.mailer, Host: r.host, User: r.user, Address: r.address, Quoted: strings.Contains(r.user, `\`),
		Status: r.status, Code: r.code, Text: r.text,
	}
	switch {
	case r.state != stateOK:
		d.Kind = DeliverError
	case r.mailer == progMailer:
		d.Kind, d.Program = DeliverProgram, trimPipe(unquoteWhole(r.user))
	case r.mailer == fileMailer:
		d.Kind, d.File = DeliverFile, unquote(r.user)
	case r.has("w"):
		d.Kind, d.Account, d.Detail = DeliverMailbox, r.account, r.host
	default:
		d.Kind = DeliverRemote
		if r.has("l") {
			d.Kind = DeliverMailbox
			d.Account, d.Detail = e.x.users[r.user], r.host
		}
	}
	if c := r.control(); c != nil && (d.Kind == DeliverProgram || d.Kind == DeliverFile) {
		d.As = c.account
	}
	for p := r; p != nil; p = p.from {
		if p.owner != "" && d.Sender == "" && p != r {
			d.Sender = p.owner
		}
		if p.step != nil {
			d.Via = append(d.Via, *p.step)
		}
	}
	slices.Reverse(d.Via)
	return d
}

// unquoteWhole takes off the quotes around a whole text.
func unquoteWhole(s string) string {
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		return unquote(s)
	}
	return s
}
