//go:build unix

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"github.com/emersion/go-message/charset"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/queue"
)

// maxKey is how much of a sender or subject is told apart.
const maxKey = 256

// topper counts messages by what they have in common.
type topper struct {
	j    *job
	sel  selection
	by   string
	most int
}

func topCommand() *cli.Command {
	t := &topper{j: &job{}}
	return &cli.Command{
		Name:  "top",
		Short: "count messages by sender, recipient's domain, subject, source address or login",
		Long: `-by domain counts recipients that are not done; all others count messages.
-by ip goes by the topmost Received field that a network put there: the address
that handed the message to this host. Where there is none it is the user number
under which a program here sent it.
-by auth goes by what stands before the address there, or in X-Authenticated-User
and the like: the login of SMTP AUTH, with most patches for it.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			t.j.flags(fs)
			t.sel.flags(fs)
			fs.StringVar(&t.by, "by", "sender", "what to count by: `sender|domain|subject|ip|auth`")
			fs.IntVar(&t.most, "n", 20, "the `N` most frequent; 0 is all")
			return t.j.action(t.run)
		},
	}
}

// count is a line of top.
type count struct {
	Count int64       `json:"count"`
	Bytes int64       `json:"bytes"`
	Key   jsonl.Bytes `json:"key"`
	text  string
}

func (t *topper) run(ctx context.Context, args []string) error {
	keys, ok := map[string]func(m *queue.Message) ([]string, error){
		"sender": senderKey, "domain": domainKeys, "subject": subjectKey, "ip": ipKey, "auth": authKey,
	}[t.by]
	if !ok {
		return cli.Usagef("-by %q is none of sender, domain, subject, ip, auth", t.by)
	}
	if err := t.sel.ready(args); err != nil {
		return err
	}
	counts := map[string]*count{}
	err := t.j.each(ctx, &t.sel, func(m *queue.Message) error {
		list, err := keys(m)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.j.trouble(m, err)
		}
		for i, k := range list {
			if len(k) > maxKey {
				k = k[:maxKey]
			}
			c := counts[k]
			if c == nil {
				c = &count{Key: jsonl.Bytes(k), text: k}
				counts[k] = c
			}
			c.Count++
			if !slices.Contains(list[:i], k) {
				c.Bytes += max(m.Size, 0)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(t.print(counts), absent(t.sel.missing()))
}

func (t *topper) print(counts map[string]*count) error {
	var list []*count
	for _, c := range counts {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.text, b.text))
	})
	if t.most > 0 && len(list) > t.most {
		list = list[:t.most]
	}
	for _, c := range list {
		if t.j.json {
			if err := t.j.enc.Encode(c); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(t.j.out, "%8d  %10s  %s\n", c.Count, cli.Size(c.Bytes), cli.Name(c.text))
	}
	return nil
}

func senderKey(m *queue.Message) ([]string, error) {
	if !m.HasSender {
		return []string{"(not known)"}, nil
	}
	return []string{"<" + lower(m.Sender) + ">"}, nil
}

func domainKeys(m *queue.Message) (list []string, err error) {
	for r, e := range m.Recipients() {
		if e != nil {
			err = e
			continue
		}
		if !r.Done {
			list = append(list, lower(r.Address[strings.LastIndexByte(r.Address, '@')+1:]))
		}
	}
	return list, err
}

func subjectKey(m *queue.Message) ([]string, error) {
	h, err := m.Header()
	if err != nil {
		return nil, err
	}
	return []string{h.Text("Subject", charset.Reader)}, nil
}

// hop is what a Received field tells of who handed a message over.
type hop struct {
	ip    string
	login string
	local string // "uid 48", where no network was involved
}

// firstHop reads the Received fields from the top: qmail-queue's own, which
// names the user, then the one that qmail-smtpd wrote:
// "from NAME (HELO name) (login@192.0.2.1)" (received.c).
func firstHop(h *queue.Header) (out hop) {
	for v := range h.Values("Received") {
		if rest, ok := strings.CutPrefix(v, "(qmail "); ok {
			if _, by, ok := strings.Cut(rest, "invoked "); ok && out.local == "" {
				by, _, _ = strings.Cut(by, ")")
				out.local = strings.TrimPrefix(by, "by ")
			}
			continue
		}
		if !strings.HasPrefix(lower(v), "from ") {
			continue
		}
		from, _, _ := strings.Cut(v, ";")
		for part := range strings.FieldsFuncSeq(from, func(c rune) bool { return strings.ContainsRune(" \t\n\r()[]", c) }) {
			login, ip := "", part
			if at := strings.LastIndexByte(part, '@'); at >= 0 {
				login, ip = part[:at], part[at+1:]
			}
			ip = strings.TrimPrefix(strings.TrimPrefix(ip, "IPv6:"), "::ffff:")
			if a, err := netip.ParseAddr(ip); err == nil {
				out.ip, out.login = a.String(), login
			}
			if part == "by" {
				break
			}
		}
		return out
	}
	return out
}

func ipKey(m *queue.Message) ([]string, error) {
	h, err := m.Header()
	if err != nil {
		return nil, err
	}
	switch hop := firstHop(h); {
	case hop.ip != "":
		return []string{hop.ip}, nil
	case hop.local != "":
		return []string{hop.local}, nil
	}
	return []string{"(not known)"}, nil
}

// loginFields are those in which programs note the login of SMTP AUTH.
var loginFields = []string{"X-Authenticated-User", "X-Authenticated-Sender", "X-Authenticated-Id", "X-Auth-User", "X-SMTP-Auth-User", "X-Sender-Login"}

func authKey(m *queue.Message) ([]string, error) {
	h, err := m.Header()
	if err != nil {
		return nil, err
	}
	if hop := firstHop(h); hop.login != "" {
		return []string{lower(hop.login)}, nil
	}
	for _, name := range loginFields {
		if v, ok := h.Get(name); ok && v != "" {
			return []string{lower(v)}, nil
		}
	}
	return []string{"(none)"}, nil
}
