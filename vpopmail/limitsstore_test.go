//go:build unix

package vpopmail

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// TestLimitsStore goes through own and default limits, by an alias too.
func TestLimitsStore(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	s := h.open()
	if _, err := s.AddAliasDomain(ctx, "example.com", "example.net", told); err != nil {
		t.Fatal(err)
	}
	h.write("VPOPMAIL/etc/vlimits.default", "maxaliases 3\ndefault_quota 1000\n")
	l, own, err := s.Limits(ctx, "example.com")
	if err != nil || own || l.MaxAliases != 3 || l.UserQuota() != "1000S" {
		t.Errorf("default: %+v, %v, %v", l, own, err)
	}
	err = s.EditLimits(ctx, "Example.NET", func(l *Limits) error {
		l.DefaultMaxMsg, l.Disabled = 5, NoPOP
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	l, own, err = s.Limits(ctx, "example.com")
	if err != nil || !own || l.MaxAliases != 3 || l.UserQuota() != "1000S,5C" || l.Mask() != NoPOP {
		t.Errorf("own: %+v, %v, %v", l, own, err)
	}
	file := h.snapshot()["VPOPMAIL/domains/example.com/.qmailadmin-limits"]
	if file.Mode != "0600" || os.Geteuid() == 0 && file.UID != 89 {
		t.Errorf("%+v", file)
	}
	no := errors.New("no")
	if err := s.EditLimits(ctx, "example.com", func(l *Limits) error { l.Quota = 9; return no }); !errors.Is(err, no) {
		t.Error(err)
	}
	for _, bad := range []func(*Limits){
		func(l *Limits) { l.Quota = 1 << 63 }, func(l *Limits) { l.PermAlias = 8 }, func(l *Limits) { l.PermLists = 512 },
		func(l *Limits) { l.Disabled = BounceMail }, func(l *Limits) { l.MaxLists = 1 << 40 },
	} {
		l := NoLimits()
		bad(&l)
		if err := s.SetLimits(ctx, "example.com", l); !errors.Is(err, ErrLimit) {
			t.Errorf("%+v: %v", l, err)
		}
	}
	if got := h.snapshot()["VPOPMAIL/domains/example.com/.qmailadmin-limits"]; got != file {
		t.Errorf("refused, and yet %+v", got)
	}
	for range 2 {
		if err := s.RemoveLimits(ctx, "example.net"); err != nil {
			t.Error(err)
		}
	}
	if _, own, err := s.Limits(ctx, "example.com"); own || err != nil {
		t.Errorf("removed: %v, %v", own, err)
	}
	if err := s.SetLimits(ctx, "nowhere.example.org", NoLimits()); !errors.Is(err, ErrNoDomain) {
		t.Error(err)
	}
}

// TestDefaultLimits edits those of the installation, and does without any.
func TestDefaultLimits(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	h.chmod("VPOPMAIL/etc/vlimits.default", 0o640)
	s := h.open()
	set := func(l *Limits) error { l.MaxLists = 2; return nil }
	if err := s.EditDefaultLimits(ctx, set); err != nil {
		t.Fatal(err)
	}
	if f := h.snapshot()["VPOPMAIL/etc/vlimits.default"]; f.Mode != "0640" || ParseLimits([]byte(f.Content)).MaxLists != 2 {
		t.Errorf("%+v", f)
	}
	if err := os.RemoveAll(filepath.Join(h.dir, "VPOPMAIL/etc")); err != nil {
		t.Fatal(err)
	}
	if l, err := s.DefaultLimits(ctx); err != nil || l != NoLimits() {
		t.Errorf("none: %+v, %v", l, err)
	}
	if err := s.EditDefaultLimits(ctx, set); err != nil {
		t.Fatal(err)
	}
	if l, err := s.DefaultLimits(ctx); err != nil || l.MaxLists != 2 {
		t.Errorf("made: %+v, %v", l, err)
	}
}

// TestLimitsLink puts a link where the file should be: it is not read, and is
// replaced, not followed.
func TestLimitsLink(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	h.write("VPOPMAIL/secret", "maxaliases 77\n")
	link := filepath.Join(h.dir, "VPOPMAIL/domains/example.com/.qmailadmin-limits")
	if err := os.Symlink("../../secret", link); err != nil {
		t.Fatal(err)
	}
	s := h.open()
	if _, _, err := s.Limits(ctx, "example.com"); !errors.Is(err, safefs.ErrLink) {
		t.Errorf("read: %v", err)
	}
	if err := s.SetLimits(ctx, "example.com", NoLimits()); !errors.Is(err, safefs.ErrLink) {
		t.Errorf("written: %v", err)
	}
	if err := s.RemoveLimits(ctx, "example.com"); err != nil {
		t.Error(err)
	}
	if err := s.SetLimits(ctx, "example.com", NoLimits()); err != nil || h.read("VPOPMAIL/secret") != "maxaliases 77\n" {
		t.Error(err, h.read("VPOPMAIL/secret"))
	}
}
