//go:build unix

package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/report"
)

// What belongs to the old host is told with the step to take, and not copied.
func TestPlanHost(t *testing.T) {
	s := newSite(t)
	const handlers = "usr/local/psa/handlers/before-local/recipient/"
	for name, text := range map[string]string{
		handlers + "anna@example.com/10-check-quota": "", handlers + "bert@example.com/scan": "", handlers + "x@other.example/scan": "", handlers + "all/footer": "",
		"var/lib/plesk/mail/handlers/handlers.db": "SQLite format 3", "etc/courier-imap/pop3d": "SHORTNAMES=1\n",
	} {
		s.write("old/"+name, text, 0o644)
	}
	s.check(s.err)
	r := s.report(0, "plan", s.there()...)
	var got []string
	for _, it := range r.Oddities {
		if strings.Contains(it.Code, "handler") || strings.Contains(it.Code, "short-names") {
			got = append(got, it.Code+" "+it.Severity+" "+strings.TrimPrefix(string(it.Path), handlers))
		}
	}
	slices.Sort(got)
	s.diff([]string{"host.short-names warning etc/courier-imap", "plesk.handlers-db warning var/lib/plesk/mail/handlers/handlers.db", "plesk.mail-handler info anna@example.com/10-check-quota",
		"plesk.mail-handler warning all/footer", "plesk.mail-handler warning bert@example.com/scan"}, got)
	if !slices.ContainsFunc(r.Oddities, func(it report.Item) bool {
		return it.Code == "plesk.handlers-db" && strings.Contains(it.Words, "not carried") && strings.Contains(it.Fix, "/usr/local/psa/admin/sbin/mail_handlers_control --list")
	}) {
		t.Errorf("%+v", r.Oddities)
	}
	s.move(0, "copy")
	for _, name := range []string{"new/usr/local/psa/handlers", "new/var/lib/plesk"} {
		if _, err := os.Lstat(s.path(name)); !missing(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
