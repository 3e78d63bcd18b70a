//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/mariadbtest"
)

// TestSQLTableNames asserts what vpopmail cannot use as a domain's own table,
// and what it would share.
func TestSQLTableNames(t *testing.T) {
	p := DefaultProfile54()
	p.TablePerDomain = true
	h, db := sqlHost(t, p)
	s := h.open()
	add := func(name string) error {
		_, err := s.AddDomain(t.Context(), testSpec(name), nil)
		return err
	}
	if err := add("a-b.c"); err != nil {
		t.Fatal(err)
	}
	before, rows := h.snapshot(), rowsOf(t, db)
	long := strings.Repeat("long.", 12) + "example.com"
	for _, name := range []string{"a.b.c", "a.b-c", "dir.control", "last-auth", "valias", "vlog", "ip.alias-map", "123", long, "select", "current.user"} {
		err := add(name)
		switch name {
		case "last-auth":
			if err != nil {
				t.Errorf("%s: %v", name, err) // last_auth is not lastauth
			}
			if _, err := s.DeleteDomain(t.Context(), name, nil, nil); err != nil {
				t.Fatal(err)
			}
		case "select", "current.user": // words of SQL are the server's to refuse
			if err == nil || !strings.Contains(err.Error(), "making table") {
				t.Errorf("%s: %v", name, err)
			}
		default:
			if !errors.Is(err, ErrBadDomain) {
				t.Errorf("%s: %v, want ErrBadDomain", name, err)
			}
		}
	}
	for _, name := range []string{"1-2", "123.456"} {
		if table, err := domainTable(name); err != nil {
			t.Errorf("%s: %s, %v", name, table, err)
		}
	}
	compareTrees(t, "refused", before, h.snapshot())
	for _, line := range diffRows(rowsOf(t, db), rows) {
		t.Error(line)
	}
	// Both made by vpopmail: it lets them share the table. Here neither is
	// changed.
	if _, err := db.Exec("insert into dir_control (domain, cur_users) values ('a.b.c', 1)"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddUser(t.Context(), "a-b.c", NewUser{Name: "joe", Hash: "*"}); !errors.Is(err, ErrBadDomain) {
		t.Errorf("shared table: %v", err)
	}
	d, err := s.Domain(t.Context(), "a-b.c")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.backend.(*SQL).RemoveDomain(t.Context(), d); !errors.Is(err, ErrBadDomain) {
		t.Errorf("shared table is dropped: %v", err)
	}
}

// TestSQLCollation has rows that the server takes for equal to a name that they
// are not.
func TestSQLCollation(t *testing.T) {
	h, db := sqlHost(t, allTables54())
	withDomain(t, h)
	s := h.open()
	for _, q := range []string{
		"insert into vpopmail (pw_name, pw_domain, pw_passwd, pw_gid) values ('jos\u00e9', 'example.com', '*', 4), ('Ann', 'example.com', null, null)",
		"insert into valias (alias, domain, valias_line) values ('t\u00e9am', 'example.com', 'thief@example.net'), ('Shop', 'example.com', 'ann@example.com')",
	} {
		if err := s.AddAlias(t.Context(), "x@example.com", "y@example.com"); err != nil && !errors.Is(err, ErrAliasExists) {
			t.Fatal(err)
		}
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if u, err := s.User(t.Context(), "jose@example.com"); !errors.Is(err, ErrNoUser) {
		t.Errorf("%+v, %v", u, err)
	}
	if u, err := s.User(t.Context(), "ann@example.com"); err != nil || u.Name != "Ann" || u.Hash != "" {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := s.AddUser(t.Context(), "example.com", NewUser{Name: "ann", Hash: "*"}); !errors.Is(err, ErrUserExists) {
		t.Errorf("%v, want ErrUserExists", err)
	}
	before, rows := h.snapshot(), rowsOf(t, db)
	if _, err := s.AddUser(t.Context(), "example.com", NewUser{Name: "jose", Hash: "*"}); err == nil {
		t.Error("no error for a key that the server takes for another")
	}
	compareTrees(t, "key", before, h.snapshot())
	for _, line := range diffRows(rowsOf(t, db), rows) {
		t.Error(line)
	}
	if lines, err := s.Alias(t.Context(), "team@example.com"); err != nil || len(lines) != 0 {
		t.Errorf("%q, %v", lines, err)
	}
	if lines, err := s.Alias(t.Context(), "shop@example.com"); err != nil || len(lines) != 1 {
		t.Errorf("%q, %v", lines, err)
	}
}

// TestSQLBytes asserts that bytes from 128 on are stored where they come back,
// and refused where they do not, whatever the character sets.
func TestSQLBytes(t *testing.T) {
	for _, c := range []struct {
		connection, column string
		holds              []string
		not                []string
	}{
		{"utf8mb4", "utf8mb4", []string{"\u00e4", "\u20ac", "\U0001f4e7"}, []string{"\xe4", "\xff\xfe", "\xc3"}},
		{"utf8mb4", "latin1", []string{"\u00e4"}, []string{"\xe4", "\u0151"}},
		{"latin1", "utf8mb4", []string{"\xe4", "\u00e4", "\xff"}, nil},
		{"binary", "binary", []string{"\xe4", "\u00e4", "\xff\xfe"}, nil},
	} {
		h, db := sqlHost(t, allTables54(), "charset="+c.connection, "sql_mode=''")
		withDomain(t, h)
		if _, err := db.Exec("alter table vpopmail modify pw_gecos varchar(48) character set " + c.column); err != nil {
			t.Fatal(err)
		}
		s := h.open()
		for n, text := range append(slices.Clone(c.holds), c.not...) {
			u := NewUser{Name: fmt.Sprintf("user%d", n), Hash: "*", Gecos: text}
			_, err := s.AddUser(t.Context(), "example.com", u)
			if n >= len(c.holds) {
				if !errors.Is(err, ErrBadByte) {
					t.Errorf("%+v: %q: %v, want ErrBadByte", c, text, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%+v: %q: %v", c, text, err)
				continue
			}
			if got, err := s.User(t.Context(), u.Name+"@example.com"); err != nil || got.Gecos != text {
				t.Errorf("%+v: %q: %q, %v", c, text, got.Gecos, err)
			}
		}
	}
}

// TestSQLKeepers stores what the columns do not hold.
func TestSQLKeepers(t *testing.T) {
	h, db := sqlHost(t, allTables54())
	withDomain(t, h)
	s := h.open()
	b := s.backend.(*SQL)
	d, err := s.Domain(t.Context(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	u := User{Name: "postmaster"}
	before := rowsOf(t, db)
	for what, err := range map[string]error{
		"address":    b.SetLastLogin(t.Context(), d, &u, Login{IP: "2001:db8:1:2:3:4:5:6"}),
		"alias name": b.AddAlias(t.Context(), d, strings.Repeat("a", 33), "x"),
		"alias line": b.AddAlias(t.Context(), d, "a", strings.Repeat("x", 65536)),
		"number":     b.SetLimits(t.Context(), d, Limits{PermLists: 0o777}),
		"size":       b.SetLimits(t.Context(), d, Limits{Quota: 1 << 63}),
		"maximum":    b.SetLimits(t.Context(), d, Limits{MaxLists: 1 << 40}),
	} {
		if !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: %v, want ErrTooLong", what, err)
		}
	}
	for what, err := range map[string]error{
		"alias line": b.AddAlias(t.Context(), d, "a", "x\ny"),
		"alias byte": b.AddAlias(t.Context(), d, "a", "x\xff"),
		"flags":      b.SetLimits(t.Context(), d, Limits{Disabled: QmailAdmin}),
		"address":    b.SetLastLogin(t.Context(), d, &u, Login{IP: "\xff"}),
	} {
		if !errors.Is(err, ErrBadByte) {
			t.Errorf("%s: %v, want ErrBadByte", what, err)
		}
	}
	for _, line := range diffRows(rowsOf(t, db), before) {
		t.Error(line)
	}
	if err := b.AddAlias(t.Context(), d, "a", " \t x y "); err != nil {
		t.Error(err)
	}
	if lines, err := b.Alias(t.Context(), d, "A"); err != nil || !slices.Equal(lines, []string{"x y "}) {
		t.Errorf("%q, %v", lines, err)
	}
	all := NoLimits()
	for _, f := range limitFlags {
		all.Disabled |= f
	}
	all.PermLists, all.PermDefaultQuota, all.MaxLists = 127, 1, 0
	if err := b.SetLimits(t.Context(), d, all); err != nil {
		t.Error(err)
	}
	if got, ok, err := b.Limits(t.Context(), d); err != nil || !ok || got != all {
		t.Errorf("%+v, %v, %v", got, ok, err)
	}
}

// TestSQLLongName has a 5.6 account whose name lastauth cannot hold: it is made
// without that row.
func TestSQLLongName(t *testing.T) {
	p := DefaultProfile56()
	p.SQLAliasDomains = true
	h, db := sqlHost(t, p)
	withDomain(t, h)
	s := h.open()
	name := strings.Repeat("n", 40)
	u, err := s.AddUser(t.Context(), "example.com", NewUser{Name: name, Hash: qmailkit.Secret(strings.Repeat("x", 128))})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.User(t.Context(), name+"@example.com"); err != nil || got != u {
		t.Errorf("%+v, %v", got, err)
	}
	if n := len(rowsOf(t, db)[loginTable]); n != 1 {
		t.Errorf("%d rows of logins", n)
	}
	if _, err := s.AddAliasDomain(t.Context(), "example.com", "example.net", nil); err != nil {
		t.Fatal(err)
	}
	if rows := rowsOf(t, db)[alias56Table]; len(rows) != 1 || rows[0] != `alias="example.net" domain="example.com"` {
		t.Errorf("%q", rows)
	}
	if _, err := s.DeleteDomain(t.Context(), "example.net", nil, nil); err != nil {
		t.Fatal(err)
	}
	if rows := rowsOf(t, db)[alias56Table]; len(rows) != 0 {
		t.Errorf("%q", rows)
	}
}

func TestSQLDetect(t *testing.T) {
	for _, seq := range sqlReplays() {
		db := mariadbtest.Start(t).Fresh(t)
		loadDump(t, db, unzip(t, "info/"+strings.TrimPrefix(seq.name, "mysql-")+"-middle.sql.gz"))
		d := &Detection{Profile: DefaultProfile54()}
		d.Profile.Home = seq.profile.Home
		if err := NewSQL(db, nil).Detect(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		want := seq.profile
		want.MaxHash, want.MaxClear, want.SQLLog = 40, 16, d.Profile.SQLLog
		if want.Release == Release56 {
			want.MaxHash, want.MaxClear = 128, DefaultProfile56().MaxClear
		}
		if d.Profile != want {
			t.Errorf("%s: %+v\nwant %+v\ntold by %q", seq.name, d.Profile, want, d.Told)
		}
	}
	d := &Detection{Profile: DefaultProfile54()}
	if err := NewSQL(mariadbtest.Start(t).Fresh(t), nil).Detect(t.Context(), d); err != nil || len(d.Told) != 0 {
		t.Errorf("empty database: %+v, %v", d, err)
	}
}

// TestSQLOptions asserts what a Backend does that was not opened, makes no
// tables, takes no lock of the server, or has damaged rows.
func TestSQLOptions(t *testing.T) {
	h, db := sqlHost(t, allTables54())
	loose := NewSQL(db, nil)
	d := &Domain{Name: "example.com", Real: "example.com"}
	if _, err := loose.User(t.Context(), d, "x"); !errors.Is(err, ErrNotOpened) {
		t.Error(err)
	}
	for _, err := range loose.Users(t.Context(), d) {
		if !errors.Is(err, ErrNotOpened) || !errors.Is(err, qmailkit.ErrIncomplete) {
			t.Error(err)
		}
	}
	h.opts.Backend = NewSQL(db, &SQLOptions{NoCreate: true})
	if _, err := h.open().AddDomain(t.Context(), testSpec("example.com"), nil); err == nil || !strings.Contains(err.Error(), "no table") {
		t.Errorf("no tables: %v", err)
	}
	h.opts.Backend = NewSQL(db, &SQLOptions{NoServerLock: true})
	withDomain(t, h)
	// Somebody has the lock on the server.
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var got int
	err = conn.QueryRowContext(t.Context(), "select get_lock(concat('qmailkit.', sha1(concat(database(), '/', 'example.com'))), 1)").Scan(&got)
	if err != nil || got != 1 {
		t.Fatal(got, err)
	}
	if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "one1", Hash: "*"}); err != nil {
		t.Errorf("without the server's lock: %v", err)
	}
	h.opts.Backend, h.opts.LockWait = NewSQL(db, nil), time.Second
	if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "two2", Hash: "*"}); !errors.Is(err, ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	conn.Raw(func(any) error { return nil })
	if _, err := conn.ExecContext(t.Context(), "do release_all_locks()"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "two2", Hash: "*"}); err != nil {
		t.Error(err)
	}
	for _, set := range []string{"the_dir = '../..'", "level_cur = 7", "cur_users = -1", "level_mod0 = 99"} {
		if _, err := db.Exec("update dir_control set " + set + " where domain = 'example.com'"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "three", Hash: "*"}); !errors.Is(err, ErrDirControl) {
			t.Errorf("%s: %v, want ErrDirControl", set, err)
		}
		if _, err := db.Exec("delete from dir_control where domain = 'example.com'"); err != nil {
			t.Fatal(err)
		}
		if err := writeCounter(t.Context(), db, "example.com", NewDirControl()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSQLForeignNote asserts that the note of one form is not carried out by
// the other.
func TestSQLForeignNote(t *testing.T) {
	h, _ := sqlHost(t, allTables54())
	withDomain(t, h)
	const note = "VPOPMAIL/domains/example.com/" + intentName
	for _, text := range []string{`{"qmailkit_change":1}`, "{", `{"qmailkit_change":2,"users":[{"name":"x","dir":"../../x"}]}`, `{"qmailkit_change":2,"side":[{"name":"vpasswd","after":""}]}`} {
		h.write(note, text)
		if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "*"}); !errors.Is(err, ErrNotesDamaged) {
			t.Errorf("%s: %v", text, err)
		}
	}
	h.write(note, `{"qmailkit_change":2}`)
	o := h.opts
	o.Backend, o.Profile = nil, &h.profile
	files, err := Open(h.root("VPOPMAIL"), h.root("QMAIL"), &o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := files.AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "*"}); !errors.Is(err, ErrNotesDamaged) {
		t.Errorf("files: %v", err)
	}
	// A conversion lets each side do its own.
	if res, err := h.open().ConvertDomain(t.Context(), files, "example.com", nil); err != nil || res.Users != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if _, err := os.Lstat(h.dir + "/" + note); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the note is left: %v", err)
	}
}

// TestSQLCancel ends a change whose caller has gone, while it waits for the
// lock and in its middle.
func TestSQLCancel(t *testing.T) {
	h, db := sqlHost(t, allTables54())
	withDomain(t, h)
	before, rows := h.snapshot(), rowsOf(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	h.opts.hook = func(op, name string) error {
		if op == "syncfs" {
			cancel()
		}
		return nil
	}
	if _, err := h.open().AddUser(ctx, "example.com", NewUser{Name: "joe", Hash: "*"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	compareTrees(t, "cancelled", before, h.snapshot())
	for _, line := range diffRows(rowsOf(t, db), rows) {
		t.Error(line)
	}
	h.opts.hook = nil
	if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "*"}); err != nil {
		t.Errorf("the lock is not let go: %v", err)
	}
}
