package qmailcontrol

import (
	"math"
	"net/netip"
	"strings"
)

// maxAddress is the longest address that qmail-smtpd takes, and a NUL.
const maxAddress = 900

// What qmail-smtpd answers to RCPT.
const (
	ReplyOK         = "250 ok"
	ReplySyntax     = "555 syntax error (#5.5.4)"
	ReplyBadSender  = "553 sorry, your envelope sender is in my badmailfrom list (#5.7.1)"
	ReplyNotAllowed = "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"
	ReplyControls   = "421 unable to read controls (#4.3.0)"
)

// SMTPDOptions are what else qmail-smtpd goes by. The nil pointer is the zero
// value.
type SMTPDOptions struct {
	// RelayClient is the environment variable RELAYCLIENT, if it is set: the
	// client may send anywhere, and the value is put behind each recipient.
	RelayClient *string
	// DataBytes is the environment variable DATABYTES, if it is set.
	DataBytes *string
	// IsMe says whether an IPv4 address is one of this host. 0.0.0.0 always
	// is; nil knows 127.0.0.1 besides.
	IsMe func(netip.Addr) bool
}

// SMTPD decides as qmail-smtpd does during the envelope (qmail-smtpd.c).
type SMTPD struct {
	Greeting  string // behind "220 ", and before " ESMTP"
	Hosts     *RcptHosts
	DataBytes uint32 // the longest message, in bytes; 0 means any
	Timeout   int    // seconds; at least 1

	bad         Set
	localIPHost string
	replaceIP   bool
	opts        SMTPDOptions
}

// SMTPD returns the decisions of the files that c holds now. The error is a
// *ControlsError: qmail-smtpd greets with ReplyControls.
func (c *Config) SMTPD(opts *SMTPDOptions) (*SMTPD, error) {
	s := controls{program: "qmail-smtpd"}
	set := c.Settings()
	take(&s, "me", set.Me)
	d := &SMTPD{
		Greeting:    need(&s, "smtpgreeting", set.SMTPGreeting),
		localIPHost: take(&s, "localiphost", set.LocalIPHost),
		replaceIP:   set.LocalIPHost.From != Nowhere,
	}
	d.Timeout = max(take(&s, "timeoutsmtpd", set.TimeoutSMTPD), 1)
	d.Hosts = c.rcptHosts(&s)
	d.bad = newSet(take(&s, "badmailfrom", set.BadMailFrom))
	d.DataBytes = uint32(take(&s, "databytes", set.DataBytes))
	if opts != nil {
		d.opts = *opts
	}
	if env := d.opts.DataBytes; env != nil {
		n, _ := scanNumber(*env)
		d.DataBytes = uint32(n)
	}
	if d.DataBytes == math.MaxUint32 {
		d.DataBytes-- // it counts up to one more than that
	}
	if s.err != nil {
		return nil, s.err
	}
	return d, nil
}

// ParseAddress takes the address out of what follows "MAIL " or "RCPT ", such
// as "TO:<joe@example.com>" (qmail-smtpd.c:addrparse). An address that is too
// long is not ok. [ip] of this host is replaced by control/localiphost.
func (d *SMTPD) ParseAddress(arg string) (addr string, ok bool) {
	arg, _, _ = strings.Cut(arg, "\x00")
	end := byte('>')
	if i := strings.IndexByte(arg, '<'); i >= 0 {
		arg = arg[i+1:]
	} else {
		end = ' '
		_, arg, _ = strings.Cut(arg, ":")
		arg = strings.TrimLeft(arg, " ")
	}
	if strings.HasPrefix(arg, "@") {
		_, arg, _ = strings.Cut(arg, ":") // the source route
	}
	addr = d.replace(unquote(arg, end))
	return addr, len(addr) < maxAddress
}

// unquote copies an address up to its end, without quotes and backslashes.
func unquote(arg string, end byte) string {
	var b strings.Builder
	escaped, quoted := false, false
	for i := range len(arg) {
		switch c := arg[i]; {
		case escaped:
			b.WriteByte(c)
			escaped = false
		case c == end && !quoted:
			return b.String()
		case c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// replace puts localiphost in the place of an address literal of this host.
func (d *SMTPD) replace(addr string) string {
	at := strings.LastIndexByte(addr, '@')
	if !d.replaceIP || at < 0 {
		return addr
	}
	ip, n := scanBracket(addr[at+1:])
	if n == 0 || at+1+n < len(addr) || !d.isMe(ip) {
		return addr
	}
	return addr[:at+1] + d.localIPHost
}

func (d *SMTPD) isMe(ip netip.Addr) bool {
	switch {
	case ip.IsUnspecified():
		return true
	case d.opts.IsMe != nil:
		return d.opts.IsMe(ip)
	}
	return ip == netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// BadSender says whether badmailfrom has an envelope sender, or its "@host".
func (d *SMTPD) BadSender(sender string) bool {
	if d.bad.Has(sender) {
		return true
	}
	at := strings.LastIndexByte(sender, '@')
	return at >= 0 && d.bad.Has(sender[at:])
}

// Recipient returns the reply to RCPT with this argument after MAIL with that
// one, such as "FROM:<>" and "TO:<joe@example.com>", and the recipient that
// qmail-queue gets if the reply is ReplyOK. After ReplyControls qmail-smtpd
// ends the connection. A MAIL that it refuses is answered ReplySyntax.
func (d *SMTPD) Recipient(mail, rcpt string) (reply, addr string) {
	sender, ok := d.ParseAddress(mail)
	if !ok {
		return ReplySyntax, ""
	}
	addr, ok = d.ParseAddress(rcpt)
	switch {
	case !ok:
		return ReplySyntax, ""
	case d.BadSender(sender):
		return ReplyBadSender, ""
	}
	addr, _, _ = strings.Cut(addr, "\x00")
	if d.opts.RelayClient != nil {
		return ReplyOK, addr + *d.opts.RelayClient
	}
	allowed, err := d.Hosts.Allows(addr)
	switch {
	case err != nil:
		return ReplyControls, ""
	case !allowed:
		return ReplyNotAllowed, ""
	}
	return ReplyOK, addr
}
