//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// roamHost is an installation that learns passwords and opens relays, with the
// accounts ann (password "annpw", clear too), new (none), and far (whose
// directory lies elsewhere).
func roamHost(t *testing.T) *host {
	t.Helper()
	p := DefaultProfile54()
	p.LearnPasswords, p.RoamingUsers, p.SqwebmailPass = true, true, true
	h := newHost(t, p, controlBefore)
	h.opts.Now = func() time.Time { return time.Unix(1795000000, 0) }
	h.opts.Salt = func(n int) string { return strings.Repeat("s", n) }
	s := h.open()
	if _, err := s.AddDomain(t.Context(), testSpec("example.com"), nil); err != nil {
		t.Fatal(err)
	}
	for _, n := range []NewUser{{Name: "ann", Clear: "annpw"}, {Name: "new", NoPassword: true}, {Name: "far", Clear: "farpw"}} {
		if _, err := s.AddUser(t.Context(), "example.com", n); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func login(name, password string) Attempt {
	return Attempt{Credentials: Credentials{Name: name, Password: qmailkit.Secret(password)}, ClientIP: "192.0.2.7"}
}

var record = &LoginOptions{Record: true}

// mustLogin is a Login whose verdict is known.
func mustLogin(t *testing.T, s *Store, a Attempt, want LoginStatus) Verdict {
	t.Helper()
	v, err := s.Login(t.Context(), a, record)
	if err != nil || v.Status != want {
		t.Errorf("%s: %v (%s), %v; want %v", a.Name, v.Status, v.Reason, err, want)
	}
	return v
}

func TestLoginDecidesOnly(t *testing.T) {
	h := roamHost(t)
	s := h.open()
	before := h.snapshot()
	for name, pw := range map[string]string{"ann@example.com": "annpw", "new@example.com": "first", "nobody@example.com": "x"} {
		v, err := s.Login(t.Context(), login(name, pw), nil)
		if err != nil || (v.Status == LoginOK) != (name != "nobody@example.com") || v.Learnt {
			t.Errorf("%s: %+v, %v", name, v.Status, err)
		}
	}
	if changed, removed := diff(before, h.snapshot()); len(changed)+len(removed) > 0 {
		t.Errorf("changed %q, removed %q", changed, removed)
	}
}

// Many people try the account without a password at once: one of them gets it.
func TestLearnAtOnce(t *testing.T) {
	h := roamHost(t)
	s := h.open()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var in []string
	for i := range 12 {
		wg.Go(func() {
			pw := fmt.Sprintf("pw%d", i)
			v, err := s.Login(t.Context(), login("new@example.com", pw), record)
			if err != nil {
				t.Error(err)
			}
			if v.Status == LoginOK {
				mu.Lock()
				in = append(in, pw)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(in) != 1 {
		t.Fatalf("let in: %q", in)
	}
	if v := mustLogin(t, s, login("new@example.com", in[0]), LoginOK); v.Learnt || string(v.User.Clear) != in[0] {
		t.Errorf("%+v", v)
	}
	mustLogin(t, s, login("new@example.com", "other"), LoginFailed)
	if pass := h.read("VPOPMAIL/domains/example.com/new/Maildir/sqwebmail-pass"); !strings.HasPrefix(pass, "\t$1$") {
		t.Errorf("sqwebmail-pass: %q", pass)
	}
}

func TestDefaultDomain(t *testing.T) {
	h := roamHost(t)
	s := h.open()
	a := login("ann", "annpw")
	a.ServerIP = "192.0.2.10"
	mustLogin(t, s, a, LoginFailed)
	h.write("VPOPMAIL/etc/defaultdomain", "Example.com\nother\n")
	mustLogin(t, s, a, LoginOK)
	h.write("VPOPMAIL/etc/ip_alias_map", "junk\n192.0.2.9 example.com\n192.0.2.10 example.org\n")
	mustLogin(t, s, a, LoginFailed)
	a.ServerIP = "192.0.2.9"
	mustLogin(t, s, a, LoginOK)
	a.DefaultDomain = "none.example"
	mustLogin(t, s, a, LoginFailed)
	a.DefaultDomain = "EXAMPLE.com"
	if v := mustLogin(t, s, a, LoginOK); !slices.Contains(v.Environ(), "VPOPUSER=ann") || !slices.Contains(v.Environ(), "USER=ann") {
		t.Errorf("%q", v.Environ())
	}
	a.DefaultDomain = "bad_domain" // what VPOPMAIL_DOMAIN's bad bytes become
	mustLogin(t, s, a, LoginFailed)
}

func TestLoginRefuses(t *testing.T) {
	h := roamHost(t)
	s := h.open()
	mustLogin(t, s, login("", "x"), LoginNoName)
	mustLogin(t, s, login("ann@example.com", ""), LoginNoPassword)
	mustLogin(t, s, login("a:b@example.com", "x"), LoginBadByte)
	mustLogin(t, s, login("@example.com", "x"), LoginFailed)
	mustLogin(t, s, login("../ann@example.com", "annpw"), LoginFailed)
	mustLogin(t, s, login("ann@"+strings.Repeat("x", 300), "annpw"), LoginFailed)
	a := login("ann@example.com", "annpw")
	a.Service = 9
	if v, err := s.Login(t.Context(), a, nil); err == nil || v.Status != LoginCannotTell {
		t.Errorf("service 9: %v, %v", v.Status, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, a := range []Attempt{login("ann@example.com", "annpw"), login("", "")} {
		if v, err := s.Login(ctx, a, nil); !errors.Is(err, context.Canceled) || v.Status != LoginCannotTell {
			t.Errorf("cancelled: %v, %v", v.Status, err)
		}
	}
	if (&Verdict{Status: LoginFailed}).Environ() != nil {
		t.Error("an environment for nobody")
	}
}

// A record names any directory. Nothing is made outside the domain's own, and
// nothing is written into one that is not its owner's.
func TestLoginHomes(t *testing.T) {
	h := roamHost(t)
	setDir := func(dir string) {
		name := "VPOPMAIL/domains/example.com/vpasswd"
		v := ParseVpasswd([]byte(h.read(name)))
		u, _ := v.Get("far")
		u.Dir = dir
		v.set(v.find("far"), u.AppendLine(nil, true))
		h.write(name, string(v.Bytes()))
		os.Remove(filepath.Join(h.dir, name+".cdb"))
	}
	setDir("")
	mustLogin(t, h.open(), login("far@example.com", "farpw"), LoginNoHome)
	for _, dir := range []string{"/etc/far", "/home/vpopmail/far", "/home/vpopmail/domains/example.com/../far", "/home/vpopmail/domains/example.comfar", "far"} {
		setDir(dir)
		before := h.snapshot()
		v, err := h.open().Login(t.Context(), login("far@example.com", "farpw"), record)
		if err == nil || v.Status != LoginOK || v.HomeMade {
			t.Errorf("%s: %v, %v", dir, v.Status, err)
		}
		changed, _ := diff(before, h.snapshot())
		changed = slices.DeleteFunc(changed, func(n string) bool { return strings.Contains(n, "/etc/open-smtp") })
		if len(changed) > 0 {
			t.Errorf("%s: %q", dir, changed)
		}
	}
	setDir("/home/vpopmail/domains/example.com/0/far")
	if v := mustLogin(t, h.open(), login("far@example.com", "farpw"), LoginOK); !v.HomeMade {
		t.Error("no home was made")
	}
	if fi, err := os.Stat(filepath.Join(h.dir, "VPOPMAIL/domains/example.com/0/far/Maildir/new")); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", fi, err)
	}
}

func TestOpenRelay(t *testing.T) {
	at := time.Unix(99, 0)
	rule := ":allow,RELAYCLIENT=\"\",RBLSMTPD=\"\"\t"
	for _, c := range []struct {
		old, ip, want string
		isNew         bool
	}{
		{"", "192.0.2.1", "192.0.2.1" + rule + "99\n", true},
		{"192.0.2.1" + rule + "5\n192.0.2.10" + rule + "6\n", "192.0.2.1", "192.0.2.10" + rule + "6\n192.0.2.1" + rule + "99\n", false},
		{"# mine\n\n192.0.2.2:deny", "192.0.2.1", "# mine\n\n192.0.2.2:deny\n192.0.2.1" + rule + "99\n", true},
		{"192.0.2.1:x\n192.0.2.1:y", "192.0.2.1", "192.0.2.1" + rule + "99\n", false},
	} {
		got, isNew := relayText(c.old, c.ip, at)
		if got != c.want || isNew != c.isNew {
			t.Errorf("%q %s: %q, %v", c.old, c.ip, got, isNew)
		}
	}
	h := roamHost(t)
	for _, ip := range []string{"", "2001:db8::1", "192.0.2.1:allow", "192.0.2", "x"} {
		a := login("ann@example.com", "annpw")
		a.ClientIP = ip
		if v := mustLogin(t, h.open(), a, LoginOK); v.NewRelay {
			t.Errorf("%q opens the relay", ip)
		}
	}
	if _, err := os.Stat(filepath.Join(h.dir, "VPOPMAIL/etc/open-smtp")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("open-smtp: %v", err)
	}
}

// relays is a Backend that keeps addresses in a table.
type relays struct {
	Backend
	noted []string
}

func (r *relays) OpenRelay(_ context.Context, ip string, at time.Time) (bool, error) {
	r.noted = append(r.noted, fmt.Sprint(ip, " ", at.Unix()))
	return len(r.noted) == 1, nil
}

func TestRelayKeeper(t *testing.T) {
	h := roamHost(t)
	r := &relays{Backend: files{h.open()}}
	h.opts.Backend = r
	for _, want := range []bool{true, false} {
		if v := mustLogin(t, h.open(), login("ann@example.com", "annpw"), LoginOK); v.NewRelay != want {
			t.Errorf("new: %v, want %v", v.NewRelay, want)
		}
	}
	if want := []string{"192.0.2.7 1795000000", "192.0.2.7 1795000000"}; !slices.Equal(r.noted, want) {
		t.Errorf("%q", r.noted)
	}
}

// TestLoginFaults makes every step of a login fail once. The login stays right,
// the error is told, and the next login leaves what a clean one does.
func TestLoginFaults(t *testing.T) {
	broken := errors.New("broken")
	run := func(h *host) (Verdict, error) {
		// Whose password is learnt, whose directory is missing, whose relay is
		// opened.
		return h.open().Login(context.Background(), login("new@example.com", "first"), record)
	}
	prepare := func(t *testing.T) *host {
		h := roamHost(t)
		if err := os.RemoveAll(filepath.Join(h.dir, "VPOPMAIL/domains/example.com/new")); err != nil {
			t.Fatal(err)
		}
		return h
	}
	clean := prepare(t)
	if v, err := run(clean); err != nil || v.Status != LoginOK || !v.Learnt || !v.HomeMade || !v.NewRelay {
		t.Fatalf("%+v, %v", v, err)
	}
	if _, err := run(clean); err != nil { // notes the login in the new directory
		t.Fatal(err)
	}
	want := clean.snapshot()
	failed := map[string]int{}
	for n := 1; ; n++ {
		h := prepare(t)
		i, at := 0, ""
		h.opts.hook = func(op, name string) error {
			if i++; i == n {
				at = op
				return broken
			}
			return nil
		}
		v, err := run(h)
		if at == "" {
			break
		}
		failed[at]++
		h.opts.hook = nil
		if err == nil && v.Status != LoginOK {
			t.Errorf("%s %d: %v without an error", at, n, v.Status)
		}
		for range 2 {
			if v, err := run(h); err != nil || v.Status != LoginOK {
				t.Errorf("%s %d, again: %v, %v", at, n, v.Status, err)
			}
		}
		// The next change of the domain finishes what is left of this one.
		if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "ann", NoPassword: true}); !errors.Is(err, ErrUserExists) {
			t.Error(err)
		}
		changed, removed := diff(want, h.snapshot())
		same := func(name string) bool {
			// sqwebmail-pass is written late where the directory was made in
			// between, and not at all where it was missing.
			return strings.HasSuffix(name, "new/Maildir/sqwebmail-pass")
		}
		changed, removed = slices.DeleteFunc(changed, same), slices.DeleteFunc(removed, same)
		if len(changed)+len(removed) > 0 {
			t.Errorf("%s %d: changed %q, removed %q", at, n, changed, removed)
		}
	}
	for _, op := range []string{"create", "write", "sync", "rename", "syncdir"} {
		if failed[op] == 0 {
			t.Errorf("%s never failed: %v", op, maps.Collect(maps.All(failed)))
		}
	}
}

// An account may be forbidden to relay, and one without a name is what is left
// of a line that was too long.
func TestLoginOddAccounts(t *testing.T) {
	h := roamHost(t)
	name := "VPOPMAIL/domains/example.com/vpasswd"
	v := ParseVpasswd([]byte(h.read(name)))
	u, _ := v.Get("ann")
	u.Flags = NoRelay
	v.set(v.find("ann"), u.AppendLine(nil, true))
	h.write(name, string(v.Bytes())+string((&User{Hash: u.Hash, UID: 1, Dir: u.Dir, Clear: u.Clear}).AppendLine(nil, true))+"\n")
	if err := os.Remove(filepath.Join(h.dir, name+".cdb")); err != nil {
		t.Fatal(err)
	}
	if v := mustLogin(t, h.open(), login("ann@example.com", "annpw"), LoginOK); v.NewRelay {
		t.Error("the relay is opened for somebody who may not relay")
	}
	mustLogin(t, h.open(), login("@example.com", "annpw"), LoginFailed)
}

// A password that was changed while another one was let in is not learnt over.
func TestLearnLate(t *testing.T) {
	h := roamHost(t)
	s := h.open()
	a := login("ann@example.com", "annpw")
	verdict := mustLogin(t, s, a, LoginOK)
	verdict.User.Hash, verdict.User.Clear = "$1$old$", ""
	before := h.read("VPOPMAIL/domains/example.com/vpasswd")
	if err := s.learn(t.Context(), &verdict, &a); err != nil || verdict.Status != LoginFailed || verdict.Learnt {
		t.Errorf("%v, %v, %v", verdict.Status, verdict.Learnt, err)
	}
	if after := h.read("VPOPMAIL/domains/example.com/vpasswd"); after != before {
		t.Errorf("%q, want %q", after, before)
	}
}

// Root makes no directory in one that is not the domain's.
func TestLoginForeignDomain(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a directory away")
	}
	h := roamHost(t)
	domain := filepath.Join(h.dir, "VPOPMAIL/domains/example.com")
	if err := errors.Join(os.RemoveAll(domain+"/far"), os.Chown(domain, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
	v, err := h.open().Login(t.Context(), login("far@example.com", "farpw"), record)
	if !errors.Is(err, safefs.ErrForeign) || v.HomeMade {
		t.Errorf("%v, %v", v.HomeMade, err)
	}
	if _, err := os.Stat(domain + "/far"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is made: %v", err)
	}
}
