package sendmail

import "strings"

// A Route is an entry of mailertable, taken apart (cf/README, "USING
// MAILERTABLES").
type Route struct {
	Entry *TableEntry
	// Domain is the host in lower case, or with Below the domain all whose
	// hosts are meant, but not itself; empty with Below is everything.
	Domain string
	Below  bool
	Mailer string // "smtp", "esmtp", "relay", "local", "error" and others, as it stands
	// Hosts are tried one after the other; there is none for the mailer local
	// without a user.
	Hosts []RouteHost
	User  string    // "local:user", or "mailer:user@host"
	Error *MapError // of the mailer error
}

// A RouteHost is one host of a Route.
type RouteHost struct {
	Name string // without brackets; %1 stands for what Below matched
	NoMX bool   // it stood in brackets: no MX record is asked for
}

// ParseRoute takes an entry of mailertable apart. A value without a mailer is
// taken for one of "relay", as MailerToTriple does; Sendmail itself looks its
// domain up in mailertable once more, and then finds no route.
func ParseRoute(e *TableEntry) Route {
	r := Route{Entry: e, Domain: lower(e.Key)}
	r.Domain, r.Below = strings.CutPrefix(r.Domain, ".")
	if r.Error = parseMapError(e.Value); r.Error != nil {
		r.Mailer = "error"
		return r
	}
	mailer, rest, ok := strings.Cut(e.Value, ":")
	if !ok || strings.HasPrefix(e.Value, "[") {
		mailer, rest = "relay", e.Value
	}
	r.Mailer = mailer
	if lower(mailer) == localMailer {
		r.User = rest
		return r
	}
	if user, host, ok := strings.Cut(rest, "@"); ok {
		r.User, rest = user, host
	}
	for rest != "" {
		var host string
		if end := strings.IndexByte(rest, ']'); rest[0] == '[' && end > 0 {
			r.Hosts = append(r.Hosts, RouteHost{rest[1:end], true})
			rest = strings.TrimPrefix(rest[end+1:], ":")
			continue
		}
		host, rest, _ = strings.Cut(rest, ":")
		r.Hosts = append(r.Hosts, RouteHost{host, false})
	}
	return r
}

// A Mailer is an M line of sendmail.cf.
type Mailer struct {
	Name  string
	Path  string // "[IPC]", or a program
	Args  string // "TCP $h"
	Flags string
}

// Mailer returns the mailer of that name, which is one of a Delivery.
func (x *Expander) Mailer(name string) (Mailer, bool) {
	m, ok := x.conf.mailers[lower(name)]
	return Mailer{lower(name), m.path, m.args, m.flags}, ok
}

// services are the names of ports that stand in configurations.
var services = map[string]string{"smtp": "25", "smtps": "465", "submission": "587"}

// SMTP says whether the mailer speaks SMTP to the host by TCP, and to which
// port, in digits.
func (m Mailer) SMTP() (port string, ok bool) {
	words := strings.Fields(m.Args)
	if m.Path != "[IPC]" && m.Path != "[TCP]" || strings.Contains(m.Flags, "z") || len(words) < 2 || words[0] != "TCP" && words[0] != "IPC" || words[1] != "$h" {
		return "", false // LMTP, a socket of this host, or always the same host
	}
	if len(words) == 2 {
		return "25", true
	}
	port = words[2]
	if digits, known := services[lower(port)]; known {
		port = digits
	}
	return port, port != "" && len(port) <= 5 && strings.Trim(port, "0123456789") == ""
}
