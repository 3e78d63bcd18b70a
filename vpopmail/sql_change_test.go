//go:build unix

package vpopmail

import (
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
