//go:build unix

package vpopmail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// elsewhere are the cases in which this package does not do what the real
// program did; see departure.
var elsewhere = map[int]departure{
	19: {ErrTooLong, "96 characters: real program wedges users/assign", nil},
	21: {ErrTooLong, "96 characters: real program wedges users/assign", nil},
	35: {ErrTooLong, "88 characters: real program wedges users/assign", nil},
	38: {ErrBadUser, "empty name: real program finds its directory there", nil},
	39: {ErrBadUser, "no domain: real program has other words", nil},
	40: {ErrBadUser, "no domain: real program has other words", nil},
	55: {ErrBadUser, "slash in a name: real program finds no directory to make it in", nil},
	59: {ErrTooLong, "312 characters: real program loses the domain", nil},
	62: {ErrBadUser, "..: real program finds the directory there", nil},

	83:  {ErrBadUser, "no password and a name of one character: real program asks for the password first", nil},
	104: {ErrTooLong, "hash of 129 bytes: real program leaves an account without a password", nil},
	105: {ErrNoUser, "the account of 104 was not made", nil},
	106: {ErrQuota, "quota of junk: real program leaves an account without the quota", nil},
	107: {ErrNoUser, "the account of 106 was not made", nil},
	100: {nil, "-e leaves the old clear password", []string{"/vpasswd", "/vpasswd.cdb"}},
	114: {nil, "no control/locals: real program makes an empty one", []string{"/locals"}},
	120: {ErrAssign, "damaged users/assign: real program leaves half a domain", nil},
}

func TestRefused(t *testing.T) {
	steps := readSteps(t, "refused")
	var setup []step
	groups := map[int][]step{}
	var order []int
	for _, st := range steps {
		if st.Group == 0 {
			setup = append(setup, st)
			continue
		}
		if groups[st.Group] == nil {
			order = append(order, st.Group)
		}
		groups[st.Group] = append(groups[st.Group], st)
	}
	if len(setup) != 3 || len(order) < 60 {
		t.Fatalf("%d steps of set-up, %d groups", len(setup), len(order))
	}
	used := map[int]bool{}
	fresh := func() *host {
		h := newHost(t, DefaultProfile54(), controlBefore)
		for i := range setup {
			replayStep(t, h, &setup[i], false)
		}
		return h
	}
	h := fresh()
	for _, g := range order {
		for i := range groups[g] {
			st := &groups[g][i]
			if st.ByHand != "" {
				byHand(t, h, st)
				continue
			}
			if len(st.UIDGID) > 0 && st.RC != 0 || strings.HasPrefix(st.Stdout, st.Argv[0]+": ") {
				continue // rights of another user; usage texts
			}
			used[st.N] = true
			if refusedStep(t, h, st) {
				h = fresh()
			}
			if t.Failed() {
				t.Fatalf("step %d: %.200q", st.N, st.Argv)
			}
		}
	}
	for n := range elsewhere {
		if !used[n] {
			t.Errorf("case %d of the differences was not met", n)
		}
	}
}

