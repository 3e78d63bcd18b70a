package plesk

import (
	"fmt"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// originalSubject is how psa says that an answer gets the subject of what it
// answers.
const originalSubject = "Re: <request_subject>"

// responders are the calls of the tool autoresponder.
func (c *commander) responders() (out []Command) {
	if len(c.m.Responders) == 0 {
		return nil
	}
	if c.o.Tool == ToolRedirect {
		for i := range c.m.Responders {
			out = append(out, c.oldResponder(&c.m.Responders[i])...)
		}
		if c.m.AutoRespond && len(out) > 0 {
			out = append(out, Command{Argv: []string{c.program("autoresponder"), "--on", c.addr}, Comment: "switch the autoresponders of " + c.addr + " on"})
		}
		return out
	}
	at := mainResponder(c.m.Responders)
	for i, r := range c.m.Responders {
		if i != at {
			c.problem("responders", qmailkit.Warning, "", "%s: autoresponder %q is left out: this Plesk has one for each name", c.addr, r.Name)
		}
	}
	return c.newResponder(&c.m.Responders[at])
}

// value appends an option with a text, if there is one and it can be given.
func (c *commander) value(argv []string, r *Responder, option, text string) []string {
	if text == "" {
		return argv
	}
	if err := checkArg(text); err != nil {
		c.problem("argument", qmailkit.Error, "set it in the panel", "%s: autoresponder %q: %s: %w", c.addr, r.Name, option, err)
		return argv
	}
	return append(argv, option, text)
}

// oldResponder makes one of several (autoresponder.sh of Plesk 7.5).
func (c *commander) oldResponder(r *Responder) []Command {
	if err := checkArg(r.Name); err != nil || r.Name == "" {
		c.problem("argument", qmailkit.Error, "make it in the panel", "%s: an autoresponder cannot be called %q", c.addr, r.Name)
		return nil
	}
	argv := []string{c.program("autoresponder"), "--create", r.Name, "-mail", c.addr, "-status", yesNo(r.On)}
	requires := "always"
	if (r.Where == "subj" || r.Where == "body") && r.Key != "" {
		requires = r.Where + ":" + r.Key
	}
	argv = c.value(argv, r, "-requires", requires)
	subject := r.Subject
	if subject == "" || subject == originalSubject {
		subject = "original"
	}
	argv = c.value(argv, r, "-subject", subject)
	argv = c.value(argv, r, "-replyto", r.ReplyTo)
	argv = c.value(argv, r, "-text", r.Text)
	if r.Frequency > 0 {
		argv = append(argv, "-frq", fmt.Sprint(r.Frequency))
	}
	if r.Store > 0 {
		argv = append(argv, "-store", fmt.Sprint(r.Store))
	}
	argv = append(argv, c.responderForward(r)...)
	c.format(r)
	out := []Command{{Argv: argv, Unless: []string{c.program("autoresponder"), "--info", r.Name, "-mail", c.addr}, Comment: "autoresponder of " + c.addr}}
	if files := c.list("attachment", r.Attachments); files != "" {
		out = append(out, Command{Argv: []string{c.program("autoresponder"), "--update", r.Name, "-mail", c.addr, "-attach", "add:" + files},
			Comment: "its attachments", AfterCopy: true})
	}
	return out
}

// responderForward is the one address to which a copy goes.
func (c *commander) responderForward(r *Responder) []string {
	for i, a := range r.Forwards {
		if i > 0 {
			c.problem("responder-forwards", qmailkit.Warning, "", "%s: autoresponder %q forwards to one address; %q is left out", c.addr, r.Name, a)
		}
	}
	if len(r.Forwards) == 0 {
		return nil
	}
	return c.value(nil, r, "-redirect", r.Forwards[0])
}

// newResponder sets the only one. The options are those that sources show in
// use; what else psa holds is reported.
func (c *commander) newResponder(r *Responder) []Command {
	argv := []string{c.program("autoresponder"), "--update", "-mail", c.addr, "-status", yesNo(r.On && c.m.AutoRespond)}
	argv = c.value(argv, r, "-subject", r.Subject)
	argv = c.value(argv, r, "-text", r.Text)
	argv = append(argv, c.responderForward(r)...)
	switch day, ok := r.ends(); {
	case !ok:
		c.problem("responder-end", qmailkit.Warning, "set it in the panel", "%s: autoresponder %q ends on %q, which is no day", c.addr, r.Name, r.End)
	case day != "":
		argv = append(argv, "-end-date", day)
	}
	if r.conditional() {
		c.problem("responder-condition", qmailkit.Error, "leave it off, or accept that it answers everything", "%s: autoresponder %q answers only where %s holds %q; this Plesk has no conditions, so that it is left out", c.addr, r.Name, r.Where, r.Key)
		return nil
	}
	if r.ReplyTo != "" {
		c.problem("responder-reply-to", qmailkit.Warning, "", "%s: autoresponder %q: the reply address %q is left out", c.addr, r.Name, r.ReplyTo)
	}
	if r.Frequency != 0 && r.Frequency != 10 {
		c.problem("responder-frequency", qmailkit.Info, "set it in the panel", "%s: autoresponder %q answers a sender %d times a day", c.addr, r.Name, r.Frequency)
	}
	c.format(r)
	out := []Command{{Argv: argv, Comment: "autoresponder of " + c.addr}}
	var files []string
	for _, f := range r.Attachments {
		if f == "" || f == "." || f == ".." || strings.Contains(f, "/") {
			c.problem("argument", qmailkit.Error, "", "%s: attachment %q is no file name", c.addr, f)
			continue
		}
		files = append(files, path.Join(c.o.Mailnames, DirName(c.d.Name), DirName(c.m.Name), AttachmentsName, f))
	}
	if list := c.list("attachment", files); list != "" {
		out = append(out, Command{Argv: []string{c.program("autoresponder"), "--update", "-mail", c.addr, "-attach", "add:" + list},
			Comment: "its attachments", AfterCopy: true})
	}
	return out
}

// format reports what the tools' options do not tell.
func (c *commander) format(r *Responder) {
	if t := strings.ToLower(r.ContentType); t != "" && t != "text/plain" && t != "plain" {
		c.problem("responder-format", qmailkit.Warning, "set the format in the panel", "%s: autoresponder %q is of type %q", c.addr, r.Name, r.ContentType)
	}
	if s := strings.ToLower(r.Charset); s != "" && s != "utf-8" && s != "utf8" && s != "us-ascii" {
		c.problem("responder-charset", qmailkit.Info, "", "%s: autoresponder %q was sent as %q", c.addr, r.Name, r.Charset)
	}
}
