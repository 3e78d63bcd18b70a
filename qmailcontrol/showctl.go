package qmailcontrol

import (
	"bufio"
	"fmt"
	"io"
)

// Installation is what qmail-showctl tells of how qmail was built. The zero
// value of a field is shown as it is; see DefaultInstallation.
type Installation struct {
	Home   string // conf-qmail
	Break  string // conf-break
	Patrn  int    // conf-patrn
	Spawn  int    // conf-spawn
	Split  int    // conf-split
	Alias  uint32 // user ids
	QmailD uint32
	QmailL uint32
	Root   uint32
	QmailP uint32
	QmailQ uint32
	QmailR uint32
	QmailS uint32
	// Group ids.
	NoFiles uint32
	Qmail   uint32
}

// DefaultInstallation returns how qmail is built if nobody changes anything:
// /var/qmail, "-", 002, 120 and 23. Users and groups have the number 0.
func DefaultInstallation() Installation {
	return Installation{Home: "/var/qmail", Break: "-", Patrn: 2, Spawn: 120, Split: 23}
}

// ShowCtl writes what qmail-showctl(8) prints of the control directory, byte
// for byte; other files come last, here in alphabetical order and there as the
// file system has them. If control/me cannot be read the text ends with the
// complaint, and qmail-showctl exits 111: the error is then a *ControlsError.
func (c *Config) ShowCtl(w io.Writer, in Installation) error {
	s := &shower{w: bufio.NewWriter(w), c: c}
	s.head(in)
	if err := c.line("me").Err; err != nil {
		s.put("Oops! Trouble reading control/me.")
		if err := s.w.Flush(); err != nil {
			return err
		}
		return &ControlsError{"qmail-showctl", "me", err}
	}
	known := map[string]bool{}
	for _, f := range shown {
		known[f.name] = true
		s.put("\n" + f.name + ": ")
		kind, _ := FileNamed(f.name)
		switch kind.Kind {
		case KindLine:
			s.str(f)
		case KindInt:
			s.number(f)
		case KindCDB:
			s.cdb()
		default:
			s.list(f)
		}
	}
	for _, name := range c.Names() {
		if !known[name] {
			s.put("\n" + name + ": I have no idea what this file does.\n")
		}
	}
	return s.w.Flush()
}

// show says in which words qmail-showctl tells of a file: before and behind the
// value, and for a list without a file.
type show struct{ name, pre, post, missing string }

// shown are the files in the order of qmail-showctl.
var shown = [...]show{
	{"badmailfrom", "", " not accepted in MAIL FROM.", "Any MAIL FROM is allowed."},
	{name: "bouncefrom", pre: "Bounce user name is "},
	{name: "bouncehost", pre: "Bounce host name is "},
	{name: "concurrencylocal", pre: "Local concurrency is "},
	{name: "concurrencyremote", pre: "Remote concurrency is "},
	{name: "databytes", pre: "SMTP DATA limit is ", post: " bytes"},
	{name: "defaultdomain", pre: "Default domain name is "},
	{name: "defaulthost", pre: "Default host name is "},
	{name: "doublebouncehost", pre: "2B recipient host: "},
	{name: "doublebounceto", pre: "2B recipient user: "},
	{name: "envnoathost", pre: "Presumed domain name is "},
	{name: "helohost", pre: "SMTP client HELO host name is "},
	{name: "idhost", pre: "Message-ID host name is "},
	{name: "localiphost", pre: "Local IP address becomes "},
	{"locals", "Messages for ", " are delivered locally.", "Messages for me are delivered locally."},
	{name: "me", pre: "My name is "},
	{"percenthack", "The percent hack is allowed for user%host@", ".", "The percent hack is not allowed."},
	{name: "plusdomain", pre: "Plus domain name is "},
	{"qmqpservers", "QMQP server: ", ".", "No QMQP servers."},
	{name: "queuelifetime", pre: "Message lifetime in the queue is ", post: " seconds"},
	{"rcpthosts", acceptedHosts, ".", "SMTP clients may send messages to any recipient."},
	{"morercpthosts", acceptedHosts, ".", "No effect."},
	{name: "morercpthosts.cdb"},
	{name: "smtpgreeting", pre: "SMTP greeting: 220 "},
	{"smtproutes", "SMTP route: ", "", "No artificial SMTP routes."},
	{name: "timeoutconnect", pre: "SMTP client connection timeout is ", post: " seconds"},
	{name: "timeoutremote", pre: "SMTP client data timeout is ", post: " seconds"},
	{name: "timeoutsmtpd", pre: "SMTP server data timeout is ", post: " seconds"},
	{"virtualdomains", "Virtual domain: ", "", "No virtual domains."},
}