// byHand edits a file as the step did.
func byHand(t *testing.T, h *host, st *step) {
	for _, name := range st.Removed {
		if err := os.Remove(filepath.Join(h.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range st.Changed {
		text, ok := f.content(t)
		if !ok {
			t.Fatalf("%s has no content", name)
		}
		h.write(name, text)
	}
}

// refusedStep runs one case and says whether it changed anything.
func refusedStep(t *testing.T, h *host, st *step) (dirty bool) {
	t.Helper()
	diffs, differs := elsewhere[st.N]
	if st.RC == 0 && (!differs || diffs.err == nil) {
		replayStep(t, h, st, false, diffs.differ...)
		return true
	}
	before := h.snapshot()
	res := h.carryOut(st)
	changed, removed := diff(before, h.snapshot())
	if differs {
		if !errors.Is(res.err, diffs.err) {
			t.Errorf("%v, want %v (%s)", res.err, diffs.err, diffs.why)
		}
	} else if want, _, _ := strings.Cut(st.Stdout, "\nvadduser: usage"); res.rc != st.RC || strings.TrimSpace(res.stdout) != strings.TrimSpace(want) {
		t.Errorf("status %d, %q (%v); want %d, %q", res.rc, res.stdout, res.err, st.RC, st.Stdout)
	}
	if res.err != nil && len(changed)+len(removed) > 0 {
		t.Errorf("refused, but changed %q, removed %q", changed, removed)
	}
	return res.err == nil
}

// TestTable asserts what the table in the package documentation says and the
// golden cases do not show.
func TestTable(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	s := h.open()
	if _, err := s.AddDomain(ctx, DomainSpec{Name: "example.com"}, nil); err != nil {
		t.Fatal(err)
	}
	before := h.snapshot()
	long := strings.Repeat("n", 32)
	for _, c := range []struct {
		n    NewUser
		want error
	}{
		{NewUser{Name: "../x", Hash: "*"}, ErrBadUser},
		{NewUser{Name: "a/b", Hash: "*"}, ErrBadUser},
		{NewUser{Name: "x\n", Hash: "*"}, ErrBadUser},
		{NewUser{Name: "x\x00", Hash: "*"}, ErrBadUser},
		{NewUser{Name: "j\xf6", Hash: "*"}, ErrBadUser},
		{NewUser{Name: "vpasswd.cdb", Hash: "*"}, ErrUserDir},
		{NewUser{Name: ".qmail-x", Hash: "*"}, ErrUserDir},
		{NewUser{Name: ".qmailkit_change", Hash: "*"}, ErrUserDir},
		{NewUser{Name: "hash", Hash: "a:b"}, ErrBadByte},
		{NewUser{Name: "hash", Hash: "a\nb"}, ErrBadByte},
		{NewUser{Name: "hash", Hash: "a\x00b"}, ErrBadByte},
		{NewUser{Name: "clear", Clear: "a\nroot::0:0"}, ErrBadByte},
		{NewUser{Name: "clear", Clear: "a\x00b"}, ErrBadByte},
		{NewUser{Name: "gecos", Hash: "*", Gecos: "a:b"}, ErrBadByte},
		{NewUser{Name: "gecos", Hash: "*", Gecos: strings.Repeat("g", 49)}, ErrTooLong},
		{NewUser{Name: "nobody"}, ErrNoPassword},
		{NewUser{Name: "quota", Hash: "*", Quota: "10G"}, ErrQuota},
		{NewUser{Name: "quota", Hash: "*", Quota: "999999999999999,99999C"}, ErrTooLong},
		// 32 characters three times, a $6$ hash and a quota: 267 bytes.
		{NewUser{Name: long, Hash: "$6$saltstring0123$" + "j.ixUUzZvy.pl6ILi8te4WVkzqShFBdMxgaGJn6xCRoU.0635B2lK9WQIDaUkdx1I8az/zeJHtE6xQBXLDG59.",
			Gecos: strings.Repeat("g", 48), Quota: "1000000000S,1000C"}, ErrTooLong},
	} {
		if _, err := s.AddUser(ctx, "example.com", c.n); !errors.Is(err, c.want) {
			t.Errorf("%.40q: %v, want %v", c.n.Name, err, c.want)
		}
	}
	for _, d := range []struct {
		spec DomainSpec
		want error
	}{
		{DomainSpec{Name: "new.example.org", CatchAll: "x@example.org; rm -rf /"}, ErrBadByte},
		{DomainSpec{Name: "new.example.org", CatchAll: "$(id)"}, ErrBadByte},
		{DomainSpec{Name: "new.example.org", CatchAll: "../../x"}, ErrBadByte},
		{DomainSpec{Name: "new.example.org", Base: "/tmp/a b"}, ErrBadByte},
		{DomainSpec{Name: "new.example.org", Base: "/srv/mail"}, ErrNotMounted},
		{DomainSpec{Name: ".."}, ErrBadDomain},
		{DomainSpec{Name: ".dir-control"}, ErrDomainDir},
		{DomainSpec{Name: "example.com"}, ErrDomainExists},
	} {
		if _, err := s.AddDomain(ctx, d.spec, nil); !errors.Is(err, d.want) {
			t.Errorf("%+v: %v, want %v", d.spec, err, d.want)
		}
	}
	if changed, removed := diff(before, h.snapshot()); len(changed)+len(removed) > 0 {
		t.Errorf("refusals changed %q, removed %q", changed, removed)
	}
}

func TestDomain56(t *testing.T) {
	p := DefaultProfile56()
	for name, want := range map[string]error{
		"a..b": ErrBadDomain, "...": ErrBadDomain, "example.org.": ErrBadDomain, "1.2.3.4": ErrBadDomain, "localhost": ErrBadDomain,
		"Example.ORG": nil, "x." + strings.Repeat("y", 63): nil, "x." + strings.Repeat("y", 64): ErrBadDomain,
	} {
		if _, err := p.Domain(name); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", name, err, want)
		}
	}
	// What vaddaliasdomain of 5.6.13 answered.
	for name, want := range map[string]error{
		"a.b": nil, "x": nil, "-dash.example.org": nil, "a..b": nil, "...": nil, "1.2.3.4": nil, "localhost": nil, "example.org.": nil,
		"a_b.example.com": ErrBadDomain,
	} {
		if _, err := p.AliasDomain(name); !errors.Is(err, want) {
			t.Errorf("alias %q: %v, want %v", name, err, want)
		}
	}
	if _, err := p.User(strings.Repeat("u", 64)); err != nil {
		t.Error(err)
	}
	if _, err := p.User(strings.Repeat("u", 65)); !errors.Is(err, ErrTooLong) {
		t.Error(err)
	}
}

func TestErrorsHideSecrets(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	s := h.open()
	if _, err := s.AddDomain(t.Context(), DomainSpec{Name: "example.com"}, nil); err != nil {
		t.Fatal(err)
	}
	u, err := s.AddUser(t.Context(), "example.com", NewUser{Name: "joe", Clear: "swordfish"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.AddUser(t.Context(), "example.com", NewUser{Name: "joe2", Clear: "swordfish\n"})
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", u, u, u), fmt.Sprint(err)} {
		if strings.Contains(text, "swordfish") || strings.Contains(text, "$1$") {
			t.Errorf("secret shows in %q", text)
		}
	}
}
