package plesk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// content is all that stands in a database, row by row.
func content(t *testing.T, db *sql.DB) map[string][]string {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	tables, err := readTables(t.Context(), tx, func(string) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for name, table := range tables {
		for _, r := range table.rows {
			out[name] = append(out[name], fmt.Sprintf("%q", r))
		}
	}
	return out
}

// written1 writes a sample into an empty psa; made is what was noted of it.
func written1(t *testing.T, from, to, more string) (db *sql.DB, before map[string][]string, made []WrittenAccount) {
	t.Helper()
	_, _, src := load(t, from)
	db = target(t, to)
	// One that is there already, whose account another name shares.
	exec1(t, db, "INSERT INTO accounts (id, type, password) VALUES (900, 'plain', 'x'); INSERT INTO mail (mail_name, postbox, account_id, dom_id) VALUES ('there', 'true', 900, 112), ('too', 'true', 900, 112);"+more)
	before = content(t, db)
	plan, err := PlanAccounts(read(t, src), read(t, db), &AccountOptions{SourceKey: secretKey(t, testKey)})
	if err != nil {
		t.Fatal(err)
	}
	w, err := WriteAccounts(t.Context(), db, plan, &WriteOptions{Key: secretKey(t, testKey), Note: func(m []WrittenAccount) error {
		made = m
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != len(w.Created) || len(made) < 5 {
		t.Fatalf("%d noted of %d", len(made), len(w.Created))
	}
	if text := fmt.Sprintf("%+v", made); strings.Contains(text, "päss") || strings.Contains(text, "quoted") {
		t.Error("a password is noted")
	}
	return db, before, made
}

// TestRemoveAccounts takes back what was written, in both schemas, and no other
// row.
func TestRemoveAccounts(t *testing.T) {
	for _, schema := range []string{schemaOld, schemaNew} {
		db, before, made := written1(t, schemaNew, schema, "")
		after := content(t, db)
		r, err := RemoveAccounts(t.Context(), db, made, &RemoveOptions{Rehearse: true})
		if d := cmp.Diff(after, content(t, db)); err != nil || len(r.Removed) != len(made) || d != "" {
			t.Errorf("a rehearsal: %+v, %v%s", r, err, d)
		}
		r, err = RemoveAccounts(t.Context(), db, made, nil)
		if err != nil || len(r.Removed) != len(made) || len(r.Problems)+len(r.Gone) > 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		if d := cmp.Diff(before, content(t, db)); d != "" {
			t.Error(d)
		}
		r, err = RemoveAccounts(t.Context(), db, made, nil)
		if err != nil || len(r.Gone) != len(made) || len(r.Problems)+len(r.Removed) > 0 {
			t.Errorf("again: %+v, %v", r, err)
		}
		if r, err = RemoveAccounts(t.Context(), db, nil, nil); err != nil || len(r.Gone) > 0 {
			t.Errorf("nothing: %+v, %v", r, err)
		}
	}
}

// TestRemoveChanged leaves what anybody has changed, whatever it is.
func TestRemoveChanged(t *testing.T) {
	for what, query := range map[string]string{
		"password":       "UPDATE accounts a JOIN mail m ON m.account_id = a.id SET a.password = 'new', a.type = 'plain' WHERE m.mail_name = 'away'",
		"quota":          "UPDATE mail SET mbox_quota = 5 WHERE mail_name = 'away'",
		"no mailbox":     "UPDATE mail SET postbox = 'false' WHERE mail_name = 'away'",
		"name":           "UPDATE mail SET mail_name = 'back' WHERE mail_name = 'away'",
		"filter":         "UPDATE mail SET spamfilter = 'true' WHERE mail_name = 'away'",
		"description":    "UPDATE mail SET description = 'on leave' WHERE mail_name = 'away'",
		"an alias":       "INSERT INTO mail_aliases (mn_id, alias) SELECT id, 'holiday' FROM mail WHERE mail_name = 'away'",
		"a forward":      "INSERT INTO mail_redir (mn_id, address) SELECT id, 'a@x.org' FROM mail WHERE mail_name = 'away'",
		"autoresponder":  "UPDATE mail_resp SET text = 'still away'",
		"an attachment":  "UPDATE resp_attach SET filename = 'other.pdf'",
		"another table":  "INSERT INTO mn_param SELECT id, id, 'spam', 'x' FROM mail WHERE mail_name = 'away'",
		"another's name": "UPDATE mail SET id = id + 1000 WHERE mail_name = 'away'; UPDATE mail SET id = id - 1 WHERE mail_name = 'there'",
	} {
		t.Run(what, func(t *testing.T) {
			db, _, made := written1(t, schemaNew, schemaNew, "CREATE TABLE mn_param (id int NOT NULL AUTO_INCREMENT, mn_id int unsigned, param text, val text, PRIMARY KEY (id)); INSERT INTO mn_param (mn_id) VALUES (NULL), (999)")
			exec1(t, db, query)
			before := content(t, db)
			r, err := RemoveAccounts(t.Context(), db, made, nil)
			if err != nil {
				t.Fatal(err)
			}
			kept, gone := 1, 0
			if what == "another's name" { // it has another id, so it is not ours
				kept, gone = 0, 1
			}
			if len(r.Removed) != len(made)-1 || len(r.Gone) != gone || len(r.Problems) != kept {
				t.Errorf("%+v", r)
			}
			for _, p := range r.Problems {
				if p.Code != "plesk.account-stays" || p.Path != "away@example.com" || !strings.Contains(p.Fix, "mail --remove away@example.com") {
					t.Errorf("%v", p)
				}
			}
			now := content(t, db)
			if len(now["mail"]) != 3 || len(now["mail_resp"]) != 1 || len(now["resp_attach"]) != 1 {
				t.Errorf("%v", now)
			}
			for _, name := range slices.Collect(maps.Keys(now)) {
				for _, row := range now[name] {
					if !slices.Contains(before[name], row) {
						t.Errorf("%s: new row %s", name, row)
					}
				}
			}
		})
	}
}

// TestRemoveRefused stops in the middle and changes nothing.
func TestRemoveRefused(t *testing.T) {
	db, _, made := written1(t, schemaNew, schemaNew, "")
	before := content(t, db)
	check := func(what string, want error, err error) {
		t.Helper()
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
		if d := cmp.Diff(before, content(t, db)); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
	exec1(t, db, "CREATE TRIGGER tt BEFORE DELETE ON accounts FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'")
	_, err := RemoveAccounts(t.Context(), db, made, nil)
	check("a trigger", nil, err)
	exec1(t, db, "DROP TRIGGER tt")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = RemoveAccounts(ctx, db, made, nil)
	check("cancelled", context.Canceled, err)
	exec1(t, db, "ALTER TABLE mail_redir ENGINE=MyISAM")
	_, err = RemoveAccounts(t.Context(), db, made, nil)
	check("engine", ErrEngine, err)
	exec1(t, db, "ALTER TABLE mail_redir ENGINE=InnoDB")
	if r, err := RemoveAccounts(t.Context(), db, made, nil); err != nil || len(r.Removed) != len(made) {
		t.Errorf("at last: %+v, %v", r, err)
	}
}

// TestNoteRefused writes nothing that could not be noted.
func TestNoteRefused(t *testing.T) {
	db := target(t, schemaNew)
	boom := errors.New("boom")
	plan := onePlan(t, 112, &Mailname{Name: "new", Mailbox: true, Quota: -1}, Credential{Clear: "secret"})
	if _, err := WriteAccounts(t.Context(), db, plan, &WriteOptions{Note: func([]WrittenAccount) error { return boom }}); !errors.Is(err, boom) || rows(t, db) != "0 0 0 0 0 0 0" {
		t.Errorf("%v, %s", err, rows(t, db))
	}
}
