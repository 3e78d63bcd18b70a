package plesk

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestWriteResponders writes autoresponders into psa as it is and as it could
// be: each setting is written, or told.
func TestWriteResponders(t *testing.T) {
	full := Responder{ID: 1, Name: "away", On: true, Where: "no", Subject: "Re: <request_subject>", ReplyTo: "me@x.org", Text: "Bin weg; gr\u00fc\u00dfe\r\n'quoted'\n",
		Frequency: 3, Store: 50, Attachments: []string{"map, of.pdf", "b"}, Forwards: []string{"copy@x.org"}}
	dated := Responder{ID: 2, Name: "dated", Text: "x", ContentType: "text/html", Charset: "KOI8-R", End: "2031-05-06 00:00:00"}
	asks := Responder{ID: 3, Name: "asks", On: true, Key: "price", Where: "subj", Text: "much"}
	odd := Responder{ID: 4, Name: "odd", Text: "x", End: "soon"}
	const newer = "ALTER TABLE mail_resp ADD content_type varchar(50), ADD charset varchar(50), ADD endDate date"
	for _, c := range []struct {
		name, schema, sql string
		in, want          []Responder
		codes             []string
	}{
		{"one", schemaNew, "", []Responder{full}, []Responder{full}, nil},
		{"newer columns", schemaNew, newer, []Responder{dated}, []Responder{dated}, nil},
		{"without them", schemaNew, "", []Responder{dated}, []Responder{{Name: "dated", Text: "x"}}, []string{"plesk.no-column"}},
		{"room for one", schemaNew, newer, []Responder{dated, full}, []Responder{full}, []string{"plesk.responder-not-written"}},
		{"room for all", schemaOld, newer, []Responder{dated, full, asks}, []Responder{dated, full, asks}, nil},
		{"a condition", schemaNew, "", []Responder{asks}, nil, []string{"plesk.responder-not-written"}},
		{"no day", schemaNew, newer, []Responder{odd}, []Responder{{Name: "odd", Text: "x"}}, []string{"plesk.responder-end"}},
		{"no table", schemaNew, "DROP TABLE mail_resp", []Responder{full}, nil, []string{"plesk.responder-not-written"}},
		{"not transactional", schemaNew, "ALTER TABLE mail_resp ENGINE=MyISAM", []Responder{full}, nil, []string{"plesk.responder-not-written"}},
		{"unknown column", schemaNew, "ALTER TABLE mail_resp ADD secretary int NOT NULL", []Responder{full}, nil, []string{"plesk.responder-not-written"}},
		{"no defaults", schemaOld, "ALTER TABLE mail_resp CHANGE keystr keystr varchar(255) NOT NULL, CHANGE mem_limit mem_limit int NOT NULL", []Responder{full}, []Responder{full}, nil},
		{"no attachments", schemaNew, "DROP TABLE resp_attach; DROP TABLE resp_forward", []Responder{full},
			[]Responder{{Name: "away", On: true, Where: "no", Subject: full.Subject, ReplyTo: full.ReplyTo, Text: full.Text, Frequency: 3, Store: 50}}, []string{"plesk.no-table"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := target(t, c.schema)
			if c.sql != "" {
				exec1(t, db, c.sql)
			}
			m := &Mailname{Name: "new", Mailbox: true, Quota: -1, Responders: c.in, AutoRespond: true}
			w, err := WriteAccounts(t.Context(), db, onePlan(t, 112, m, Credential{Clear: "secret"}), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range w.Problems {
				if p.Code == "plesk.responder-not-written" && !strings.Contains(p.Fix, "autoresponder --update -mail new@example.com -status true ") {
					t.Errorf("%v", p)
				}
			}
			if !slices.Equal(slices.Compact(codes(w.Problems)), c.codes) {
				t.Errorf("%q, want %q", codes(w.Problems), c.codes)
			}
			got := read(t, db).Domain("example.com").Mailname("new")
			for i := range got.Responders { // what was left to the columns' defaults
				r := &got.Responders[i]
				if i < len(c.want) {
					if c.want[i].Frequency == 0 {
						r.Frequency, r.Store = 0, 0
					}
					if c.want[i].Where == "" {
						r.Where = ""
					}
					c.want[i].End = strings.TrimSuffix(c.want[i].End, " 00:00:00")
				}
			}
			if d := cmp.Diff(c.want, got.Responders, cmpopts.IgnoreFields(Responder{}, "ID"), cmpopts.EquateEmpty()); d != "" || got.AutoRespond != (len(c.want) > 0) {
				t.Errorf("%s%+v", d, got)
			}
		})
	}
	t.Run("cut", func(t *testing.T) {
		db := target(t, schemaNew)
		exec1(t, db, "CREATE TRIGGER tt BEFORE INSERT ON mail_resp FOR EACH ROW SET NEW.text = LEFT(NEW.text, 3)")
		m := &Mailname{Name: "new", Mailbox: true, Quota: -1, Responders: []Responder{full}}
		if _, err := WriteAccounts(t.Context(), db, onePlan(t, 112, m, Credential{Clear: "secret"}), nil); err == nil || !strings.Contains(err.Error(), "autoresponder") || rows(t, db) != "0 0 0 0 0 0 0" {
			t.Errorf("%v, %s", err, rows(t, db))
		}
	})
}

// TestCommandsPanelOnly tells of settings for which the tool has no option.
func TestCommandsPanelOnly(t *testing.T) {
	m := &Mailname{Name: "new", Mailbox: true, Quota: -1, Description: "front desk", External: "me@x.org", NoDelivery: true}
	_, probs := Commands(&Domain{Name: "example.com"}, m, Credential{Clear: "secret"}, nil)
	if d := cmp.Diff([]string{"plesk.delivery-off", "plesk.panel-only"}, slices.Compact(codes(probs))); d != "" {
		t.Error(d)
	}
}
