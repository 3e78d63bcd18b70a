package plesk

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
)

func TestFindShortNames(t *testing.T) {
	for text, want := range map[string]bool{"SHORTNAMES=1\n": true, "# SHORTNAMES=1\nX=1": false, "SHORTNAMES=1\nSHORTNAMES=0": false, " SHORTNAMES=\"1\" # yes\n": true, "": false} {
		_, tree := hostTree(t, map[string]string{"etc/courier-imap/imapd": "X=1\n", "etc/courier-imap/pop3d-ssl": text})
		if got, err := FindShortNames(tree); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	_, tree := hostTree(t, map[string]string{"etc/": ""})
	if on, err := FindShortNames(tree); on || err != nil {
		t.Error(on, err)
	}
	_, tree = hostTree(t, map[string]string{"etc/courier-imap/imapd/": ""})
	if _, err := FindShortNames(tree); err == nil {
		t.Error("a directory is read as a file")
	}
}

func TestCheckHandlers(t *testing.T) {
	const top = "usr/local/psa/handlers/"
	_, tree := hostTree(t, map[string]string{
		top + "before-local/recipient/anna@example.com/10-check-quota-x": "", top + "before-queue/sender/bert@example.com/scan": "",
		top + "before-local/all/": "", top + "info/x/y/z": "", "var/lib/plesk/mail/handlers/handlers.db": "SQLite",
	})
	probs, err := CheckHandlers(t.Context(), tree, "/usr/local/psa")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]qmailkit.Severity{}
	for _, p := range probs {
		got[p.Code+" "+p.Path] = p.Severity
	}
	if d := cmp.Diff(map[string]qmailkit.Severity{
		"plesk.handlers-db var/lib/plesk/mail/handlers/handlers.db":                              qmailkit.Warning,
		"plesk.mail-handler " + top + "before-local/recipient/anna@example.com/10-check-quota-x": qmailkit.Info,
		"plesk.mail-handler " + top + "before-queue/sender/bert@example.com/scan":                qmailkit.Warning,
	}, got); d != "" {
		t.Error(d)
	}
	_, tree = hostTree(t, map[string]string{"etc/": ""})
	if probs, err := CheckHandlers(t.Context(), tree, "/opt/psa"); err != nil || len(probs) > 0 {
		t.Error(probs, err)
	}
}
