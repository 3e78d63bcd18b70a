package vpopmail

import (
	"errors"
	"strings"
	"testing"
)

func TestSetCatchAll(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	ctx := t.Context()
	const file = "VPOPMAIL/domains/example.com/.qmail-default"
	s := h.open()
	vd := "| " + s.p.Home + "/bin/vdelivermail '' "
	for _, c := range [][2]string{{"joe@example.org", "joe@example.org"}, {"postmaster", s.p.Home + "/domains/example.com/postmaster"}, {"", "bounce-no-mailbox"}} {
		if err := s.SetCatchAll(ctx, "example.com", c[0]); err != nil || h.read(file) != vd+c[1]+"\n" {
			t.Errorf("%q: %v, %q", c[0], err, h.read(file))
		}
		if line, err := s.CatchAll(ctx, "example.com"); err != nil || line != vd+c[1] {
			t.Errorf("%q: %v, %q", c[0], err, line)
		}
	}
	before := h.read(file)
	for _, word := range []string{"x|y@example.org", "$(id)@example.org", "-x@example.org", "a b@example.org", "../x", "/tmp/x", "a\n@example.org", "a'b@example.org"} {
		if err := s.SetCatchAll(ctx, "example.com", word); err == nil || h.read(file) != before {
			t.Errorf("%q: %v", word, err)
		}
		if err := s.p.CheckCatchAll(word); err == nil {
			t.Errorf("%q is fine", word)
		}
	}
	// What somebody has made of it stays.
	h.write(file, "| /bin/filter\n"+before)
	if err := s.SetCatchAll(ctx, "example.com", "joe@example.org"); !errors.Is(err, ErrBadAlias) || !strings.HasPrefix(h.read(file), "| /bin/filter") {
		t.Errorf("two lines: %v", err)
	}
}
