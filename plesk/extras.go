package plesk

import (
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// responders reads the autoresponders, which hang on mail names.
func (p *psa) responders() error {
	where := map[uint64]func() *Responder{}
	err := p.each("mail_resp", []string{"id", "mn_id"}, func(r row) (err error) {
		m, err := p.mailname(r)
		if err != nil {
			return fmt.Errorf("autoresponder %q: %w", r.text("resp_name"), err)
		}
		a := Responder{Name: r.text("resp_name"), On: r.yes("resp_on"), Key: r.text("keystr"), Where: r.text("key_where"), Subject: r.text("subject"),
			ReplyTo: r.text("reply_to"), Text: r.text("text"), ContentType: r.text("content_type"), Charset: r.text("charset"), End: r.text("endDate"),
			Frequency: r.number("ans_freq", 0), Store: r.number("mem_limit", 0)}
		if a.ID, err = r.id("id"); err != nil {
			return err
		}
		if where[a.ID] != nil {
			return fmt.Errorf("autoresponder %d is there already", a.ID)
		}
		i := len(m.Responders)
		m.Responders = append(m.Responders, a)
		where[a.ID] = func() *Responder { return &m.Responders[i] }
		return nil
	})
	if err != nil {
		return err
	}
	more := func(name, column string, add func(a *Responder, text string)) error {
		return p.each(name, []string{"rn_id", column}, func(r row) error {
			id, err := r.id("rn_id")
			if err != nil {
				return err
			}
			if where[id] == nil {
				return fmt.Errorf("belongs to autoresponder %d, which there is not", id)
			}
			if text := r.text(column); text != "" { // there are empty ones on old hosts
				add(where[id](), text)
			}
			return nil
		})
	}
	if err := more("resp_attach", "filename", func(a *Responder, s string) { a.Attachments = append(a.Attachments, s) }); err != nil {
		return err
	}
	return more("resp_forward", "address", func(a *Responder, s string) { a.Forwards = append(a.Forwards, s) })
}

func (p *psa) lists() error {
	return p.each("maillists", []string{"dom_id", "name"}, func(r row) error {
		id, err := r.id("dom_id")
		if err != nil {
			return err
		}
		d := p.domain[id]
		if d == nil {
			return fmt.Errorf("mailing list %q belongs to domain %d, which there is not", r.text("name"), id)
		}
		d.Lists = append(d.Lists, r.text("name"))
		p.problem("mailing-list", qmailkit.Warning, "mailing list %s@%s is Mailman's and is not carried", r.text("name"), d.Name)
		return nil
	})
}

func (p *psa) misc() error {
	return p.each("misc", []string{"param", "val"}, func(r row) error {
		if r.text("param") == "allow_short_pop3_names" {
			switch strings.ToLower(r.text("val")) {
			case "enabled", "true", "1", "yes", "on":
				p.out.ShortNames = true
			}
		}
		return nil
	})
}
