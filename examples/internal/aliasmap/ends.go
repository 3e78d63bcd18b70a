package aliasmap

import (
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit/sendmail"
)

// A verdict is where mail to an address ends, in the words of the new host.
type verdict struct {
	ends []End
	off  []string // programs and files that are not enabled
	// replies are the vacation texts that are not enabled either, and seconds
	// tells of each user how long nobody gets another one.
	replies []string
	seconds map[string]int64
	lost    []loss
	step    *sendmail.Step // the first that is a file
	all     []sendmail.Step
	// senders are the new envelope senders that lists give, in the words of the
	// old host; an empty one leaves the sender as it is.
	senders []string
	text    string // of the first error
	// failed are members of a list that Sendmail could not deliver to either,
	// and enabled are the programs and files that are carried.
	failed, enabled []loss
}

// A loss is a delivery that has no equal.
type loss struct {
	code, words string
	step        *sendmail.Step
}

// bounces says that mail bounces, and that nothing else is known of the address.
func (v *verdict) bounces() bool {
	return len(v.off) == 0 && len(v.replies) == 0 && len(v.lost) == 0 && (len(v.ends) == 0 || v.ends[0].Kind == Bounce)
}

// same compares the ends; the texts of errors do not count.
func (v *verdict) same(w *verdict) bool {
	if v.bounces() || w.bounces() {
		return v.bounces() == w.bounces()
	}
	return slices.Equal(v.ends, w.ends) && slices.Equal(v.off, w.off) && slices.Equal(v.replies, w.replies) && len(v.lost) == len(w.lost)
}

// mailers are those that speak SMTP to the host of an address.
var mailers = map[string]bool{"esmtp": true, "smtp": true, "smtp8": true, "dsmtp": true, "relay": true}

// judge puts an expansion into the words of the new host.
func (b *builder) judge(x *sendmail.Expansion) *verdict {
	v := &verdict{}
	var errors []loss
	for i := range x.Deliveries {
		d := &x.Deliveries[i]
		step := lastFile(d.Via)
		v.all = append(v.all, d.Via...)
		if v.step == nil {
			v.step = firstFile(d.Via)
		}
		if d.Kind != sendmail.DeliverError && !slices.Contains(v.senders, d.Sender) {
			v.senders = append(v.senders, d.Sender)
		}
		lose := func(code, words string) { v.lost = append(v.lost, loss{code, words, step}) }
		switch d.Kind {
		case sendmail.DeliverMailbox:
			if d.Account == nil {
				lose("alias.not-carried", "the mailbox of "+d.User+" has no account")
			} else if name, ok := b.o.Users[d.Account.Name]; ok {
				v.ends = append(v.ends, End{Mailbox, name})
			} else {
				lose("alias.account-not-carried", "account "+d.Account.Name+" is not carried")
			}
		case sendmail.DeliverRemote:
			if !mailers[d.Mailer] || !plainAddress(d.User) {
				lose("alias.not-carried", "qmail cannot deliver to "+d.User+" by Sendmail's mailer "+d.Mailer)
			} else {
				v.ends = append(v.ends, End{Remote, d.User})
			}
		case sendmail.DeliverProgram:
			if b.vacation(v, d, lose) {
				continue
			}
			b.command(v, Program, "preline "+d.Program, "|"+d.Program, d, lose)
		case sendmail.DeliverFile:
			if d.File == "/dev/null" {
				v.ends = append(v.ends, End{Discard, ""})
			} else if b.o.AllowPrograms && (b.o.NoFiles || forwarded(d.Via)) {
				v.off = append(v.off, d.File)
				lose("alias.file-disabled", "written as a comment, because vdelivermail delivers to no file: "+cut(d.File))
			} else {
				b.command(v, File, d.File, d.File, d, lose)
			}
		default:
			errors = append(errors, loss{"alias.member-fails", d.Address + ": " + d.Text, step})
			if v.text == "" {
				v.text = d.Text
			}
		}
	}
	b.settle(v, errors)
	return v
}

