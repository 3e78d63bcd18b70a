//go:build unix

package vpopmail

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDomainsHash adds domains where the hash directory of domains moves on, in
// the file form, which passes through the reader's defect, and where a database
// counts. Each is found, takes a user, and goes again.
func TestDomainsHash(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		count     uint64 // of domains before
		file, row string // hash directory in users/assign
	}{
		{98, "", ""}, {99, "0/", "0/"}, {100, "0/", "0/"}, {199, "1/", "1/"}, {6199, "z/", "z/"}, {6299, "0/0/", "0/0/"},
		{12399, "0/z/", "0/z/"}, {12499, "1/0/", "1/0/"}, {390599, "z/z/", "z/z/"}, {390699, "0/1//", "0/0/0/"},
	} {
		for _, form := range []string{"file", "row"} {
			h := newHost(t, DefaultProfile54(), controlBefore)
			db := newTables()
			s := h.open()
			want := c.file
			ctl := countTo(c.count, form == "file")
			if form == "row" {
				want = c.row
				s.backend = keeper{files{s}, db}
				db.counts[89] = ctl
			} else {
				h.write("VPOPMAIL/domains/.dir-control", string(ctl.Bytes()))
			}
			if err := addDomainOnce(ctx, s, "example.com"); err != nil {
				t.Fatalf("%s %d: %v", form, c.count, err)
			}
			line := "+example.com-:example.com:89:89:/home/vpopmail/domains/" + want + "example.com:-::\n"
			if got := h.read("QMAIL/users/assign"); !strings.HasPrefix(got, line) {
				t.Errorf("%s %d: %q, want %q", form, c.count, got, line)
			}
			if _, err := s.AddUser(ctx, "example.com", NewUser{Name: "joe", Hash: "*"}); err != nil {
				t.Errorf("%s %d: %v", form, c.count, err)
			}
			if u, err := s.User(ctx, "joe@example.com"); err != nil || u.Dir != "/home/vpopmail/domains/"+want+"example.com/joe" {
				t.Errorf("%s %d: %+v, %v", form, c.count, u, err)
			}
			home := filepath.Join(h.dir, "VPOPMAIL/domains", want, "example.com")
			if _, err := os.Stat(filepath.Join(home, "joe/Maildir/cur")); err != nil {
				t.Errorf("%s %d: %v", form, c.count, err)
			}
			if _, err := s.DeleteDomain(ctx, "example.com", nil, told); err != nil {
				t.Errorf("%s %d: %v", form, c.count, err)
			}
			if _, err := os.Stat(home); !os.IsNotExist(err) {
				t.Errorf("%s %d: %v", form, c.count, err)
			}
			after := db.counts[89]
			if form == "file" {
				var err error
				if after, err = ParseDirControl([]byte(h.read("VPOPMAIL/domains/.dir-control"))); err != nil {
					t.Fatal(err)
				}
			}
			if after.Users != c.count || after.Dir+"/" != want && want != "" {
				t.Errorf("%s %d: %d domains, hash directory %q", form, c.count, after.Users, after.Dir)
			}
		}
	}
}

// countTo is the counter after n accounts, kept in a file or in memory.
func countTo(n uint64, file bool) DirControl {
	c := NewDirControl()
	for range n {
		if file && c.Users > 0 {
			c.Reread()
		}
		c.Next()
	}
	return c
}
