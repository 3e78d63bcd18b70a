//go:build unix

package vpopmail

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// TestSQLChangeBesideColon changes accounts whose comment has a colon, which
// vmoduser stores in a database (step 25 of the recorded sequences): nobody may
// be without a new password for that, nor hold up the rest of his domain.
func TestSQLChangeBesideColon(t *testing.T) {
	h, db := sqlHost(t, allTables54())
	withDomain(t, h)
	s := h.open()
	ctx := t.Context()
	if _, err := s.AddUser(ctx, "example.com", NewUser{Name: "alice", Hash: "*"}); err != nil {
		t.Fatal(err)
	}
	const gecos = "New: Name"
	if _, err := db.ExecContext(ctx, "update vpopmail set pw_gecos = ? where pw_name = 'alice'", gecos); err != nil {
		t.Fatal(err)
	}
	const addr = "alice@example.com"
	for what, f := range map[string]func() error{
		"SetPassword": func() error { return s.SetPassword(ctx, addr, qmailkit.Secret("another")) },
		"ModifyUser":  func() error { _, err := s.ModifyUser(ctx, addr, Modify{SetFlags: NoPOP}); return err },
		"SetQuota":    func() error { _, err := s.SetQuota(ctx, "example.com", "1M"); return err },
	} {
		if err := f(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	u, err := s.User(ctx, addr)
	if err != nil || u.Gecos != gecos || u.Flags != NoPOP || u.Quota != "1048576S" || u.Clear != "another" {
		t.Errorf("stored: %+v, %v", u, err)
	}
	if _, err := s.ModifyUser(ctx, addr, Modify{Gecos: "an: other"}); !errors.Is(err, ErrBadByte) {
		t.Errorf("another colon: %v, want ErrBadByte", err)
	}
}

// cutSQL loses the connection as soon as the records are locked.
type cutSQL struct{ *SQL }

func (b cutSQL) Edit(ctx context.Context, d *Domain) (Records, error) {
	rec, err := b.SQL.Edit(ctx, d)
	if err == nil {
		err = rec.(*sqlRecords).conn.Close()
	}
	return rec, err
}

// TestSQLLookupFails loses the connection between the lock and the look-up:
// that nobody is found then must not be taken for an answer.
func TestSQLLookupFails(t *testing.T) {
	h, db := sqlHost(t, allTables54())
	withDomain(t, h)
	ctx := t.Context()
	s := h.open()
	u, err := s.AddUser(ctx, "example.com", NewUser{Name: "alice", Hash: "*"})
	if err != nil {
		t.Fatal(err)
	}
	before := rowsOf(t, db)
	s.backend = cutSQL{s.backend.(*SQL)}
	for what, f := range map[string]func() error{
		"DeleteUser":  func() error { _, err := s.DeleteUser(ctx, "alice@example.com"); return err },
		"ModifyUser":  func() error { _, err := s.ModifyUser(ctx, "alice@example.com", Modify{SetFlags: NoPOP}); return err },
		"RemoveUsers": func() error { _, err := s.RemoveUsers(ctx, "example.com", []User{u}); return err },
		"AddUser":     func() error { _, err := s.AddUser(ctx, "example.com", NewUser{Name: "alice", Hash: "*"}); return err },
	} {
		if err := f(); !errors.Is(err, sql.ErrConnDone) {
			t.Errorf("%s: %v, want the database's error", what, err)
		}
	}
	for _, line := range diffRows(rowsOf(t, db), before) {
		t.Error(line)
	}
}
