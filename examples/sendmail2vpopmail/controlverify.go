package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/controlmap"
	"github.com/qmailkit/qmailkit/examples/internal/report"
)

// controlProof asks both hosts which way mail goes, and from whom and for whom
// it is taken.
func (p *proof) controlProof(ctx context.Context) error {
	if p.control == nil {
		return nil
	}
	d, err := openControl(ctx, p.t.Qmail)
	if err != nil {
		return err
	}
	defer d.close()
	rd, rules, err := p.openTCP()
	if err != nil {
		return err
	}
	if rd != nil {
		defer rd.close()
	}
	h, err := controlmap.NewHost(d.now, rules)
	if err != nil {
		p.failure(qmailkit.Problem{Code: "verify.control", Severity: qmailkit.Error, Path: "control", Err: err})
		return nil
	}
	asked, free, unknown := 0, 0, 0
	for i := range p.control.Questions {
		q := &p.control.Questions[i]
		if q.Free {
			free++
			continue
		}
		got, err := h.Answer(q)
		switch {
		case errors.Is(err, controlmap.ErrRules):
			unknown++
			continue
		case err != nil:
			return err
		case got != q.Want:
			p.failure(qmailkit.Problem{Code: "verify.control", Severity: qmailkit.Error, Path: q.Path, Line: q.Line,
				Err: fmt.Errorf("%s: %s; on the old host %s", q, got, q.Want)})
		}
		asked++
	}
	if h.OpenRelay() {
		p.failure(qmailkit.Problem{Code: "verify.open-relay", Severity: qmailkit.Error, Path: "control/rcpthosts", Err: errors.New("everybody may relay through the new host")})
	}
	words := "What differs is among the failures of the verification."
	if free > 0 {
		words += fmt.Sprintf(" %s not compared, because the new host deliberately decides otherwise; what is changed or not carried is listed.", cli.Plural(int64(free), "decision was|decisions were"))
	}
	if unknown > 0 {
		words += fmt.Sprintf(" %s not compared either: they need the rules of tcp.smtp (-tcp-smtp).", cli.Plural(int64(unknown), "decision about clients was|decisions about clients were"))
	}
	p.r.Notices = append(p.r.Notices, report.Notice{
		Code: "notice.control", Title: cli.Plural(int64(asked), "decision") + " about routes and relaying compared", Words: words,
	})
	return nil
}
