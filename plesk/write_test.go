package plesk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// target loads a schema, empties it of mail, and gives its domains other ids.
func target(t *testing.T, file string) *sql.DB {
	t.Helper()
	_, _, db := load(t, file)
	exec1(t, db, "DELETE FROM mail; DELETE FROM mail_aliases; DELETE FROM mail_redir; DELETE FROM accounts; DELETE FROM mail_resp; DELETE FROM resp_attach; DELETE FROM resp_forward; UPDATE domains SET id = id + 100")
	return db
}

func exec1(t *testing.T, db *sql.DB, query string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, db *sql.DB) *Server {
	t.Helper()
	s, err := ReadDB(t.Context(), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestWriteAccounts moves the accounts of both samples into both schemas.
func TestWriteAccounts(t *testing.T) {
	key := secretKey(t, []byte("the target's key"))
	for _, from := range []string{schemaOld, schemaNew} {
		_, _, db := load(t, from)
		src := read(t, db)
		src.Domain("example.com").Mailname("bert").Forwards = []string{"copy@example.org", "zwei@example.org"}
		for _, to := range []string{schemaOld, schemaNew} {
			t.Run(strings.TrimPrefix(from, "testdata/")+" to "+strings.TrimPrefix(to, "testdata/"), func(t *testing.T) {
				writeAccounts(t, src, target(t, to), key)
			})
		}
	}
}

func writeAccounts(t *testing.T, src *Server, db *sql.DB, key *SecretKey) {
	plan, err := PlanAccounts(src, read(t, db), &AccountOptions{SourceKey: secretKey(t, testKey), TargetKey: key})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, d := range plan.Domains {
		if d.TargetID != d.Domain.ID+100 {
			t.Fatalf("%s: number %d", d.Domain.Name, d.TargetID)
		}
		for _, a := range d.Accounts {
			if a.Action == AccountCreate {
				want = append(want, a.Mailname.Name+"@"+d.Domain.Name)
			}
		}
	}
	w, err := WriteAccounts(t.Context(), db, plan, &WriteOptions{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, w.Created); d != "" || len(want) < 5 {
		t.Error(d)
	}
	now := read(t, db)
	left := []string{"plesk.password-plain"}
	if src.Domain("example.com").Mailname("anna").Description != "" && now.Domain("example.com").Mailname("anna").Description == "" {
		left = []string{"plesk.no-column", "plesk.password-plain"} // Plesk 9 has no descriptions
	}
	if d := cmp.Diff(left, codes(w.Problems)); d != "" {
		t.Error(d)
	}
	if got, want := now.Domain("example.com").Mailname("away"), src.Domain("example.com").Mailname("away"); !got.AutoRespond || len(want.Responders) != 1 ||
		cmp.Diff(want.Responders, got.Responders, cmpopts.IgnoreFields(Responder{}, "ID")) != "" {
		t.Errorf("autoresponders %+v, want %+v", got.Responders, want.Responders)
	}
	again, err := PlanAccounts(src, now, &AccountOptions{SourceKey: secretKey(t, testKey), TargetKey: key})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range want {
		a := find(t, again, addr)
		if a.Action != AccountSame {
			t.Errorf("%s: %v, %q", addr, a.Action, a.Differences)
		}
	}
	// Passwords are sealed with the target's key, unless they would not come
	// back: anna's has a newline.
	for name, kind := range map[string]string{"anna": "plain", "away": "sym", "sealed": "sym", "bert": "crypt"} {
		if m := now.Domain("example.com").Mailname(name); m.Password.Type != kind {
			t.Errorf("%s: the type is %q", name, m.Password.Type)
		}
	}
	// Once more: nothing is written.
	count := rows(t, db)
	w, err = WriteAccounts(t.Context(), db, plan, &WriteOptions{Key: key})
	if err != nil || len(w.Created) != 0 || !slices.Equal(w.Existed, want) || rows(t, db) != count {
		t.Errorf("again: %+v, %v, %s", w, err, rows(t, db))
	}
}

func rows(t *testing.T, db *sql.DB) string {
	t.Helper()
	var out []string
	for _, name := range []string{"mail", "accounts", "mail_aliases", "mail_redir", "mail_resp", "resp_attach", "resp_forward"} {
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+name).Scan(&n); err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(n))
	}
	return strings.Join(out, " ")
}

func onePlan(t *testing.T, id uint64, m *Mailname, c Credential) *AccountPlan {
	t.Helper()
	return &AccountPlan{Domains: []*DomainPlan{{Domain: &Domain{Name: "example.com"}, TargetID: id, Accounts: []*Account{{Mailname: m, Password: c}}}}}
}

// TestWriteRefused tries schemas and plans that must change nothing.
func TestWriteRefused(t *testing.T) {
	good := &Mailname{Name: "new", Mailbox: true, Quota: -1, Aliases: []string{"n"}, Forwards: []string{"a@x.org", "b@x.org"}}
	pw := Credential{Clear: "secret"}
	for _, c := range []struct {
		name, sql string
		plan      *AccountPlan
		err       error
		in        string
	}{
		{"no table", "DROP TABLE mail_aliases", onePlan(t, 112, good, pw), ErrNoTable, "mail_aliases"},
		{"no column", "ALTER TABLE mail DROP postbox", onePlan(t, 112, good, pw), ErrNoColumn, "postbox"},
		{"no column to write", "ALTER TABLE mail CHANGE mail_group team text", onePlan(t, 112, good, pw), ErrNoColumn, "mail_group"},
		{"unknown column", "ALTER TABLE mail ADD secretary int NOT NULL", onePlan(t, 112, good, pw), ErrColumn, "secretary"},
		{"unknown column of another", "ALTER TABLE accounts ADD salt text NOT NULL", onePlan(t, 112, good, pw), ErrColumn, "salt"},
		{"no auto increment", "ALTER TABLE mail_redir CHANGE id id int NOT NULL", onePlan(t, 112, good, pw), ErrColumn, "id"},
		{"engine", "ALTER TABLE mail_redir ENGINE=MyISAM", onePlan(t, 112, good, pw), ErrEngine, "mail_redir"},
		{"wrong number", "", onePlan(t, 113, good, pw), ErrNoDomainID, "example.com"},
		{"the source's number", "", onePlan(t, 12, good, pw), ErrNoDomainID, "example.com"},
		{"no password", "", onePlan(t, 112, good, Credential{}), ErrNoPassword, "new"},
		{"cut", "ALTER TABLE mail_redir CHANGE address address varchar(5) NOT NULL; SET GLOBAL sql_mode=''", onePlan(t, 112, good, pw), ErrWriteBack, "forwards"},
		{"a trigger", "CREATE TRIGGER tt BEFORE INSERT ON mail FOR EACH ROW SET NEW.postbox = 'false'", onePlan(t, 112, good, pw), ErrWriteBack, "postbox"},
		{"a late trigger", "CREATE TRIGGER tt BEFORE INSERT ON mail_redir FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'", onePlan(t, 112, good, pw), nil, "mail_redir"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := target(t, schemaNew)
			if c.sql != "" {
				exec1(t, db, c.sql)
			}
			if strings.Contains(c.sql, "GLOBAL") {
				db.SetMaxIdleConns(0) // connections that are there keep their mode
				t.Cleanup(func() {
					if _, err := db.ExecContext(context.Background(), "SET GLOBAL sql_mode=DEFAULT"); err != nil {
						t.Error(err)
					}
				})
			}
			w, err := WriteAccounts(t.Context(), db, c.plan, nil)
			if err == nil || w != nil || c.err != nil && !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.in) {
				t.Errorf("%v, %+v", err, w)
			}
			if strings.Contains(fmt.Sprint(err), "secret ") {
				t.Errorf("%v tells the password", err)
			}
			if c.name != "no table" && rows(t, db) != "0 0 0 0 0 0 0" {
				t.Errorf("rows %s", rows(t, db))
			}
		})
	}
	t.Run("known columns without default", func(t *testing.T) {
		db := target(t, schemaNew)
		exec1(t, db, "ALTER TABLE mail CHANGE userId userId int NOT NULL, CHANGE description description text NOT NULL, CHANGE perm_id perm_id int NOT NULL")
		if _, err := WriteAccounts(t.Context(), db, onePlan(t, 112, good, pw), nil); err != nil {
			t.Error(err)
		}
	})
	t.Run("somebody else's alias", func(t *testing.T) {
		db := target(t, schemaOld)
		if _, err := WriteAccounts(t.Context(), db, onePlan(t, 112, good, pw), nil); err != nil {
			t.Fatal(err)
		}
		before := rows(t, db)
		w, err := WriteAccounts(t.Context(), db, onePlan(t, 112, &Mailname{Name: "N", Quota: -1}, pw), nil)
		if err != nil || len(w.Created) > 0 || !slices.Equal(codes(w.Problems), []string{"plesk.alias-conflict"}) || rows(t, db) != before {
			t.Errorf("%+v, %v", w, err)
		}
	})
	t.Run("no randomness", func(t *testing.T) {
		db := target(t, schemaNew)
		if _, err := WriteAccounts(t.Context(), db, onePlan(t, 112, good, pw), &WriteOptions{Key: secretKey(t, testKey), Random: strings.NewReader("x")}); err == nil || rows(t, db) != "0 0 0 0 0 0 0" {
			t.Errorf("%v, %s", err, rows(t, db))
		}
	})
}

