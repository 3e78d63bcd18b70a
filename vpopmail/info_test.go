//go:build unix

package vpopmail

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
)

// untar lays a tree that the real programs left under the host.
func (h *host) untar(name string) {
	h.t.Helper()
	f, err := os.Open("testdata/info/" + name + ".tar.gz")
	if err != nil {
		h.t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		h.t.Fatal(err)
	}
	type stamp struct {
		path string
		at   time.Time
	}
	var dirs []stamp
	for r := tar.NewReader(z); ; {
		e, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			h.t.Fatal(err)
		}
		top, rest, _ := strings.Cut(e.Name, "/")
		path := filepath.Join(h.dir, strings.ToUpper(top), rest)
		if e.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
		}
		if err == nil {
			err = os.Chmod(path, e.FileInfo().Mode().Perm())
		}
		if err == nil && os.Geteuid() == 0 {
			err = os.Chown(path, e.Uid, e.Gid)
		}
		if err == nil {
			err = os.Chtimes(path, e.ModTime, e.ModTime)
		}
		if err != nil {
			h.t.Fatal(err)
		}
		dirs = append(dirs, stamp{path, e.ModTime})
	}
	for _, d := range slices.Backward(dirs) {
		if err := os.Chtimes(d.path, d.at, d.at); err != nil {
			h.t.Fatal(err)
		}
	}
}

// realTree is an installation that the real programs left.
func realTree(t testing.TB, name string, p Profile) *host {
	t.Helper()
	h := &host{t: t, dir: tempDir(t), profile: p}
	h.untar(name + "-vpopmail")
	h.untar(name + "-qmail")
	return h
}

