//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/plesk"
)

// probeConfig is what probe is told besides.
type probeConfig struct {
	direct, via string
	helo        string
	timeout     time.Duration
}

func (c *config) probeFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.probe.direct, "smtproute", "", "`HOST[:PORT]` of the new host's SMTP server")
	fs.StringVar(&c.probe.via, "via", "", "`HOST[:PORT]` of the old host's SMTP server: ask it too")
	c.smtpFlags(fs)
}

func (c *config) smtpFlags(fs *flag.FlagSet) {
	fs.StringVar(&c.probe.helo, "helo", "", "`NAME` to greet with (default: this host's)")
	fs.DurationVar(&c.probe.timeout, "timeout", time.Minute, "how long an answer is waited for")
}

// An answer is what a host says to one address.
type answer struct {
	Host    string      `json:"host"`
	Address jsonl.Bytes `json:"address"`
	Taken   string      `json:"taken"` // "yes", "no", "unknown"
	Code    int         `json:"code"`  // 0: there was no reply
	Reply   jsonl.Bytes `json:"reply"`
}

// answers are those of one host.
type answers struct {
	list             []answer
	refused, unknown int
	greeting         string // the host's own words
	// everything says that the host takes a name that nobody has: then its
	// yes says of the domain only that it is taken.
	everything bool
}

func doProbe(ctx context.Context, c *config, env *cli.Env) error {
	if c.probe.direct == "" && c.probe.via == "" {
		return cli.Usagef("-smtproute HOST[:PORT] of the new host is missing, or -via of the old one")
	}
	m := &move{c: c, domain: strings.ToLower(c.domain)}
	if err := m.readPsa(ctx); err != nil {
		return err
	}
	if m.dom == nil {
		return cli.Usagef("-source-db or -source-dump is missing: it tells the addresses")
	}
	list := m.addresses()
	var refused, unknown int
	for _, host := range []string{c.probe.direct, c.probe.via} {
		if host == "" {
			continue
		}
		if c.dryRun {
			env.Printf("%s would be asked for %s\n", host, cli.Plural(int64(len(list)), "address|addresses"))
			continue
		}
		a, err := c.ask(ctx, host, m.domain, list)
		if err != nil {
			return err
		}
		if err := a.show(env, c.json, host); err != nil {
			return err
		}
		refused += a.refused
		unknown += a.unknown
	}
	switch {
	case refused > 0:
		return cli.Partialf("%s refused", cli.Plural(int64(refused), "address was|addresses were"))
	case unknown > 0:
		return &cli.Exit{Code: cli.CannotTell, Err: fmt.Errorf("of %s it cannot be told", cli.Plural(int64(unknown), "address|addresses"))}
	}
	return nil
}

// addresses are all that the domain takes mail for: mailboxes, forwards and
// aliases, under each of its names.
func (m *move) addresses() (list []string) {
	for _, d := range plesk.MailDomains(m.dom) {
		for _, n := range m.dom.Mailnames {
			if n.Mailbox || len(n.Forwards) > 0 {
				list = append(list, n.Name+"@"+d)
			}
			for _, a := range n.Aliases {
				list = append(list, a+"@"+d)
			}
		}
	}
	return list
}

// show tells what a host has said.
func (a *answers) show(env *cli.Env, asJSON bool, host string) error {
	enc := jsonl.NewEncoder(env.Stdout)
	for _, x := range a.list {
		if asJSON {
			if err := enc.Encode(x); err != nil {
				return err
			}
		}
		if x.Taken != "yes" {
			env.Printf("%s: %s: %s: %s\n", host, cli.Name(string(x.Address)), map[string]string{"no": "REFUSED", "unknown": "cannot tell"}[x.Taken], cli.Name(string(x.Reply)))
		}
	}
	env.Printf("%s: %s: %s taken, %s refused, %s unknown\n", host, cli.Plural(int64(len(a.list)), "address|addresses"),
		cli.Count(int64(len(a.list)-a.refused-a.unknown)), cli.Count(int64(a.refused)), cli.Count(int64(a.unknown)))
	if a.everything {
		env.Printf("%s takes a name that nobody has, too: that it takes an address says no more than that it takes the domain\n", host)
	}
	return nil
}