// TestWriteTogether lets two write the same plan at the same time: one does, the
// other finds it done.
func TestWriteTogether(t *testing.T) {
	_, _, from := load(t, schemaNew)
	src, db := read(t, from), target(t, schemaOld)
	plan, err := PlanAccounts(src, read(t, db), nil)
	if err != nil {
		t.Fatal(err)
	}
	const writers = 4
	results := make(chan *Written, writers)
	for range writers {
		go func() {
			w, err := WriteAccounts(t.Context(), db, plan, nil)
			if err != nil {
				t.Error(err)
				w = &Written{}
			}
			results <- w
		}()
	}
	created, existed := 0, 0
	for range writers {
		w := <-results
		created += len(w.Created)
		existed += len(w.Existed)
	}
	if n := len(read(t, db).Domain("example.com").Mailnames) + len(read(t, db).Domain("xn--bcher-kva.example.org").Mailnames); created != n || existed != (writers-1)*n || n < 5 {
		t.Errorf("%d created, %d existed, %d there", created, existed, n)
	}
}

// stopping cancels when the second password is to be sealed.
type stopping struct {
	n    int
	stop func()
}

func (s *stopping) Read(p []byte) (int, error) {
	if s.n++; s.n == 2 {
		s.stop()
	}
	return len(p), nil
}

