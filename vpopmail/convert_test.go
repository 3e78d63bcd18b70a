//go:build unix

package vpopmail

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
)

// bothStores are the file form and the database of one installation. Its
// database is the recorded one before the last steps.
func bothStores(t *testing.T, name string, p Profile, params ...string) (h *host, files, tables *Store, db *sql.DB) {
	t.Helper()
	h, db = sqlHost(t, p, params...)
	if name != "" {
		loadDump(t, db, unzip(t, "info/"+name+"-middle.sql.gz"))
	}
	h.write("QMAIL/users/assign", "+example.com-:example.com:89:89:"+p.Home+"/domains/example.com:-::\n"+
		"+example.net-:example.com:89:89:"+p.Home+"/domains/example.com:-::\n.\n")
	if err := os.Mkdir(h.dir+"/VPOPMAIL/domains/example.com", 0o700); err != nil {
		t.Fatal(err)
	}
	tables = h.open()
	o := h.opts
	o.Backend, o.Profile = nil, &h.profile
	files, err := Open(h.root("VPOPMAIL"), h.root("QMAIL"), &o)
	if err != nil {
		t.Fatal(err)
	}
	return h, files, tables, db
}

const convertedVpasswd = "VPOPMAIL/domains/example.com/vpasswd"

// TestConvertGolden writes vpasswd from the recorded tables, and compares it
// with that of vconvert -m -c. There the comment "New: Name" made a line that
// nobody can read: here the domain is refused until that is mended.
func TestConvertGolden(t *testing.T) {
	for _, seq := range sqlReplays() {
		t.Run(seq.name, func(t *testing.T) {
			h, files, tables, db := bothStores(t, strings.TrimPrefix(seq.name, "mysql-"), seq.profile, seq.params...)
			before := h.snapshot()
			_, err := tables.ConvertDomain(t.Context(), files, "example.com", nil)
			var e *ConvertError
			if !errors.As(err, &e) || len(e.Accounts) != 1 || !errors.Is(err, ErrBadByte) || !strings.Contains(err.Error(), "alice") {
				t.Fatalf("%v, want one account", err)
			}
			if after := h.snapshot(); after[convertedVpasswd] != before[convertedVpasswd] {
				t.Error("something is written")
			}
			table, err := tables.backend.(*SQL).tableOf("example.com")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec("update " + quoted(table) + " set pw_gecos = 'New Name' where pw_name = 'alice'"); err != nil {
				t.Fatal(err)
			}
			res, err := tables.ConvertDomain(t.Context(), files, "example.net", nil)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(unzip(t, "golden/"+seq.name+"-vpasswd.gz"), "New: Name", "New Name", 1)
			if got := h.read(convertedVpasswd); got != want {
				t.Errorf("%s\nwant\n%s", got, want)
			}
			if n := strings.Count(want, "\n"); res.Users != n || res.Written != n {
				t.Errorf("%+v, want %d", res, n)
			}
			done := h.snapshot()
			again, err := tables.ConvertDomain(t.Context(), files, "example.com", nil)
			if err != nil || again.Written != 0 {
				t.Errorf("again: %+v, %v", again, err)
			}
			compareTrees(t, "again", done, h.snapshot())
			// And back, which changes nothing.
			rows := rowsOf(t, db)
			back, err := files.ConvertDomain(t.Context(), tables, "example.com", nil)
			if err != nil || back.Written != 0 {
				t.Errorf("back: %+v, %v", back, err)
			}
			for _, line := range diffRows(rowsOf(t, db), rows) {
				t.Error(line)
			}
		})
	}
}

