//go:build unix

package vpoptarget

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/internal/mariadbtest"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// site makes an empty host and returns the flags that name it.
func site(t *testing.T, more ...string) *Flags {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"vpopmail/etc", "vpopmail/domains", "qmail/control", "qmail/users"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	put(t, filepath.Join(dir, "qmail/control/me"), "mail.example.com\n")
	put(t, filepath.Join(dir, "qmail/control/rcpthosts"), "mail.example.com\n")
	args := []string{"-vpopmail", filepath.Join(dir, "vpopmail"), "-qmail", filepath.Join(dir, "qmail"), "-state", filepath.Join(dir, "state")}
	f, err := parse(append(args, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func parse(args ...string) (*Flags, error) {
	f := &Flags{}
	fs := flag.NewFlagSet("x", flag.ContinueOnError)
	fs.SetOutput(new(strings.Builder))
	f.Declare(fs)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	return f, f.Check()
}

func open(t *testing.T, f *Flags, o Options) *Target {
	t.Helper()
	o.Program = "test"
	target, err := f.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	return target
}

func TestFlagsRefused(t *testing.T) {
	for _, args := range [][]string{
		{"-profile", "5.5"}, {"-hup", "1"}, {"-hup", "-3"}, {"-hup", "12x"}, {"-hup", "qmail-send"},
		{"-mount", "relative=dir"}, {"-mount", "/abs"}, {"-mount", "/abs="},
		{"-backend", "pgsql"}, {"-backend", "cdb", "-dsn", "vp@unix(/s)/m"}, {"-backend", "cdb", "-dsn-password", "f"},
		{"-sql-tables", "valias,nothing"}, {"-configured", "clear-passwd,"}, {"-configured", "no-no-qmail-ext"}, {"-configured", "many-domains"}, {"-dsn", "vp:secret@unix(/s)/m"},
	} {
		if _, err := parse(args...); cli.Code(err) != cli.Usage {
			t.Errorf("%q: %v, want a wrong usage", args, err)
		}
	}
}

func TestMissingPlaces(t *testing.T) {
	f := site(t)
	for name, path := range map[string]*string{"vpopmail's home": &f.Home, "qmail's directory": &f.Qmail} {
		was := *path
		*path = filepath.Join(was, "not-there")
		if _, err := f.Open(context.Background(), Options{Program: "test"}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if _, there, err := f.Plan(context.Background()); there || err != nil {
			t.Errorf("%s: Plan says %v, %v", name, there, err)
		}
		*path = was
	}
	if err := os.Rename(f.Qmail+"/control", f.Qmail+"/gone"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(context.Background(), Options{Program: "test"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without control: %v", err)
	}
}

// TestBackups replaces files from several Targets at once, as programs that run
// beside each other do: each waits for the state, none fails, all is kept.
func TestBackups(t *testing.T) {
	f := site(t)
	const n = 8
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			target, err := f.Open(context.Background(), Options{Program: "test", Write: true})
			if err == nil {
				err = errors.Join(target.backup("control/rcpthosts", []byte("mail.example.com\n")), target.Close())
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	m, err := open(t, f, Options{}).Memory()
	if err != nil {
		t.Fatal(err)
	}
	list, err := m.Backups()
	if err != nil || len(list) != n {
		t.Fatalf("%d backups, %v; want %d", len(list), err, n)
	}
	if b, err := m.Content(list[n-1]); string(b) != "mail.example.com\n" || err != nil {
		t.Errorf("content %q, %v", b, err)
	}
}

func TestAlone(t *testing.T) {
	f := site(t)
	open(t, f, Options{Write: true, Alone: true})
	if _, err := f.Open(context.Background(), Options{Program: "test", Write: true, Alone: true}); !errors.Is(err, safefs.ErrLocked) {
		t.Errorf("a second run: %v", err)
	}
	// Who only reads may.
	open(t, f, Options{Alone: true})
}

// TestReadOnlyMakesNothing opens a host to be read: not even the state is made.
func TestReadOnlyMakesNothing(t *testing.T) {
	f := site(t)
	target := open(t, f, Options{})
	if _, err := target.Store.Domain(context.Background(), "example.com"); !errors.Is(err, vpopmail.ErrNoDomain) {
		t.Error(err)
	}
	if _, err := os.Lstat(f.State); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state is there: %v", err)
	}
}

func TestProfile(t *testing.T) {
	f := site(t, "-profile", "5.6", "-vpopmail-path", "/home/vpopmail")
	p := open(t, f, Options{}).Store.Profile()
	if p.Release != vpopmail.Release56 || p.Home != "/home/vpopmail" {
		t.Errorf("release %d at %s", p.Release, p.Home)
	}
	f = site(t)
	if p := open(t, f, Options{}).Store.Profile(); p.Home != f.Home {
		t.Errorf("home %s, want %s", p.Home, f.Home)
	}
	put(t, f.Home+"/etc/inc_deps", "-I/opt/vp/include\n")
	if p := open(t, f, Options{}).Store.Profile(); p.Home != "/opt/vp" {
		t.Errorf("home %s, want what etc/inc_deps tells", p.Home)
	}
}

func TestMount(t *testing.T) {
	dir := t.TempDir()
	f := site(t, "-mount", "/elsewhere/="+dir)
	target := open(t, f, Options{})
	root, name, err := target.Store.Place("/elsewhere/domains/example.net")
	if err != nil || root.Name() != dir || name != "domains/example.net" {
		t.Errorf("%v %q %v", root, name, err)
	}
	if f = site(t, "-mount", "/elsewhere="+dir+"/missing"); f != nil {
		if _, err := f.Open(context.Background(), Options{Program: "test"}); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a mount that is missing: %v", err)
		}
	}
}

// TestDomainsElsewhere opens the places of domains outside vpopmail's home, but
// not where the host's files are looked at from another.
func TestDomainsElsewhere(t *testing.T) {
	away := t.TempDir()
	for inPlace, more := range map[bool][]string{true: nil, false: {"-vpopmail-path", "/home/vpopmail"}} {
		f := site(t, more...)
		if err := os.MkdirAll(f.Home+"/domains/here.example.org", 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, f.Qmail+"/users/assign", "+away.example.org-:away.example.org:89:89:"+away+"/domains/away.example.org:-::\n"+
			"+here.example.org-:here.example.org:89:89:"+f.Home+"/domains/here.example.org:-::\n.\n")
		target := open(t, f, Options{})
		if p := target.Store.Profile(); inPlace && p.Home != f.Home {
			t.Errorf("vpopmail's home is taken for %s", p.Home)
		}
		_, _, err := target.Store.Place(away + "/domains/away.example.org")
		if inPlace && err != nil || !inPlace && !errors.Is(err, vpopmail.ErrNotMounted) {
			t.Errorf("in place: %v; %v", inPlace, err)
		}
		other := t.TempDir()
		if err := target.Mount(other); err != nil {
			t.Fatal(err)
		}
		if _, _, err := target.Store.Place(other + "/domains"); inPlace != (err == nil) {
			t.Errorf("in place: %v; Mount: %v", inPlace, err)
		}
	}
}

// TestSchema finds out from a database what vpopmail made it.
func TestSchema(t *testing.T) {
	server := mariadbtest.Start(t)
	ctx := context.Background()
	for _, tc := range []struct {
		name, tables, profile string
		make                  []string
		want                  func(*vpopmail.Profile)
	}{
		{name: "empty, 5.4", want: func(p *vpopmail.Profile) { p.MaxHash, p.MaxClear = 40, 16 }},
		{name: "empty, 5.6", profile: "5.6", want: func(p *vpopmail.Profile) {}},
		{name: "empty, as told", tables: "per-domain,valias", want: func(p *vpopmail.Profile) {
			p.MaxHash, p.MaxClear, p.TablePerDomain, p.SQLAliases = 40, 16, true, true
		}},
		{name: "one table", make: []string{
			"create table vpopmail (pw_name char(32), pw_domain char(96), pw_passwd char(40), pw_gecos char(48), pw_dir char(160), pw_shell char(20))",
			"create table valias (alias char(32))", "create table limits (domain char(96))",
		}, want: func(p *vpopmail.Profile) {
			p.MaxHash, p.ClearPasswords, p.SQLAliases, p.SQLLimits = 40, false, true, true
		}},
		{name: "a first domain that is not finished", make: []string{
			"create table vpopmail (pw_name char(32), pw_domain char(96), pw_passwd char(40), pw_clear_passwd char(16))",
			"create table dir_control (domain char(96))", "insert into dir_control values ('dom_89')",
		}, want: func(p *vpopmail.Profile) { p.MaxHash, p.MaxClear = 40, 16 }},
		{name: "no hash directories", make: []string{
			"create table vpopmail (pw_name char(32), pw_domain char(96), pw_passwd char(40), pw_clear_passwd char(16))",
			"create table dir_control (domain char(96))", "insert into dir_control values ('dom_89')",
			"insert into vpopmail values ('ann', 'example.com', '*', '')",
		}, want: func(p *vpopmail.Profile) { p.MaxHash, p.MaxClear, p.BigDir = 40, 16, false }},
		{name: "one table, told otherwise", tables: "none", make: []string{
			"create table vpopmail (pw_name char(32), pw_domain char(96), pw_passwd char(40), pw_clear_passwd char(16))", "create table valias (alias char(32))",
		}, want: func(p *vpopmail.Profile) { p.MaxHash, p.MaxClear = 40, 16 }},
		{name: "a table for each domain, widened", make: []string{
			"create table example_com (pw_name char(20), pw_passwd char(128), pw_clear_passwd char(128))", "create table vlog (id int)", "create table aliasdomains (alias char(1))",
		}, want: func(p *vpopmail.Profile) {
			p.MaxUser, p.TablePerDomain, p.SQLLog, p.SQLAliasDomains = 20, true, true, true
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name := server.NewDatabase(t)
			db := server.Open(t, name)
			for _, q := range tc.make {
				if _, err := db.ExecContext(ctx, q); err != nil {
					t.Fatal(err)
				}
			}
			more := []string{"-dsn", server.DSN(name)}
			want := vpopmail.DefaultProfile54()
			if tc.profile != "" {
				more = append(more, "-profile", tc.profile)
				want = vpopmail.DefaultProfile56()
			}
			if tc.tables != "" {
				more = append(more, "-sql-tables", tc.tables)
			}
			f := site(t, more...)
			target := open(t, f, Options{})
			want.Home = f.Home
			tc.want(&want)
			if got := target.Store.Profile(); got != want || !target.Database() {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if planned, there, err := f.Plan(ctx); planned != want || !there || err != nil {
				t.Errorf("planned %+v, %v, %v", planned, there, err)
			}
		})
	}
}

// TestFound finds the database by etc/vpopmail.mysql, where no domain keeps its
// accounts in files.
func TestFound(t *testing.T) {
	server := mariadbtest.Start(t)
	f := site(t)
	line := "localhost|" + server.Socket() + "|root|unused|" + server.NewDatabase(t) + "\n"
	put(t, f.Home+"/etc/vpopmail.mysql", line)
	if _, err := f.Open(context.Background(), Options{Program: "test"}); err == nil {
		t.Error("a wrong password was taken")
	}
	admin := server.Open(t, "mysql")
	for _, q := range []string{"create or replace user vp@localhost identified by 'right'", "grant all on *.* to vp@localhost"} {
		if _, err := admin.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	put(t, f.Home+"/etc/vpopmail.mysql", strings.NewReplacer("root", "vp", "unused", "right").Replace(line))
	if !open(t, f, Options{}).Database() {
		t.Error("etc/vpopmail.mysql was not taken")
	}
	if err := os.MkdirAll(f.Home+"/domains/example.com", 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, f.Qmail+"/users/assign", "+example.com-:example.com:89:89:"+f.Home+"/domains/example.com:-::\n.\n")
	put(t, f.Home+"/domains/example.com/vpasswd", "ann:$1$x$y:1:0:ann:"+f.Home+"/domains/example.com/ann:NOQUOTA:\n")
	if open(t, f, Options{}).Database() {
		t.Error("a vpasswd was passed over")
	}
	f.sql.backend = SQL
	if !open(t, f, Options{}).Database() {
		t.Error("-backend mysql was passed over")
	}
	if err := os.Remove(f.Home + "/etc/vpopmail.mysql"); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(context.Background(), Options{Program: "test"}); cli.Code(err) != cli.Usage {
		t.Errorf("no database is named: %v", err)
	}
}