// TestWriteCancelled stops in the middle: nothing is written.
func TestWriteCancelled(t *testing.T) {
	_, _, from := load(t, schemaNew)
	src, db := read(t, from), target(t, schemaNew)
	plan, err := PlanAccounts(src, read(t, db), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w, err := WriteAccounts(ctx, db, plan, &WriteOptions{Key: secretKey(t, testKey), Random: &stopping{stop: cancel}})
	if !errors.Is(err, context.Canceled) || w != nil || rows(t, db) != "0 0 0 0 0 0 0" {
		t.Errorf("%v, %+v, %s", err, w, rows(t, db))
	}
}

func TestReadDomainIDs(t *testing.T) {
	db := target(t, schemaNew)
	ids, err := ReadDomainIDs(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(DomainIDs{"example.com": 112, "xn--bcher-kva.example.org": 113}, ids); d != "" {
		t.Error(d)
	}
	if id, err := ids.ID("EXAMPLE.com"); id != 112 || err != nil {
		t.Error(id, err)
	}
	if _, err := ids.ID("nobody.org"); !errors.Is(err, ErrNoDomainID) || !strings.Contains(err.Error(), "nobody.org") {
		t.Error(err)
	}
	exec1(t, db, "ALTER TABLE domains CHANGE name title varchar(255)")
	if _, err := ReadDomainIDs(t.Context(), db); !errors.Is(err, ErrNoColumn) {
		t.Error(err)
	}
	exec1(t, db, "DROP TABLE domains")
	if _, err := ReadDomainIDs(t.Context(), db); !errors.Is(err, ErrNoTable) {
		t.Error(err)
	}
}