// TestConvertToSQL does with the vpasswd of the recorded vconvert -c -m what
// that should have done. It lost two of three accounts.
func TestConvertToSQL(t *testing.T) {
	one := sqlReplays()[0].profile
	h, files, tables, db := bothStores(t, "one-table", one)
	h.write(convertedVpasswd, ""+
		"conv1:$1$abcdefgh$gIkpm/Mf.j.NzD82MOVS00:1:0:Conv One:/home/vpopmail-my1/domains/example.com/conv1:NOQUOTA:short\n"+
		"conv2:aZ7TclHTjdVbY:1:4:Conv Two:/home/vpopmail-my1/domains/example.com/conv2:5000S,2C:\n"+
		"conv3:$6$saltstring$"+strings.Repeat("x", 86)+":1:0:Conv:/home/vpopmail-my1/domains/example.com/conv3:NOQUOTA:\n")
	h.write("VPOPMAIL/domains/example.com/.qmail-team", "alice@example.com\n&bob@example.com\n")
	h.write("VPOPMAIL/domains/example.com/.qmail-new", "bob@example.com\n")
	c := NewDirControl()
	c.Users = 42
	c.Reread()
	h.write("VPOPMAIL/domains/example.com/.dir-control", string(c.Bytes()))
	before := rowsOf(t, db)
	_, err := files.ConvertDomain(t.Context(), tables, "example.com", &ConvertOptions{Replace: true})
	if !errors.Is(err, ErrTooLong) || !strings.Contains(err.Error(), "conv3") {
		t.Fatalf("long hash: %v", err)
	}
	h.write(convertedVpasswd, strings.Replace(h.read(convertedVpasswd), strings.Repeat("x", 86), "abc", 1))
	var e *ConvertError
	_, err = files.ConvertDomain(t.Context(), tables, "example.com", nil)
	if !errors.Is(err, ErrUserExists) || !errors.As(err, &e) || len(e.Accounts) != 10 {
		t.Fatalf("accounts of the target: %v", err)
	}
	for _, line := range diffRows(rowsOf(t, db), before) {
		t.Error("refused:", line)
	}
	o := &ConvertOptions{Replace: true, Aliases: true, Limits: true}
	res, err := files.ConvertDomain(t.Context(), tables, "example.com", o)
	if err != nil || res.Written != 3 || len(res.Removed) != 10 || res.Aliases != 1 || len(res.Problems) != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	want := ParseVpasswd([]byte(h.read(convertedVpasswd)))
	n := 0
	for u, err := range tables.Users(t.Context(), "example.com") {
		if stored, ok := want.Get(u.Name); err != nil || !ok || u != stored {
			t.Errorf("%+v, %v", u, err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d accounts", n)
	}
	counter, err := readCounter(t.Context(), db, "example.com")
	if c.Mod[2] = 4; err != nil || counter.Users != 42 || counter.Mod != c.Mod {
		t.Errorf("counter %+v, %v", counter, err)
	}
	if lines, err := tables.Alias(t.Context(), "new@example.com"); err != nil || len(lines) != 1 {
		t.Errorf("alias: %q, %v", lines, err)
	}
	rows := rowsOf(t, db)
	if res, err = files.ConvertDomain(t.Context(), tables, "example.com", o); err != nil || res.Written != 0 || res.Aliases != 0 {
		t.Errorf("again: %+v, %v", res, err)
	}
	for _, line := range diffRows(rowsOf(t, db), rows) {
		t.Error("again:", line)
	}
}

// TestConvertAll makes an installation of files, carries all of it into a
// database, and back into a second one.
func TestConvertAll(t *testing.T) {
	p := sqlReplays()[0].profile
	h, files, tables, db := bothStores(t, "", p)
	if err := os.RemoveAll(h.dir + "/VPOPMAIL/domains/example.com"); err != nil {
		t.Fatal(err)
	}
	h.write("QMAIL/users/assign", ".\n")
	ctx := t.Context()
	hash := qmailkit.Secret("$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs.")
	for _, name := range []string{"example.com", "example.org"} {
		if err := addDomainOnce(ctx, files, name); err != nil {
			t.Fatal(err)
		}
		var list []NewUser
		for _, u := range manyUsers(120) {
			u.Hash = hash
			list = append(list, u.NewUser)
		}
		if _, err := files.AddUsers(ctx, name, list); err != nil {
			t.Fatal(err)
		}
	}
	d, err := files.Domain(ctx, "example.org")
	if err != nil {
		t.Fatal(err)
	}
	u, err := files.User(ctx, "user007@example.org")
	if err != nil {
		t.Fatal(err)
	}
	login := Login{"192.0.2.7", time.Unix(1700000000, 0)}
	if err := files.SetLastLogin(ctx, d, &u, login); err != nil {
		t.Fatal(err)
	}
	l := NoLimits()
	l.DefaultQuota, l.Disabled = 1000, NoPOP|DeleteSpam
	if err := files.SetLimits(ctx, "example.org", l); err != nil {
		t.Fatal(err)
	}
	o := &ConvertOptions{Aliases: true, Limits: true}
	n := 0
	for res, err := range files.Convert(ctx, tables, o) {
		if err != nil || res.Users != 121 || res.Logins != 121 || len(res.Problems) > 0 {
			t.Errorf("%+v, %v", res, err)
		}
		n++
	}
	if n != 2 {
		t.Errorf("%d domains", n)
	}
	if got, ok, err := tables.LastLogin(ctx, d, &u); err != nil || !ok || got != login {
		t.Errorf("login %+v, %v, %v", got, ok, err)
	}
	if got, own, err := tables.Limits(ctx, "example.org"); err != nil || !own || got != l {
		t.Errorf("limits %+v, %v", got, err)
	}
	for row, want := range map[string]uint64{"example.com": 121, "dom_89": 2} {
		if c, err := readCounter(ctx, db, row); err != nil || c.Users != want {
			t.Errorf("%s: %+v, %v", row, c, err)
		}
	}
	before := h.snapshot()
	for _, name := range []string{"example.com/vpasswd", "example.com/vpasswd.cdb", "example.com/.dir-control", "example.org/0/user044/lastauth", ".dir-control"} {
		if err := os.Remove(h.dir + "/VPOPMAIL/domains/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	for res, err := range tables.Convert(ctx, files, o) {
		if err != nil || len(res.Problems) > 0 {
			t.Errorf("%+v, %v", res, err)
		}
	}
	after := h.snapshot()
	for name, was := range before {
		if strings.HasSuffix(name, ".dir-control") {
			continue // a database does not lose the third numbers
		}
		if after[name] != was {
			t.Errorf("%s: %+v, want %+v", name, after[name], was)
		}
	}
	for _, name := range []string{"", "example.com/"} {
		c, err := ParseDirControl([]byte(after["VPOPMAIL/domains/"+name+".dir-control"].Content))
		was, _ := ParseDirControl([]byte(before["VPOPMAIL/domains/"+name+".dir-control"].Content))
		if err != nil || c != was {
			t.Errorf("%s.dir-control: %+v, %v; want %+v", name, c, err, was)
		}
	}
}