// noSuchName is the local part that nobody has.
const noSuchName = "qmailkit-probe-no-such-name"

// ask tries every address at a host, by RCPT only. A connection that cannot be
// had makes all answers unknown; an error is that of ctx.
func (c *config) ask(ctx context.Context, host, domain string, list []string) (*answers, error) {
	a := &answers{}
	p := &prober{c: c, host: withPort(host)}
	defer p.drop()
	for _, addr := range append(list[:len(list):len(list)], noSuchName+"@"+domain) {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		code, reply := p.try(ctx, addr)
		if strings.HasPrefix(addr, noSuchName+"@") {
			a.everything = code/100 == 2
			break
		}
		x := answer{Host: host, Address: jsonl.Bytes(addr), Code: code, Reply: jsonl.Bytes(reply), Taken: "unknown"}
		switch code / 100 {
		case 2:
			x.Taken = "yes"
		case 5:
			x.Taken = "no"
			a.refused++
		default:
			a.unknown++
		}
		a.list = append(a.list, x)
	}
	if err := p.quit(); errors.Is(err, errOutOfTurn) {
		a.doubt(err)
	}
	a.greeting = p.greeting
	return a, nil
}

// doubt makes all answers unknown.
func (a *answers) doubt(why error) {
	for i := range a.list {
		a.list[i].Taken, a.list[i].Reply = "unknown", jsonl.Bytes(why.Error())
	}
	a.refused, a.unknown, a.everything = 0, len(a.list), false
}

func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "25")
}

// A prober is a connection to an SMTP server.
type prober struct {
	c        *config
	host     string
	conn     *boundedConn
	stop     func() bool // of the watch over the context
	text     *textproto.Conn
	greeting string
	tried    int // recipients since MAIL
	opened   int // connections
	silent   int // addresses in a row to which there was no reply
	dead     error
}

const (
	// perMail is how many recipients are tried before RSET: RFC 5321 wants a
	// server to take a hundred.
	perMail = 50
	// maxOpened bounds the connections to a server that ends each of them.
	maxOpened = 100
	// maxSilent is how many addresses in a row may get no reply.
	maxSilent = 3
	// maxReply is far more than a reply has, of however many lines.
	maxReply = 64 << 10
)

var (
	errLongReply = errors.New("its reply does not end")
	errOutOfTurn = errors.New("it says more than it was asked for, so that its replies cannot be told apart")
)

// A boundedConn gives no more bytes than left.
type boundedConn struct {
	net.Conn
	left int
}

func (b *boundedConn) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errLongReply
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// try asks for one address; code 0 is that there was no reply, and why.
func (p *prober) try(ctx context.Context, addr string) (code int, reply string) {
	path, err := smtpPath(addr)
	if err != nil {
		return 0, err.Error()
	}
	// A server may end a long connection; one new one is tried.
	for range 2 {
		if err = p.ready(ctx); err == nil {
			p.tried++
			code, reply, err = p.do("RCPT TO:" + path)
			if err == nil && code != 421 {
				p.silent = 0
				return code, reply
			}
		}
		p.drop()
		if p.dead != nil {
			break
		}
	}
	if err == nil {
		return code, reply
	}
	if p.silent++; p.silent == maxSilent && p.dead == nil {
		p.dead = err
	}
	return 0, err.Error()
}

// ready connects, if that is needed, and begins a mail.
func (p *prober) ready(ctx context.Context) error {
	if p.dead != nil {
		return p.dead
	}
	if p.text == nil {
		if err := p.connect(ctx); err != nil {
			p.dead = err
			return err
		}
	}
	if p.tried < perMail {
		return nil
	}
	if code, reply, err := p.do("RSET"); err != nil || code/100 != 2 {
		return refusal("RSET", code, reply, err)
	}
	return p.mail()
}