// command takes a program or a file, which runs or is written as vpopmail's
// user, no more as its owner.
func (b *builder) command(v *verdict, kind, arg, raw string, d *sendmail.Delivery, lose func(code, words string)) {
	allowed := b.o.AllowPrograms
	if named(d.Via) {
		allowed = b.o.AllowUserPrograms
	}
	switch {
	case strings.ContainsAny(raw, "\n\x00") || len(arg) > maxLine-4 || kind == File && strings.HasSuffix(raw, "/"):
		lose("alias."+kindName[kind]+"-not-carried", "this "+kindName[kind]+" cannot stand in a .qmail file: "+cut(raw))
	case allowed:
		v.ends = append(v.ends, End{kind, arg})
		who := "Sendmail's default user"
		if d.As != nil {
			who = d.As.Name
		}
		v.enabled = append(v.enabled, loss{"alias." + kindName[kind] + "-enabled", "vpopmail's user, no more " + who + ", runs or writes " + cut(raw), lastFile(d.Via)})
	default:
		v.off = append(v.off, raw)
		lose("alias."+kindName[kind]+"-disabled", "written as a comment: "+cut(raw))
	}
}

// vacation takes the call of vacation(1) in a user's own .forward.
func (b *builder) vacation(v *verdict, d *sendmail.Delivery, lose func(code, words string)) bool {
	step := lastFile(d.Via)
	if step == nil || step.Kind != "forward" {
		return false
	}
	user, carried := b.o.Users[step.Name]
	call, ok := sendmail.ParseVacation(d.Program)
	if !ok || !carried {
		return false
	}
	if v.seconds == nil {
		v.seconds = map[string]int64{}
	}
	b.m.Replies[user], v.seconds[user] = call.Message, call.Seconds
	if b.o.AllowPrograms {
		v.ends = append(v.ends, End{Reply, user})
		v.enabled = append(v.enabled, loss{"alias.vacation-enabled", "autorespond, which must be installed, sends the text in place of vacation, to everybody who writes", step})
		return true
	}
	v.replies = append(v.replies, user)
	lose("alias.vacation-disabled", "the text is carried; that it is sent is written as a comment: "+cut(d.Program))
	return true
}

// named says that a user may have named a program or a file: in a .forward, or
// in a list, which he may own. What runs as him on the old host would run as
// somebody who can read everybody's mail on the new one.
func named(via []sendmail.Step) bool {
	return slices.ContainsFunc(via, func(s sendmail.Step) bool { return s.Kind == "forward" || s.Kind == "include" })
}

var kindName = map[string]string{Program: "program", File: "file"}

// maxLine is what valias puts into a file.
const maxLine = 159

func cut(s string) string { return s[:min(len(s), 200)] }

// settle sorts the ends, and leaves out what changes nothing: recipients that
// come twice, errors and /dev/null beside other ends.
func (b *builder) settle(v *verdict, errors []loss) {
	slices.SortFunc(v.ends, func(x, y End) int {
		if c := strings.Compare(x.Kind, y.Kind); c != 0 {
			return c
		}
		return strings.Compare(x.Where, y.Where)
	})
	v.ends = slices.Compact(v.ends)
	slices.Sort(v.off)
	v.off = slices.Compact(v.off)
	slices.Sort(v.replies)
	v.replies = slices.Compact(v.replies)
	if len(v.ends) > 1 {
		v.ends = slices.DeleteFunc(v.ends, func(e End) bool { return e.Kind == Discard })
	}
	switch {
	case len(errors) == 0:
	case len(v.ends) == 0 && len(v.lost) == 0:
		v.ends = []End{{Bounce, v.text}}
	default:
		v.failed = errors
	}
}

// plainAddress says whether an address can stand in a .qmail file and on a
// command line of qmail as it is.
func plainAddress(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at == len(s)-1 || len(s) > maxLine-1 {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || strings.IndexByte("\"(),:;<>[\\]`", s[i]) >= 0 {
			return false
		}
	}
	return true
}

// forwarded says that a .forward is on the way.
func forwarded(via []sendmail.Step) bool {
	return slices.ContainsFunc(via, func(s sendmail.Step) bool { return s.Kind == "forward" })
}

func firstFile(via []sendmail.Step) *sendmail.Step {
	for i := range via {
		if via[i].Kind != "rules" {
			return &via[i]
		}
	}
	return nil
}

func lastFile(via []sendmail.Step) *sendmail.Step {
	for i := range slices.Backward(via) {
		if via[i].Kind != "rules" {
			return &via[i]
		}
	}
	return nil
}
