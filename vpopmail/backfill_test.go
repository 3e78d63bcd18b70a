//go:build unix

package vpopmail

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestFreed asserts the line that each removal leaves: of user110 and user005
// as in the golden sequence cdb, of "om" and "domains" as seen with 5.4.33
// (backfill.c); 5.6 looks for the last places.
func TestFreed(t *testing.T) {
	d := &Domain{Real: "example.com", Dir: "/home/vpopmail/domains/example.com"}
	for _, c := range []struct{ name, at, want54, want56 string }{
		{"user110", "0", "0", "0"},
		{"user005", "", "", ""},
		{"om", "2", "2/om", "2"},
		{"om", "", "om", ""},
		{"domains", "2", "", "2"},
		{"joe", "0/a", "0/a", "0/a"},
		{"joe", "2/om", "2/om", "2/om"},
		{"example.com", "1", "", "1"},
		{"a#b", "3", "3", "3"},
		{"vpopmail", "", "", ""},
	} {
		u := &User{Name: c.name, Dir: strings.ReplaceAll(d.Dir+"/"+c.at+"/"+c.name, "//", "/")}
		p54, p56 := DefaultProfile54(), DefaultProfile56()
		if got := p54.freed(d, u); got != c.want54 {
			t.Errorf("5.4: %s: %q, want %q", u.Dir, got, c.want54)
		}
		if got := p56.freed(d, u); got != c.want56 {
			t.Errorf("5.6: %s: %q, want %q", u.Dir, got, c.want56)
		}
	}
	// What would lead elsewhere, or be read as something else, is left out.
	p := DefaultProfile54()
	for _, dir := range []string{"/x/example.com/../y/om", "/x/example.com//etc", "/x/example.com/vpasswd", "/x/example.com/a:b/om", "om", ""} {
		if got := p.freed(d, &User{Name: "home", Dir: dir}); got != "" && freeDir(got) != got {
			t.Errorf("%q: %q", dir, got)
		}
		if got := p.freed(d, &User{Name: "zz", Dir: dir}); strings.Contains(got, "..") || strings.HasPrefix(got, "/") || got == "vpasswd" {
			t.Errorf("%q: %q", dir, got)
		}
	}
}

// TestBackfillPlaces makes the next user where the removed one has left his
// place, with the defect of 5.4.
func TestBackfillPlaces(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	s, ctx := h.open(), t.Context()
	var puts []Put
	for i := range 98 {
		puts = append(puts, Put{NewUser: NewUser{Name: fmt.Sprintf("u%02d", i), Hash: "*"}})
	}
	puts = append(puts, Put{NewUser: NewUser{Name: "om", Hash: "*"}}) // the 100th
	if err := putAll(ctx, s, "example.com", puts); err != nil {
		t.Fatal(err)
	}
	res, err := s.DeleteUser(ctx, "om@example.com")
	if err != nil || !strings.HasSuffix(res.User.Dir, "/0/om") {
		t.Fatalf("%+v, %v", res, err)
	}
	u, err := s.AddUser(ctx, "example.com", NewUser{Name: "next", Hash: "*"})
	if err != nil || !strings.HasSuffix(u.Dir, "/example.com/0/om/next") {
		t.Fatalf("%+v, %v", u, err)
	}
	if got := h.read("VPOPMAIL/domains/example.com/.dir_control_free"); got != "" {
		t.Errorf("free %q", got)
	}
	if _, err := os.Lstat(h.dir + "/VPOPMAIL/domains/example.com/0/om/next/Maildir/cur"); err != nil {
		t.Error(err)
	}
}

// TestRebuildCDB asserts that only the database changes.
func TestRebuildCDB(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withUsers(t, h)
	const cdb = "VPOPMAIL/domains/example.com/vpasswd.cdb"
	want := h.snapshot()
	for _, bad := range []string{"", "junk"} {
		h.write(cdb, bad)
		if err := h.open().RebuildCDB(t.Context(), "Example.com"); err != nil {
			t.Fatal(err)
		}
		compareTrees(t, "rebuilt", want, h.snapshot())
	}
	if err := h.open().RebuildCDB(t.Context(), "nodomain.example.com"); !errors.Is(err, ErrNoDomain) {
		t.Error(err)
	}
}

// FuzzNotes asserts that no note leads out of a domain's directory.
func FuzzNotes(f *testing.F) {
	f.Add([]byte(`{"qmailkit_after":1,"gone":{"name":"x","dir":"0/x"},"side":{"name":".dir_control_free","before":null,"after":"0\n"},"pass":["a"]}`))
	f.Add([]byte(`{"qmailkit_after":1,"gone":{"name":"x","dir":"../x"}}`))
	f.Add([]byte(`{"qmailkit_after":1,"gone":{"name":"x","dir":"vpasswd"}}`))
	f.Add([]byte(`{"qmailkit_after":1,"gone":{"name":"x","dir":"vpasswdmail"}}`)) // a user's
	f.Add([]byte(`{"qmailkit_after":1,"pass":["\\x00\\u"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := parseAfter(b)
		if err != nil {
			if !errors.Is(err, ErrNotesDamaged) {
				t.Error(err)
			}
			return
		}
		if n.Gone != nil && n.Gone.Dir != "" {
			first, _, _ := strings.Cut(string(n.Gone.Dir), "/")
			if !plainPath(string(n.Gone.Dir)) || slices.Contains([]string{"vpasswd", "vpasswd.cdb", ".vpasswd.lock", ".dir-control", ".qmail-default"}, first) {
				t.Errorf("directory %q", n.Gone.Dir)
			}
		}
		again, err := noteBytes(n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseAfter(again); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}
