//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

// logTo writes the arguments of OnChange down.
func logTo(to *[]string) func(context.Context, []string) error {
	return func(_ context.Context, argv []string) error {
		*to = append(*to, strings.Join(argv, " "))
		return nil
	}
}

// TestOnChange asserts the arguments of both releases; those of 5.4 are in the
// golden sequence many-options too.
func TestOnChange(t *testing.T) {
	for _, c := range []struct {
		p    Profile
		want []string
	}{
		{DefaultProfile54(), []string{"add_domain example.com", "add_user joe@example.com", "mod_user joe@example.com",
			"add_alias_domain example.net example.com", "del_user joe@example.com"}},
		{DefaultProfile56(), []string{"add_domain example.com - ", "add_user joe@example.com - ", "mod_user joe@example.com - ",
			"add_alias_domain example.net example.com ", "del_user joe@example.com - "}},
	} {
		var got []string
		h := newHost(t, c.p, controlBefore)
		h.opts.OnChange = logTo(&got)
		withDomain(t, h)
		ctx, s := t.Context(), h.open()
		_, err := s.AddUser(ctx, "example.com", NewUser{Name: "joe", Hash: "*", Quota: "1M"})
		_, err1 := s.AddUser(ctx, "example.com", NewUser{Name: "joe", Hash: "*"})
		if !errors.Is(err1, ErrUserExists) {
			t.Error(err1)
		}
		_, err2 := s.ModifyUser(ctx, "joe@example.com", Modify{Gecos: "Joe"})
		_, err3 := s.AddAliasDomain(ctx, "example.net", "example.com", nil)
		_, err4 := s.DeleteUser(ctx, "joe@example.net")
		if err := errors.Join(err, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// TestOnChangeFails asserts that a change stands whose script fails, and that
// the caller hears of it.
func TestOnChangeFails(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	h.opts.OnChange = func(context.Context, []string) error { return errCut }
	u, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "*"})
	if !errors.Is(err, errCut) || u.Name != "joe" {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := h.open().User(t.Context(), "joe@example.com"); err != nil {
		t.Error(err)
	}
}
