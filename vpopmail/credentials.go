package vpopmail

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// maxCredentials is what a program may write to descriptor 3 at most
// (checkpassword's interface).
const maxCredentials = 512

// Credentials are what qmail-popup and others hand over on descriptor 3.
type Credentials struct {
	Name string // as it was typed
	// Password, or with a Challenge perhaps the answer to it.
	Password qmailkit.Secret
	// Challenge is the timestamp of APOP or the challenge of CRAM-MD5; empty
	// where none was sent.
	Challenge string
}

// ParseCredentials reads the bytes of descriptor 3: name, password and
// timestamp, each with a NUL behind it. The end of the bytes ends a field too,
// and nothing is read behind the third NUL (vchkpw.c:read_user_pass).
//
// vchkpw reads 155 bytes, and compares a password that does not fit cut. Here
// all count, up to the 512 of the interface; more is ErrTooLong.
func ParseCredentials(b []byte) (Credentials, error) {
	if len(b) > maxCredentials {
		return Credentials{}, fmt.Errorf("vpopmail: credentials: %w: %d bytes, the most is %d", ErrTooLong, len(b), maxCredentials)
	}
	var f [3]string
	for i := range f {
		field, rest, _ := bytes.Cut(b, []byte{0})
		f[i], b = string(field), rest
	}
	return Credentials{Name: f[0], Password: qmailkit.Secret(f[1]), Challenge: f[2]}, nil
}

// Append appends the bytes for descriptor 3.
func (c Credentials) Append(dst []byte) []byte {
	for _, f := range []string{c.Name, string(c.Password), c.Challenge} {
		dst = append(append(dst, f...), 0)
	}
	return dst
}

// A Service is what a login is for.
type Service uint8

const (
	ServicePOP     Service = iota // where nothing tells another
	ServiceSMTP                   // sending mail; the user's directory is not entered
	ServiceIMAP                   // reading mail; APOP and CRAM-MD5 are not for it
	ServiceWebmail                // POP or IMAP from the host itself
)

// String returns "pop", "smtp", "imap" or "webmail".
func (s Service) String() string {
	if s > ServiceWebmail {
		return "service(" + strconv.Itoa(int(s)) + ")"
	}
	return [...]string{"pop", "smtp", "imap", "webmail"}[s]
}

// ServiceOf says what vchkpw takes a connection for. The port decides if it is
// one of the well-known; else the name of the program that is run after the
// login, SMTP with "true" in it and IMAP with "imap". What is left is POP. POP
// and IMAP from 127.0.0.1 are webmail.
func ServiceOf(port int, program, clientIP string) Service {
	s := ServicePOP
	switch port {
	case 25, 465, 587:
		s = ServiceSMTP
	case 143, 993:
		s = ServiceIMAP
	case 110, 995:
	default:
		if strings.Contains(program, "true") {
			s = ServiceSMTP
		} else if strings.Contains(program, "imap") {
			s = ServiceIMAP
		}
	}
	if s != ServiceSMTP && clientIP == "127.0.0.1" {
		return ServiceWebmail
	}
	return s
}

// An Attempt is a login as it comes in.
type Attempt struct {
	Credentials
	Service  Service
	ClientIP string // where it comes from; see CleanIP
	ServerIP string // which address was called, for etc/ip_alias_map
	// DefaultDomain is the domain of a name without one, before any other
	// default.
	DefaultDomain string
}

// NewAttempt fills an Attempt in from the environment as vchkpw does:
// TCPREMOTEIP or else REMOTE_HOST, TCPLOCALIP, VPOPMAIL_DOMAIN, and for the
// Service TCPLOCALPORT and the program that is run after the login. lookup is
// os.LookupEnv.
func NewAttempt(c Credentials, program string, lookup func(name string) (string, bool)) Attempt {
	a := Attempt{Credentials: c}
	ip, ok := lookup("TCPREMOTEIP")
	if !ok {
		ip, _ = lookup("REMOTE_HOST")
	}
	a.ClientIP = CleanIP(ip)
	local, _ := lookup("TCPLOCALIP")
	a.ServerIP = CleanIP(local)
	domain, _ := lookup("VPOPMAIL_DOMAIN")
	a.DefaultDomain = cleanEnv(domain)
	port, _ := lookup("TCPLOCALPORT")
	a.Service = ServiceOf(atoi(port), program, a.ClientIP)
	return a
}

// CleanIP takes the prefix of an IPv4 address off that came in by IPv6
// ("::ffff:192.0.2.1"), and turns what vpopmail does not trust in an address
// into '_' (vpopmail.c:get_remote_ip). Other IPv6 addresses keep their colons,
// of which vpopmail leaves what stands behind the third.
func CleanIP(ip string) string {
	if len(ip) > 7 && strings.EqualFold(ip[:7], "::ffff:") && strings.Contains(ip, ".") {
		ip = ip[7:]
	}
	if strings.Contains(ip, ":") {
		return strings.Map(func(r rune) rune {
			if r == ':' || trusted(r) {
				return r
			}
			return '_'
		}, ip)
	}
	return cleanEnv(ip)
}

// cleanEnv replaces the bytes that vpopmail does not trust in its environment
// (ok_env_chars).
func cleanEnv(s string) string {
	b := []byte(s)
	for i, c := range b {
		if !trusted(rune(c)) {
			b[i] = '_'
		}
	}
	return string(b)
}

func trusted(r rune) bool {
	return r < 0x80 && (alnum(byte(r)) || strings.ContainsRune("_-.@", r))
}

// splitLogin takes a login name apart (vpopmail.c:parse_email): in lower case,
// at the first '@', or where there is none at the first '%', or at the first
// '/'. ok is false where a byte is in it that neither part may have.
func splitLogin(name string) (user, domain string, ok bool) {
	user = lower(name)
	for _, at := range []string{"@", "%", "/"} {
		if u, d, found := strings.Cut(user, at); found {
			user, domain = u, d
			break
		}
	}
	for i := 0; i < len(domain); i++ {
		if c := domain[i]; !alnum(c) && c != '.' && c != '-' {
			return user, domain, false
		}
	}
	return user, domain, userChars(user)
}

// userChars says whether vpopmail would look such a user up. Unlike
// Profile.User it lets a slash pass: there is no such user, and that is the
// answer.
func userChars(user string) bool {
	for i := 0; i < len(user); i++ {
		if c := user[i]; !alnum(c) && c != '/' && strings.IndexByte(userBytes, c) < 0 {
			return false
		}
	}
	return true
}
