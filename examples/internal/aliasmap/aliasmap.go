// Package aliasmap says what the addresses of a Sendmail host become on a host
// with qmail and vpopmail: domains, catch-alls, .qmail files of addresses and
// of users.
//
// It does not translate files. It asks sendmail.Expander where mail to each
// address ends, and writes the lines that lead to the same ends; so whatever
// Sendmail does on the way, such as leaving out a recipient that comes twice,
// is done. Lists that are read on the way are a snapshot. What has no equal is
// a Problem, with the file and line that it stands in.
package aliasmap

import (
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// The kinds of an End.
const (
	Mailbox = "maildir"   // Where is the user name on the new host
	Remote  = "remote"    // Where is the address
	Program = "program"   // Where is the command
	File    = "mbox"      // Where is the path
	Discard = "discarded" // Where is empty
	Bounce  = "bounced"   // Where is the text
	Reply   = "reply"     // Where is the user whose vacation text is sent
)

// An End is where mail comes to rest.
type End struct{ Kind, Where string }

// The kinds of a Line, beside those of an End.
const (
	User    = "user"    // the user's address, so that his own .qmail counts
	Forward = "forward" // an address of a domain that moves
	Off     = "off"     // a comment: what is not carried
	Hold    = "hold"    // the mail waits: nothing of what was there is carried
	NoReply = "noreply" // a comment: a Reply that is not enabled
)

// A Line is one instruction of a .qmail file.
type Line struct {
	Kind, Arg string
	Seconds   int64 // of a Reply: how long nobody gets another one
}

// HoldLine makes qmail keep the mail in its queue. It stands where all that the
// source has for an address is disabled: a file of comments would throw the
// mail away, and without a file it would bounce.
const HoldLine = "|exit 111"

// Text is the line in a .qmail file; ok is false for one that cannot be
// written, because its Maildir is not known. A user's own .qmail has own as
// its user. domain is that of the users, maildir tells where one's Maildir is.
func (l Line) Text(domain, own string, maildir func(user string) (string, bool)) (text string, ok bool) {
	switch l.Kind {
	case User:
		return "&" + l.Arg + "@" + domain, true
	case Remote, Forward:
		return "&" + l.Arg, true
	case Mailbox:
		if l.Arg == own {
			return "./Maildir/", true
		}
		dir, ok := maildir(l.Arg)
		return dir + "/", ok
	case Program:
		return "|" + l.Arg, true
	case File:
		return l.Arg, true
	case Bounce:
		return "|" + bounceCommand(l.Arg), true
	case Off:
		return "# " + l.Arg, true
	case Hold:
		return HoldLine, true
	case Reply, NoReply:
		dir, ok := maildir(l.Arg)
		home, below := strings.CutSuffix(dir, "/Maildir")
		text = "|" + replyCommand(home, l.Seconds)
		if l.Kind == NoReply {
			text = "# " + text
		}
		return text, ok && below && !strings.ContainsAny(home, "'\n")
	}
	return "#", true
}

// autorespond is the program that qmailadmin uses for vacation texts, with
// options by which it adds nothing to the text, and sends it with an empty
// envelope sender.
const autorespond = "autorespond "

// ReplyDir is the directory of a vacation text in a user's own, and ReplyFile
// the text: so qmailadmin has it.
const ReplyDir, ReplyFile = "vacation", "message"

// replyCommand is the command that sends a user's vacation text. A reply that
// fails must not make qmail deliver the mail once more.
func replyCommand(home string, seconds int64) string {
	if seconds < 0 {
		seconds = 1<<31 - 1
	}
	return fmt.Sprintf("%s%d 1 '%s/%s/%s' '%[3]s/%[4]s' 0 + || exit 0", autorespond, seconds, home, ReplyDir, ReplyFile)
}

// ReplyHome is the user's directory in a command that Text has made of a Reply;
// ok is false for any other.
func ReplyHome(command string) (home string, ok bool) {
	_, rest, found := strings.Cut(command, " 1 '")
	home, _, ok = strings.Cut(rest, "/"+ReplyDir+"/"+ReplyFile+"' '")
	return home, ok && found && strings.HasPrefix(command, autorespond)
}

// bounceCommand is the program that sends mail back with a text. What a shell
// or a header could take amiss is left out.
func bounceCommand(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '\'' || r == '\\' {
			return -1
		}
		return r
	}, text)
	return "bouncesaying '" + clean[:min(len(clean), 100)] + "'"
}

// An Entry is an address with lines of its own: .qmail-NAME or rows of valias.
// That of a Home is the .qmail file of a user.
type Entry struct {
	Name, Domain string
	Lines        []Line
	Path         string // of the source
	Line         int
}

// A Domain is one whose addresses are not those of the users' domain.
type Domain struct {
	Name     string
	CatchAll string // an address; empty bounces
}

// An Address is one of the source, with where its mail has to end.
type Address struct {
	Name, Domain string
	Ends         []End
	// Bounces are the ends of the mail that comes back from forwarding, where
	// the list has an owner.
	Bounces []End
	// Lost says that the source has more, which is reported as not carried.
	Lost bool
	// Free says that the new host deliberately does otherwise.
	Free bool
	Path string
	Line int
}

// A Map is the whole plan.
type Map struct {
	CatchAll string   // of the users' domain: an address; empty bounces
	Aliases  []string // domains with the same addresses
	Separate []Domain
	Entries  []Entry
	Homes    []Entry
	// Addresses are those that a proof has to ask for, of all domains.
	Addresses []Address
	Problems  []qmailkit.Problem
	// Replies are the files of vacation(1) that are sent, by the names of the
	// users on the new host.
	Replies map[string]string
	// Read are the .forward files and lists that were followed. One that
	// Sendmail refuses is not among them.
	Read map[string]bool

	domain string  // of the users
	owners []Entry // LIST-owner of each list that has one
}
