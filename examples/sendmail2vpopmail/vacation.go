package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/sendmail"
)

// A reply is the text that vacation(1) sent for a user, as autorespond takes
// it.
type reply struct {
	name string // on the new host
	path string // on the old one
	text []byte
}

// findReplies reads the vacation texts of all accounts that are carried: also
// of those who are at home now, and will be away again.
func (m *move) findReplies() {
	for _, a := range m.accounts {
		file, sent := m.addresses.Replies[a.Name]
		if !sent {
			file = sendmail.VacationMessage
		}
		text, path, err := m.host.VacationText(a.Account, strings.TrimPrefix(file, strings.TrimRight(a.Account.Home, "/")+"/"))
		p := qmailkit.Problem{Path: path}
		switch {
		case err == nil:
			r := reply{name: a.Name, path: path}
			var changed bool
			r.text, changed = replyText(text, m.address(a))
			m.replies = append(m.replies, r)
			p.Code, p.Severity = "vacation.carried", qmailkit.Info
			p.Err = fmt.Errorf("the vacation text of %s is %s/%s in the user's directory", a.Name, aliasmap.ReplyDir, aliasmap.ReplyFile)
			if changed {
				p.Code, p.Severity = "vacation.changed", qmailkit.Warning
				p.Err = fmt.Errorf("%w; in it \"%s\" stands for the subject of the mail, which autorespond cannot put there", p.Err, noSubject)
			}
		case sent:
			p.Code, p.Severity = "vacation.no-text", qmailkit.Error
			p.Err = fmt.Errorf("%s runs vacation, whose text cannot be read: %w", a.Name, err)
		default:
			continue // NotCarried tells of one that cannot be read
		}
		m.problem(p)
	}
}

// noSubject is what stands in the place of the subject.
const noSubject = "your mail"

// replyText makes a message of a vacation text: with a From line, as qmailadmin
// writes it, and a blank line before the body. changed says that it stands for
// the subject no more.
func replyText(text []byte, addr string) (b []byte, changed bool) {
	head, from, body := []byte(nil), false, text
	for {
		line, rest, _ := bytes.Cut(body, []byte("\n"))
		name, _, ok := bytes.Cut(line, []byte(":"))
		continued := len(head) > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t')
		if !continued && (!ok || len(name) == 0 || bytes.ContainsAny(name, " \t\r\x00")) {
			body = bytes.TrimPrefix(bytes.TrimPrefix(body, []byte("\r\n")), []byte("\n"))
			break
		}
		from = from || !continued && strings.EqualFold(string(name), "From")
		head = append(append(head, line...), '\n')
		body = rest
	}
	if !from {
		head = append([]byte("From: "+addr+"\n"), head...)
	}
	b = append(append(head, '\n'), body...)
	with := bytes.ReplaceAll(b, []byte("$SUBJECT"), []byte(noSubject))
	return with, !bytes.Equal(b, with)
}

func replyKey(domain, name string) string { return "vacation " + domain + " " + name }

// digest is what the state keeps of a text.
func digest(text []byte) []string { return []string{fmt.Sprintf("%x", sha256.Sum256(text))} }

// maxReply is the most that is read of a text on the new host.
const maxReply = 4 << 20

// readReply is the digest of the text in a user's directory; none is nil.
func readReply(home *safefs.Dir) ([]string, error) {
	d, err := home.Sub(aliasmap.ReplyDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer d.Close()
	text, err := d.ReadFile(aliasmap.ReplyFile, maxReply)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return digest(text), err
}

// addReplies writes the vacation texts, before anything sends them.
func (g *migration) addReplies(ctx context.Context) error {
	want := map[string]bool{}
	for i := range g.replies {
		r := &g.replies[i]
		want[replyKey(g.domain, r.name)] = true
		if err := g.reply(ctx, r); err != nil {
			return err
		}
	}
	var gone []string
	for rec := range g.t.records.All() {
		if name, ok := strings.CutPrefix(rec.Key, replyKey(g.domain, "")); ok && !want[rec.Key] {
			gone = append(gone, name)
		}
	}
	for _, name := range gone {
		if err := g.reply(ctx, &reply{name: name}); err != nil {
			return err
		}
	}
	return nil
}

// reply brings one text into its place, or takes it away. What was changed on
// the new host stays.
func (g *migration) reply(ctx context.Context, r *reply) error {
	home, err := g.t.openHome(ctx, r.name+"@"+g.domain)
	if err != nil || home == nil {
		return err
	}
	defer home.Close()
	e := &aliasmap.Entry{Name: r.name, Domain: g.domain, Path: r.path}
	now, err := readReply(home)
	if err != nil {
		g.problem(qmailkit.Problem{Code: "vacation.kept", Severity: qmailkit.Error, Path: e.Path,
			Err: fmt.Errorf("the vacation text of %s cannot be read, and stays: %w", e.Name, err)})
		return nil
	}
	key := replyKey(g.domain, r.name)
	var want []string
	if r.text != nil {
		want = digest(r.text)
	}
	write, err := g.decide(key, e, now, want)
	if err != nil || !write {
		return err
	}
	if r.text == nil {
		err = removeReply(home)
	} else {
		err = g.writeReply(home, r.text)
	}
	if err != nil {
		return err
	}
	return g.written(key, want)
}

func (g *migration) writeReply(home *safefs.Dir, text []byte) error {
	owner := safefs.Owner{UID: g.owner.UID, GID: g.owner.GID}
	d, made, err := home.Mkdir(aliasmap.ReplyDir, 0o700, owner)
	if err != nil {
		return err
	}
	defer d.Close()
	if made {
		if err := home.Sync(); err != nil {
			return err
		}
	}
	return d.WriteFile(aliasmap.ReplyFile, safefs.Replacement{Mode: 0o600, Owner: owner, Temp: replyTemp}, text)
}

const replyTemp = "." + aliasmap.ReplyFile + ".qmailkit"

// removeReply takes a text away, and its directory where nothing else is in it.
func removeReply(home *safefs.Dir) error {
	d, err := home.Sub(aliasmap.ReplyDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Remove(aliasmap.ReplyFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	for _, err := range d.Entries(context.Background()) {
		return err // of autorespond: who has got a reply
	}
	if err := home.RemoveDir(aliasmap.ReplyDir); err != nil {
		return err
	}
	return home.Sync()
}

// replied says whether a Problem tells of a text that is carried.
func (m *move) replied(p qmailkit.Problem) bool {
	return p.Code == "sendmail.vacation-not-carried" && slices.ContainsFunc(m.replies, func(r reply) bool { return r.path == p.Path })
}