func (p *prober) connect(ctx context.Context) (err error) {
	if p.opened++; p.opened > maxOpened {
		return errors.New("it ends every connection")
	}
	d := net.Dialer{Timeout: p.c.probe.timeout}
	conn, err := d.DialContext(ctx, "tcp", p.host)
	if err != nil {
		return err
	}
	p.conn = &boundedConn{Conn: conn, left: maxReply}
	p.stop = context.AfterFunc(ctx, func() { conn.Close() })
	p.text = textproto.NewConn(p.conn)
	p.conn.SetDeadline(time.Now().Add(p.c.probe.timeout))
	code, reply, err := p.text.ReadResponse(0)
	if err != nil || code != 220 {
		return refusal("the greeting", code, reply, err)
	}
	p.greeting = reply
	helo := p.c.probe.helo
	if helo == "" {
		if helo, _ = os.Hostname(); helo == "" {
			helo = "localhost"
		}
	}
	code, reply, err = p.do("EHLO " + helo)
	if err == nil && code/100 == 5 {
		code, reply, err = p.do("HELO " + helo)
	}
	if err != nil || code/100 != 2 {
		return refusal("HELO", code, reply, err)
	}
	return p.mail()
}

func (p *prober) mail() error {
	p.tried = 0
	if code, reply, err := p.do("MAIL FROM:<>"); err != nil || code/100 != 2 {
		return refusal("MAIL", code, reply, err)
	}
	return nil
}

func refusal(what string, code int, reply string, err error) error {
	if err != nil && err != io.EOF {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err == io.EOF {
		return fmt.Errorf("%s: it ends the connection", what)
	}
	return fmt.Errorf("%s: %d %s", what, code, reply)
}

// do sends a command and reads its reply, of any code.
func (p *prober) do(command string) (int, string, error) {
	if p.text.R.Buffered() > 0 {
		return 0, "", errOutOfTurn
	}
	p.conn.left = maxReply
	p.conn.SetDeadline(time.Now().Add(p.c.probe.timeout))
	if err := p.text.PrintfLine("%s", command); err != nil {
		return 0, "", err
	}
	code, reply, err := p.text.ReadResponse(0)
	if reply == "" && err == nil {
		reply = fmt.Sprint(code)
	}
	return code, reply, err
}

// quit ends the connection in good manners. Of all replies, that to QUIT is one
// that no other command gets: another one here belongs to what was said before.
func (p *prober) quit() error {
	if p.text == nil {
		return nil
	}
	defer p.drop()
	code, _, err := p.do("QUIT")
	if err == nil && code/100 == 2 && code != 221 {
		err = errOutOfTurn
	}
	return err
}

// drop ends it at once.
func (p *prober) drop() {
	if p.text != nil {
		p.stop()
		p.text.Close()
	}
	p.text, p.conn, p.tried = nil, nil, 0
}

// smtpPath writes an address as MAIL and RCPT want it (RFC 5321, 4.1.2): the
// local part is quoted where it is no dot-string.
func smtpPath(addr string) (string, error) {
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		return "", errors.New("no address")
	}
	local, domain := addr[:at], addr[at+1:]
	if strings.ContainsAny(addr, "\r\n\x00") || strings.ContainsAny(domain, " <>") || domain == "" {
		return "", errors.New("an address that SMTP cannot say")
	}
	plain := local != "" && local[0] != '.' && local[len(local)-1] != '.' && !strings.Contains(local, "..")
	for i := 0; i < len(local); i++ {
		c := local[i]
		plain = plain && c > ' ' && c < 0x7f && !strings.ContainsRune(`()<>@,;:\"[]`, rune(c))
	}
	if !plain {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	return "<" + local + "@" + domain + ">", nil
}