// neverIn takes the logins of a domain's users back, which were in the second
// in which their accounts were made.
func (h *host) neverIn(domain string) {
	h.t.Helper()
	names, err := filepath.Glob(filepath.Join(h.dir, "VPOPMAIL/domains", domain, "*/lastauth"))
	if err != nil || len(names) == 0 {
		h.t.Fatalf("%d users of %s, %v", len(names), domain, err)
	}
	for _, name := range names {
		fi, err := os.Stat(name)
		if err == nil {
			err = errors.Join(os.WriteFile(name, []byte(lastauthNever), 0), os.Chtimes(name, fi.ModTime(), fi.ModTime()))
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

// realTrees are the installations at hand.
func realTrees() map[string]Profile {
	nc := DefaultProfile54()
	nc.Home, nc.ClearPasswords, nc.Hash = "/home/vpopmail-nc", false, HashDES
	ext := DefaultProfile54()
	ext.Home = "/home/vpopmail-ext"
	return map[string]Profile{
		"cdb": DefaultProfile54(), "cdb-domains": DefaultProfile54(), "noclear-des": nc,
		"many-options": ext, "release-5.6.13": at56("/home/vpopmail-56"),
	}
}

// readInfo reads what vuserinfo and vdominfo said.
func readInfo(t testing.TB, name string, least int) []step {
	t.Helper()
	b, err := os.ReadFile("testdata/info/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(name, ".gz") {
		b = gunzip(t, b)
	}
	var all []step
	for d := json.NewDecoder(bytes.NewReader(b)); d.More(); {
		var st step
		if err := d.Decode(&st); err != nil {
			t.Fatal(err)
		}
		all = append(all, st)
	}
	if len(all) < least {
		t.Fatalf("%s: %d commands, want %d", name, len(all), least)
	}
	return all
}

func gunzip(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return b
}

// inform does the job of a vuserinfo or vdominfo with a Store.
func inform(t testing.TB, s *Store, argv []string) (out string, err error) {
	t.Helper()
	var b bytes.Buffer
	fields, whole, item := infoArgs(argv)
	switch {
	case argv[0] == "vdominfo":
		err = s.WriteDomainInfo(t.Context(), &b, item, fields)
	case whole:
		err = s.WriteUsersInfo(t.Context(), &b, item, fields, time.UTC)
	default:
		err = s.WriteUserInfo(t.Context(), &b, item, fields, time.UTC)
	}
	return b.String(), err
}

func infoArgs(argv []string) (fields string, whole bool, item string) {
	for _, a := range argv[1:] {
		switch {
		case a == "-D":
			whole = true
		case a == "--":
		case strings.HasPrefix(a, "-"):
			fields += a[1:]
		default:
			item = a
		}
	}
	return fields, whole, item
}

// TestInfoFiles compares each answer of the real vuserinfo and vdominfo on
// vpasswd files with the Store's, byte for byte.
func TestInfoFiles(t *testing.T) {
	trees := realTrees()
	for _, c := range []struct {
		tree, file string
		least      int
	}{
		{"cdb", "cdb-vuserinfo.jsonl.gz", 909},
		{"cdb", "cdb-vdominfo.jsonl.gz", 53},
		{"cdb-domains", "cdb-domains-vdominfo.jsonl.gz", 298},
		{"noclear-des", "noclear-des.jsonl", 3},
		{"release-5.6.13", "release-5.6.13.jsonl", 3},
		{"cdb", "refused.jsonl", 4},
	} {
		t.Run(c.file, func(t *testing.T) {
			h := realTree(t, c.tree, trees[c.tree])
			if p := trees[c.tree]; p.Home != "/home/vpopmail" {
				// These two trees were taken after somebody had logged in.
				h.neverIn("example.com")
			}
			before := h.snapshot()
			s := h.open()
			for _, st := range readInfo(t, c.file, c.least) {
				out, err := inform(t, s, st.Argv)
				rc, words := ClassicStatus(st.Argv[0], err)
				if out+words != st.Stdout || rc != st.RC {
					t.Fatalf("%q: status %d, %v, want %d; %s", st.Argv, rc, err, st.RC, cmp.Diff(st.Stdout, out+words))
				}
			}
			if changed, removed := diff(before, h.snapshot()); len(changed)+len(removed) > 0 {
				t.Errorf("written: %q, removed: %q", changed, removed)
			}
		})
	}
}

// rows is a Backend of the rows of a mariadb-dump, to be read only.
type rows struct {
	users    map[string][]User
	logins   map[string]Login
	counters map[string]DirControl
}

func (r *rows) User(_ context.Context, d *Domain, name string) (User, error) {
	for _, u := range r.users[d.Real] {
		if u.Name == name {
			return u, nil
		}
	}
	return User{}, &Error{Domain: d.Real, User: name, Err: ErrNoUser}
}

func (r *rows) Users(_ context.Context, d *Domain) iter.Seq2[User, error] {
	return func(yield func(User, error) bool) {
		for _, u := range r.users[d.Real] {
			if !yield(u, nil) {
				return
			}
		}
	}
}

func (r *rows) Edit(context.Context, *Domain) (Records, error) { return nil, errors.ErrUnsupported }

func (r *rows) LastLogin(_ context.Context, d *Domain, u *User) (Login, bool, error) {
	l, ok := r.logins[u.Name+"@"+d.Real]
	return l, ok, nil
}

func (r *rows) SetLastLogin(context.Context, *Domain, *User, Login) error {
	return errors.ErrUnsupported
}

func (r *rows) Counter(_ context.Context, d *Domain) (DirControl, error) {
	return r.counters[d.Name], nil
}

// readRows parses the INSERT statements of a dump.
func readRows(t testing.TB, name string) *rows {
	t.Helper()
	b, err := os.ReadFile("testdata/info/" + name + ".sql.gz")
	if err != nil {
		t.Fatal(err)
	}
	r := &rows{map[string][]User{}, map[string]Login{}, map[string]DirControl{}}
	for line := range strings.Lines(string(gunzip(t, b))) {
		rest, ok := strings.CutPrefix(line, "INSERT INTO `")
		if !ok {
			continue
		}
		table, rest, _ := strings.Cut(rest, "`")
		columns, values, _ := strings.Cut(rest, ") VALUES (")
		row, list := map[string]string{}, sqlValues(t, values)
		names := strings.Split(strings.Trim(columns, " (`"), "`, `")
		if len(names) != len(list) {
			t.Fatalf("%d columns, %d values: %s", len(names), len(list), line)
		}
		for i, n := range names {
			row[n] = list[i]
		}
		switch {
		case row["pw_name"] != "":
			domain, ok := row["pw_domain"]
			if !ok {
				domain = map[string]string{"example_com": "example.com", "other_dom_example_org": "other-dom.example.org"}[table]
			}
			r.users[domain] = append(r.users[domain], User{Name: row["pw_name"], Hash: qmailkit.Secret(row["pw_passwd"]),
				UID: atoi(row["pw_uid"]), Flags: Flags(atoi(row["pw_gid"])), Gecos: row["pw_gecos"], Dir: row["pw_dir"],
				Quota: row["pw_shell"], Clear: qmailkit.Secret(row["pw_clear_passwd"])})
		case table == "lastauth":
			sec, err := strconv.ParseInt(row["timestamp"], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			r.logins[row["user"]+"@"+row["domain"]] = Login{row["remote_ip"], time.Unix(sec, 0)}
		case table == "dir_control":
			r.counters[row["domain"]] = DirControl{Users: uint64(atoi(row["cur_users"]))}
		}
	}
	return r
}

// sqlValues takes the values of an INSERT apart: quoted strings and numbers.
func sqlValues(t testing.TB, s string) (list []string) {
	t.Helper()
	for {
		if !strings.HasPrefix(s, "'") {
			i := strings.IndexAny(s, ",)")
			if i < 0 {
				t.Fatalf("no end of values: %q", s)
			}
			list = append(list, s[:i])
			s = s[i:]
		} else {
			var b strings.Builder
			i := 1
			for ; s[i] != '\''; i++ {
				if s[i] == '\\' {
					i++
				}
				b.WriteByte(s[i])
			}
			list = append(list, b.String())
			s = s[i+1:]
		}
		if s[0] == ')' {
			return list
		}
		s = s[1:]
	}
}

// TestInfoRows does the same for the tables of SQL installations.
func TestInfoRows(t *testing.T) {
	homes := map[string]string{"one-table": "-my1", "one-table-nonstrict": "-my1", "table-per-domain": "-my2", "one-table-5.6": "-56my"}
	for name, suffix := range homes {
		p := DefaultProfile54()
		if name == "one-table-5.6" {
			p = DefaultProfile56()
		}
		p.Home += suffix
		for _, name := range []string{name, name + "-middle"} {
			t.Run(name, func(t *testing.T) {
				h := newHost(t, p, controlBefore)
				dir := p.Home + "/domains/"
				h.write("QMAIL/users/assign", fmt.Sprintf("+example.com-:example.com:89:89:%[1]sexample.com:-::\n"+
					"+example.net-:example.com:89:89:%[1]sexample.com:-::\n"+
					"+other-dom.example.org-:other-dom.example.org:89:89:%[1]sother-dom.example.org:-::\n.\n", dir))
				h.opts.Backend = readRows(t, name)
				s := h.open()
				for _, st := range readInfo(t, name+".jsonl.gz", 470) {
					out, err := inform(t, s, st.Argv)
					if err != nil || out != st.Stdout {
						t.Fatalf("%q: %v; %s", st.Argv, err, cmp.Diff(st.Stdout, out))
					}
				}
			})
		}
	}
}

// TestUserInfoLimits has flags that only the domain gives (facts of
// vlimits_setflags), and a user who is above them.
func TestUserInfoLimits(t *testing.T) {
	h, s, _, _ := loginHost(t)
	ctx := t.Context()
	if _, err := s.AddUser(ctx, "example.com", NewUser{Name: "chief", Hash: "*", Flags: Override | NoIMAP}); err != nil {
		t.Fatal(err)
	}
	h.write("VPOPMAIL/domains/example.com/.qmailadmin-limits", "disable_pop\t\t1\n")
	for name, want := range map[string]string{
		"joe":   "gid:    0\nflags:  2\ngecos: joe\nlimits:\n        pop access closed (*)\n        * = set by domain-wide limits\ndir: ",
		"chief": "gid:    8200\nflags:  8200\ngecos: chief\nlimits:\n        imap access closed\n        user is not subject to domain limits\ndir: ",
	} {
		var b bytes.Buffer
		if err := s.WriteUserInfo(ctx, &b, name+"@example.com", "", time.UTC); err != nil || !strings.Contains(b.String(), want) {
			t.Errorf("%v\n%s", err, b.String())
		}
	}
}
