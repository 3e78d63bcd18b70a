package qmailcontrol

import (
	"strings"
	"time"
)

// ProgramResult is what the exit code of a program in a .qmail file means.
type ProgramResult uint8

const (
	ProgramDone     ProgramResult = iota // delivered; the next line follows
	ProgramDoneLast                      // delivered; the lines that follow are skipped
	ProgramDefer                         // a temporary failure: all of it is tried again
	ProgramBounce                        // a permanent failure
)

// String returns "done", "done-last", "defer" or "bounce".
func (r ProgramResult) String() string {
	return [...]string{"done", "done-last", "defer", "bounce", "unknown"}[min(r, ProgramBounce+1)]
}

// ProgramExit tells what qmail-local makes of a program's exit code
// (qmail-command(8)). A program that a signal ends defers the mail.
func ProgramExit(code int) ProgramResult {
	switch code {
	case 0:
		return ProgramDone
	case 99:
		return ProgramDoneLast
	case 100, 64, 65, 70, 76, 77, 78, 112:
		return ProgramBounce
	}
	return ProgramDefer
}

// Environ returns what qmail-local adds to the environment of programs
// (qmail-command(8)), each as "NAME=value". The time now is that of $UFLINE.
func (p *LocalPlan) Environ(now time.Time) []string {
	l := p.call
	ext := [4]string{l.Ext}
	host := [4]string{l.Host}
	for i := range 3 {
		// Where there is no other dash nothing is left; where there is no other
		// dot all is.
		_, ext[i+1], _ = strings.Cut(ext[i], "-")
		host[i+1] = host[i]
		if dot := strings.LastIndexByte(host[i], '.'); dot >= 0 {
			host[i+1] = host[i][:dot]
		}
	}
	from := "MAILER-DAEMON"
	if l.Sender != "" {
		from = strings.NewReplacer(" ", "-", "\t", "-", "\n", "-").Replace(l.Sender)
	}
	recipient := l.Local + "@" + l.Host
	env := []string{
		"SENDER=" + l.Sender, "NEWSENDER=" + p.NewSender, "RECIPIENT=" + recipient,
		"USER=" + l.User, "HOME=" + l.Home,
		"HOST=" + host[0], "HOST2=" + host[1], "HOST3=" + host[2], "HOST4=" + host[3],
		"LOCAL=" + l.Local,
		"EXT=" + ext[0], "EXT2=" + ext[1], "EXT3=" + ext[2], "EXT4=" + ext[3],
	}
	if p.Name.IsDefault {
		env = append(env, "DEFAULT="+p.Name.Default)
	}
	return append(env,
		"DTLINE="+oneLine("Delivered-To: "+recipient)+"\n",
		"RPLINE="+oneLine("Return-Path: <"+quoteAddress(l.Sender))+">\n",
		"UFLINE=From "+from+" "+now.UTC().Format("Mon Jan 02 15:04:05 2006")+"\n",
	)
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "_") }

// quoteAddress puts the part before the last '@' in quotes where RFC 821 wants
// them (quote.c).
func quoteAddress(addr string) string {
	if addr == "" {
		return ""
	}
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		at = len(addr)
	}
	local := addr[:at]
	if !needsQuotes(local) {
		return addr
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(local) {
		if strings.IndexByte("\r\n\"\\", c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String() + `"` + addr[at:]
}

// needsQuotes says whether a local part is something else than atoms with
// single dots between them.
func needsQuotes(local string) bool {
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" {
			return true
		}
		for _, c := range []byte(atom) {
			letter := 'a' <= c|0x20 && c|0x20 <= 'z' && c < 0x80
			if !letter && !('0' <= c && c <= '9') && strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) < 0 {
				return true
			}
		}
	}
	return false
}
