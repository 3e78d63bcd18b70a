//go:build unix

package vpopmail

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// loginHost is an installation with the account joe@example.com.
func loginHost(t *testing.T) (*host, *Store, *Domain, User) {
	t.Helper()
	h := newHost(t, DefaultProfile54(), controlBefore)
	s := h.open()
	if _, err := s.AddDomain(t.Context(), DomainSpec{Name: "example.com"}, nil); err != nil {
		t.Fatal(err)
	}
	u, err := s.AddUser(t.Context(), "example.com", NewUser{Name: "joe", NoPassword: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Domain(t.Context(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	return h, s, d, u
}

const joe = "VPOPMAIL/domains/example.com/joe"

func TestLastLogin(t *testing.T) {
	h, s, d, u := loginHost(t)
	ctx := t.Context()
	if l, ok, err := s.LastLogin(ctx, d, &u); err != nil || !ok || l.IP != lastauthNever || l.Time.IsZero() {
		t.Errorf("new account: %+v, %v, %v", l, ok, err)
	}
	for _, want := range []Login{
		{"192.0.2.7", time.Unix(1700000000, 0)},
		{"2001:db8::1", time.Unix(1700000001, 0)},
		{"", time.Unix(1600000000, 0)}, // vchkpw without TCPREMOTEIP
	} {
		if err := s.SetLastLogin(ctx, d, &u, want); err != nil {
			t.Fatal(err)
		}
		got, ok, err := s.LastLogin(ctx, d, &u)
		if err != nil || !ok || got.IP != want.IP || !got.Time.Equal(want.Time) {
			t.Errorf("%+v, %v, %v; want %+v", got, ok, err, want)
		}
		if text := h.read(joe + "/lastauth"); text != want.IP {
			t.Errorf("file holds %q", text)
		}
	}
	fi, err := os.Lstat(filepath.Join(h.dir, joe, "lastauth"))
	if err != nil || fi.Mode() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	names, err := filepath.Glob(filepath.Join(h.dir, joe, ".*"))
	if err != nil || len(names) > 0 {
		t.Errorf("left over: %q, %v", names, err)
	}

	h.write(joe+"/lastauth", "192.0.2.8\nmore\n")
	if l, _, err := s.LastLogin(ctx, d, &u); err != nil || l.IP != "192.0.2.8" {
		t.Errorf("with LF: %q, %v", l.IP, err)
	}
	h.write(joe+"/lastauth", strings.Repeat("9", 5000))
	if l, _, err := s.LastLogin(ctx, d, &u); err != nil || len(l.IP) != maxLastauth {
		t.Errorf("long: %d bytes, %v", len(l.IP), err)
	}
	if err := os.Remove(filepath.Join(h.dir, joe, "lastauth")); err != nil {
		t.Fatal(err)
	}
	if l, ok, err := s.LastLogin(ctx, d, &u); err != nil || ok {
		t.Errorf("no file: %+v, %v, %v", l, ok, err)
	}

	h.profile.AuthLogging = false
	off := h.open()
	if err := off.SetLastLogin(ctx, d, &u, Login{IP: "192.0.2.7"}); err != nil {
		t.Error(err)
	}
	if _, ok, err := s.LastLogin(ctx, d, &u); err != nil || ok {
		t.Errorf("without logging a login was noted: %v", err)
	}
}

func TestLastLoginRefuses(t *testing.T) {
	h, s, d, u := loginHost(t)
	ctx := t.Context()
	for _, ip := range []string{"a b", "a\nb", "a\x00", "\xff", "\x7f"} {
		if err := s.SetLastLogin(ctx, d, &u, Login{IP: ip}); !errors.Is(err, ErrBadByte) {
			t.Errorf("%q: %v", ip, err)
		}
	}
	if err := s.SetLastLogin(ctx, d, &u, Login{IP: strings.Repeat("1", maxLastauth+1)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("long address: %v", err)
	}
	gone := u
	gone.Dir += "x"
	if err := s.SetLastLogin(ctx, d, &gone, Login{IP: "192.0.2.7"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
	if _, ok, err := s.LastLogin(ctx, d, &gone); ok || err != nil {
		t.Errorf("missing directory: %v, %v", ok, err)
	}
	away := u
	away.Dir = "/etc"
	if err := s.SetLastLogin(ctx, d, &away, Login{IP: "192.0.2.7"}); !errors.Is(err, ErrNotMounted) {
		t.Errorf("outside: %v", err)
	}

	// A user's own tricks with the file.
	file := filepath.Join(h.dir, joe, "lastauth")
	target := filepath.Join(h.dir, "target")
	h.write("target", "secret")
	if err := errors.Join(os.Remove(file), os.Symlink(target, file)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.LastLogin(ctx, d, &u); !errors.Is(err, safefs.ErrLink) {
		t.Errorf("link read: %v", err)
	}
	if err := s.SetLastLogin(ctx, d, &u, Login{IP: "192.0.2.7"}); !errors.Is(err, safefs.ErrLink) {
		t.Errorf("link written: %v", err)
	}
	if got := h.read("target"); got != "secret" {
		t.Errorf("target is %q", got)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root reads and writes what belongs to others")
	}
	if err := errors.Join(os.Remove(file), os.Link(target, file)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.LastLogin(ctx, d, &u); !errors.Is(err, safefs.ErrForeign) {
		t.Errorf("hard link read: %v", err)
	}
	if err := s.SetLastLogin(ctx, d, &u, Login{IP: "192.0.2.7"}); err != nil {
		t.Errorf("hard link written: %v", err)
	}
	if got := h.read("target"); got != "secret" {
		t.Errorf("target is %q", got)
	}
	other := u
	other.Dir = "/home/vpopmail/etc"
	if err := s.SetLastLogin(ctx, d, &other, Login{IP: "192.0.2.7"}); !errors.Is(err, safefs.ErrForeign) {
		t.Errorf("directory of root: %v", err)
	}
}

// TestSetLastLoginFaults makes every step fail once: the old login stays, or
// the new one is there whole, and nothing else.
func TestSetLastLoginFaults(t *testing.T) {
	h, _, d, u := loginHost(t)
	broken := errors.New("broken")
	failed := map[string]bool{}
	for n := 1; ; n++ {
		h.write(joe+"/lastauth", lastauthNever)
		i, at := 0, ""
		h.opts.hook = func(op, name string) error {
			if i++; i == n {
				at = op
				return broken
			}
			return nil
		}
		err := h.open().SetLastLogin(t.Context(), d, &u, Login{"192.0.2.9", time.Unix(1, 0)})
		want := lastauthNever
		if err == nil || at == "syncdir" {
			want = "192.0.2.9"
		}
		if got := h.read(joe + "/lastauth"); got != want {
			t.Errorf("%s fails, %v: %q, want %q", at, err, got, want)
		}
		names, e := filepath.Glob(filepath.Join(h.dir, joe, ".*"))
		if e != nil || len(names) > 0 {
			t.Errorf("%s fails: left over: %q, %v", at, names, e)
		}
		if at == "" {
			break
		}
		if err != nil && !errors.Is(err, broken) {
			t.Fatalf("%s: %v", at, err)
		}
		failed[at] = err != nil
	}
	for _, op := range []string{"create", "write", "times", "sync", "rename", "syncdir"} {
		if !failed[op] {
			t.Errorf("%s did not fail: %v", op, failed)
		}
	}
}

// TestSetLastLoginAtOnce has many logins of one user: each is whole.
func TestSetLastLoginAtOnce(t *testing.T) {
	h, s, d, u := loginHost(t)
	var wg sync.WaitGroup
	for i := range 20 {
		ip := strings.Repeat(string(rune('a'+i)), 20+i)
		wg.Go(func() {
			if err := s.SetLastLogin(t.Context(), d, &u, Login{IP: ip, Time: time.Unix(1, 0)}); err != nil {
				t.Error(err)
			}
			l, ok, err := s.LastLogin(t.Context(), d, &u)
			if err != nil || !ok || len(l.IP) != int(l.IP[0]-'a')+20 || strings.Trim(l.IP, l.IP[:1]) != "" {
				t.Errorf("%+v, %v, %v", l, ok, err)
			}
		})
	}
	wg.Wait()
	if got := h.read(joe + "/lastauth"); got == lastauthNever {
		t.Error("no login was kept")
	}
}
