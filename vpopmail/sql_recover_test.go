//go:build unix

package vpopmail

import (
	"strings"
	"testing"
)

// TestSQLRecover leaves what a change without transactions leaves that was
// killed among its rows: the next change brings counter, vacancies and
// directories to where the accounts are.
func TestSQLRecover(t *testing.T) {
	before, after := NewDirControl(), NewDirControl()
	before.Users, after.Users = 1, 2
	foreign := before
	foreign.Users = 7
	free, taken := text("0\n1\n"), text("1\n")
	for _, c := range []struct {
		what      string
		account   bool // got into the table
		counter   DirControl
		file      text
		wantCount DirControl
		wantFile  text
	}{
		{"killed before the account", false, after, taken, before, free},
		{"killed before anything", false, before, free, before, free},
		{"killed behind the account", true, before, free, after, taken},
		{"killed before the note went", true, after, taken, after, taken},
		{"changed by vpopmail since", false, foreign, "9\n", foreign, "9\n"},
	} {
		h, db := sqlHost(t, allTables54(), "default_storage_engine=MyISAM")
		withDomain(t, h)
		const top = "VPOPMAIL/domains/example.com/"
		h.mkdir(top + "ann")
		n := intent{Version: 2, Users: []madeNote{{"ann", "ann"}}, Row: &counterRow{before, after},
			Side: []sideFile{{Name: freeName, Before: &free, After: taken}}}
		b, err := noteBytes(&n)
		if err != nil {
			t.Fatal(err)
		}
		h.write(top+intentName, string(b))
		h.write(top+freeName, string(c.file))
		if err := writeCounter(t.Context(), db, "example.com", c.counter); err != nil {
			t.Fatal(err)
		}
		if c.account {
			_, err := db.Exec("insert into vpopmail (pw_name, pw_domain, pw_passwd, pw_dir) values ('ann', 'example.com', '*', '/home/vpopmail/domains/example.com/ann')")
			if err != nil {
				t.Fatal(err)
			}
		}
		s := h.open()
		d, err := s.Domain(t.Context(), "example.com")
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Backend().Edit(t.Context(), d)
		if err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		got, _, err := r.Counter()
		if err != nil || got != c.wantCount {
			t.Errorf("%s: counter %+v, %v; want %+v", c.what, got, err, c.wantCount)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		snap := h.snapshot()
		if file := snap[top+freeName].Content; file != string(c.wantFile) {
			t.Errorf("%s: %s is %q, want %q", c.what, freeName, file, c.wantFile)
		}
		if _, ok := snap[top+"ann"]; ok != c.account {
			t.Errorf("%s: directory %v", c.what, ok)
		}
		for name := range snap {
			if strings.Contains(name, "qmailkit") {
				t.Errorf("%s: %s is left", c.what, name)
			}
		}
	}
}
