//go:build unix

package vpopmail

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestIPMap adds, moves and removes lines and leaves the others alone.
func TestIPMap(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	s := h.open()
	const file = "VPOPMAIL/etc/ip_alias_map"
	if all, err := s.IPAliases(ctx); all != nil || err != nil {
		t.Errorf("%v, %v", all, err)
	}
	if gone, err := s.RemoveIPAlias(ctx, IPAlias{"192.0.2.1", "example.com"}); gone || err != nil {
		t.Error(gone, err)
	}
	if err := s.AddIPAlias(ctx, IPAlias{"192.0.2.1", "Example.com"}); err != nil {
		t.Fatal(err)
	}
	if f := h.snapshot()[file]; f.Content != "192.0.2.1 example.com\n" || f.Mode != "0644" || f.UID != os.Geteuid() {
		t.Errorf("%+v", f)
	}
	h.write(file, "# the map\n192.0.2.1\t EXAMPLE.com old\nodd\n 192.0.2.2 example.org")
	h.chmod(file, 0o640)
	if err := s.AddIPAlias(ctx, IPAlias{"192.0.2.1", "example.com"}); err != nil {
		t.Fatal(err)
	}
	if f := h.snapshot()[file]; f.Content != "# the map\nodd\n 192.0.2.2 example.org\n192.0.2.1 example.com\n" || f.Mode != "0640" {
		t.Errorf("%+v", f)
	}
	all, err := s.IPAliases(ctx)
	if want := []IPAlias{{"#", "the"}, {"192.0.2.2", "example.org"}, {"192.0.2.1", "example.com"}}; err != nil || !slices.Equal(all, want) {
		t.Errorf("%q, %v", all, err)
	}
	if gone, err := s.RemoveIPAlias(ctx, IPAlias{"192.0.2.2", "example.ORG"}); !gone || err != nil {
		t.Error(gone, err)
	}
	if got := h.read(file); got != "# the map\nodd\n192.0.2.1 example.com\n" {
		t.Errorf("%q", got)
	}
	for _, c := range []struct {
		a    IPAlias
		want error
	}{
		{IPAlias{"", "example.com"}, ErrBadByte}, {IPAlias{"192.0.2.1 x", "example.com"}, ErrBadByte}, {IPAlias{"1\n2", "example.com"}, ErrBadByte},
		{IPAlias{"192.0.2.1", ""}, ErrBadDomain}, {IPAlias{"192.0.2.1", "a b"}, ErrBadDomain}, {IPAlias{strings.Repeat("1", 90), strings.Repeat("a", 90)}, ErrTooLong},
	} {
		if err := s.AddIPAlias(ctx, c.a); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.a, err, c.want)
		}
	}
}

// FuzzIPAlias holds that what is printed of a line is read as the same.
func FuzzIPAlias(f *testing.F) {
	for _, seed := range []string{"", "192.0.2.1 example.com", "\t a\tb c\n", "one", "\x00 \xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		a, ok := ParseIPAlias(line)
		if !ok {
			return
		}
		again, ok := ParseIPAlias(a.Classic())
		if !ok || again != a || strings.Count(a.Classic(), "\n") != 1 {
			t.Errorf("%q: %q, then %q", line, a, again)
		}
	})
}