const (
	acceptedHosts = "SMTP clients may send messages to recipients at "
	isDefault     = "(Default.) "
	oopsRead      = "Oops! Trouble reading this file.\n"
)

type shower struct {
	w *bufio.Writer
	c *Config
}

// put writes words; the error waits for Flush.
func (s *shower) put(words ...string) {
	for _, word := range words {
		s.w.WriteString(word)
	}
}

// safe shows what is not printable ASCII as '?'.
func safe(value string) string {
	b := []byte(value)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

func (s *shower) head(in Installation) {
	fmt.Fprintf(s.w, "qmail home directory: %s.\nuser-ext delimiter: %s.\n", in.Home, in.Break)
	fmt.Fprintf(s.w, "paternalism (in decimal): %d.\nsilent concurrency limit: %d.\nsubdirectory split: %d.\n", in.Patrn, in.Spawn, in.Split)
	fmt.Fprintf(s.w, "user ids: %d, %d, %d, %d, %d, %d, %d, %d.\ngroup ids: %d, %d.\n",
		in.Alias, in.QmailD, in.QmailL, in.Root, in.QmailP, in.QmailQ, in.QmailR, in.QmailS, in.NoFiles, in.Qmail)
}

func (s *shower) str(f show) {
	set := s.c.line(f.name)
	switch {
	case set.Err != nil:
		s.put(oopsRead)
		return
	case set.From == Nowhere && f.name == "me":
		set.Value = "undefined! Uh-oh"
	case set.From == Nowhere:
		set.Value = f.name // what it says where its reader would stop
	}
	if set.From != FromFile {
		s.put(isDefault)
	}
	s.put(f.pre, safe(set.Value), ".\n")
}

func (s *shower) number(f show) {
	set := s.c.number(f.name)
	if set.Err != nil {
		s.put(oopsRead)
		return
	}
	if set.From == FromDefault {
		s.put(isDefault)
	}
	fmt.Fprintf(s.w, "%s%d%s.\n", f.pre, max(set.Value, 0), f.post)
}

// list does not ask me for locals.
func (s *shower) list(f show) {
	l, found, err := s.c.get(f.name)
	if _, there := s.c.entries["rcpthosts"]; !there && f.name == "morercpthosts" {
		f.pre = "No rcpthosts; doesn't matter that morercpthosts has "
		f.missing = "No rcpthosts; morercpthosts is irrelevant."
	}
	switch {
	case err != nil:
		s.put(oopsRead)
	case !found:
		s.put(isDefault, f.missing, "\n")
	default:
		s.put("\n")
		for _, v := range l.Values() {
			s.put(f.pre, safe(v), f.post, "\n")
		}
	}
}

// cdb compares the times of morercpthosts and its cdb.
func (s *shower) cdb() {
	text, hasText := s.c.entries["morercpthosts"]
	cdb, hasCDB := s.c.entries["morercpthosts.cdb"]
	const oops = "Oops! "
	switch {
	case !hasText && !hasCDB:
		s.put(isDefault, "No effect.\n")
	case !hasText:
		s.put(oops, "morercpthosts.cdb exists but morercpthosts doesn't.\n")
	case !hasCDB:
		s.put(oops, "morercpthosts exists but morercpthosts.cdb doesn't.\n")
	case text.Info.ModTime.Unix() > cdb.Info.ModTime.Unix():
		s.put(oops, "morercpthosts.cdb is older than morercpthosts.\n")
	default:
		s.put("Modified recently enough; hopefully up to date.\n")
	}
}
