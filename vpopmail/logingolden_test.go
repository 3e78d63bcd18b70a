//go:build unix

package vpopmail

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"maps"
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

// A loginCase is one run of the real vchkpw: see testdata/README.
type loginCase struct {
	N              int
	User, Password string
	TS             string
	FD3            *struct{ Text, Base64 string }
	NoFD           bool
	Port           *int
	IP             *string
	Env            map[string]string
	Prog           []string
	RC             int
	Note           string
	Child          *struct {
		CWD      string
		Env      map[string]string
		UID, GID int
		Umask    string
		Ran      bool `json:"child_ran"`
	}
	Changed map[string]goldenFile
	Removed []string
}

// readCases reads the lines of a golden file of logins. In those of the variants
// a missing port is 110, and a missing address 192.0.2.7.
func readCases(t testing.TB, name string, least int) []loginCase {
	t.Helper()
	b, err := os.ReadFile("testdata/login/" + name + ".jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var all []loginCase
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var keys map[string]json.RawMessage
		c := loginCase{}
		if err := json.Unmarshal(sc.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(sc.Bytes(), &keys); err != nil {
			t.Fatal(err)
		}
		if _, given := keys["port"]; !given {
			c.Port = new(int)
			*c.Port = 110
		}
		if _, given := keys["ip"]; !given {
			c.IP = new(string)
			*c.IP = "192.0.2.7"
		}
		if _, given := keys["prog"]; !given {
			c.Prog = []string{"/gen/child.py"}
		}
		all = append(all, c)
	}
	if err := sc.Err(); err != nil || len(all) < least {
		t.Fatalf("%d cases of %d, %v", len(all), least, err)
	}
	return all
}

// attempt is the case as vchkpw gets it.
func (c *loginCase) attempt(t testing.TB) (Attempt, map[string]string) {
	t.Helper()
	fd3 := (Credentials{Name: c.User, Password: qmailkit.Secret(c.Password), Challenge: c.TS}).Append(nil)
	if c.FD3 != nil {
		want := []byte(c.FD3.Text)
		if c.FD3.Base64 != "" {
			var err error
			if want, err = base64.StdEncoding.DecodeString(c.FD3.Base64); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(fd3, want) {
			t.Errorf("Append: %q, want %q", fd3, want)
		}
		fd3 = want
	}
	cred, err := ParseCredentials(fd3)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	maps.Copy(env, c.Env)
	if c.Port != nil {
		env["TCPLOCALPORT"] = strconv.Itoa(*c.Port)
	}
	if c.IP != nil {
		env["TCPREMOTEIP"] = *c.IP
	}
	prog := ""
	if len(c.Prog) > 0 {
		prog = c.Prog[0]
	}
	return NewAttempt(cred, prog, func(name string) (string, bool) { v, ok := env[name]; return v, ok }), env
}

// notDecisions are cases whose exit status is not that of a decision, and what
// the decision is.
var notDecisions = map[string]map[int]LoginStatus{
	"vchkpw": {
		88: LoginOK, // the login is right; vchkpw crashes behind it for want of a program
		91: LoginOK, // descriptor 3 is closed, and nothing is asked
	},
}

// verdict compares a decision with that of vchkpw.
func (c *loginCase) verdict(t *testing.T, set string, v *Verdict, err error, env map[string]string) {
	t.Helper()
	want := LoginStatus(c.RC)
	if s, ok := notDecisions[set][c.N]; ok && c.N != 0 {
		want = s
	}
	if err != nil || v.Status != want {
		t.Errorf("%v (%s), %v; want %v: %s", v.Status, v.Reason, err, want, c.Note)
	}
	if c.Child == nil || v.Domain == nil {
		return
	}
	got := map[string]string{}
	maps.Copy(got, env)
	for _, e := range v.Environ() {
		name, value, _ := strings.Cut(e, "=")
		got[name] = value
	}
	if diff := cmp.Diff(c.Child.Env, got); diff != "" {
		t.Errorf("environment: %s", diff)
	}
	uid, gid, cwd := v.Domain.UID, v.Domain.GID, v.User.Dir
	if v.Service == ServiceSMTP {
		uid, gid, cwd = 0, 0, "/"
	}
	if c.Child.UID != uid || c.Child.GID != gid || c.Child.CWD != cwd {
		t.Errorf("goes on as %d:%d in %s, want %d:%d in %s", uid, gid, cwd, c.Child.UID, c.Child.GID, c.Child.CWD)
	}
	if made := c.Child.Umask == "0077"; v.HomeMade != made && set == "vchkpw" {
		t.Errorf("home made: %v, want %v", v.HomeMade, made)
	}
}

// TestLoginGolden gives every login of the golden files to Login, on the tree
// that the real programs left, and compares the verdict, what the next program
// finds, and every path that changed.
func TestLoginGolden(t *testing.T) {
	ext := realTrees()["many-options"]
	ext.LearnPasswords, ext.SqwebmailPass, ext.RoamingUsers, ext.AddressExtensions = true, true, true, true
	for _, set := range []struct {
		name    string
		profile Profile
		least   int
		fresh   bool // each on the tree as it was
	}{
		{"vchkpw", DefaultProfile54(), 97, true},
		{"many-options", ext, 8, false},
		{"noclear-des", realTrees()["noclear-des"], 7, false},
		{"release-5.6.13", realTrees()["release-5.6.13"], 5, false},
	} {
		t.Run(set.name, func(t *testing.T) {
			h := loginTree(t, set.name, set.profile)
			for _, c := range readCases(t, set.name, set.least) {
				name := strconv.Itoa(c.N) + " " + c.User
				t.Run(name, func(t *testing.T) {
					h := h
					if set.fresh {
						h = loginTree(t, set.name, set.profile)
					}
					h.t = t
					st := &step{Changed: c.Changed}
					h.opts.Now = func() time.Time { return time.Unix(1795289900, 0) } // that of open-smtp
					user, _, _ := splitLogin(c.User)
					s := h.store(st, user)
					before := h.snapshot()
					a, env := c.attempt(t)
					v, err := s.Login(t.Context(), a, &LoginOptions{Record: true})
					c.verdict(t, set.name, &v, err, env)
					if c.NoFD {
						return
					}
					c.compareTrees(t, before, h.snapshot(), v.NewRelay)
				})
			}
		})
	}
}

// loginTree is the tree of a golden file before its logins.
func loginTree(t *testing.T, name string, p Profile) *host {
	h := realTree(t, name, p)
	if name != "many-options" {
		return h
	}
	// This tree was kept after the logins.
	const domain = "VPOPMAIL/domains/example.com/"
	v := ParseVpasswd([]byte(h.read(domain + "vpasswd")))
	u, ok := v.Get("learn")
	if !ok || u.Hash == "" {
		t.Fatal("learn has learnt nothing")
	}
	u.Hash, u.Clear = "", ""
	v.set(v.find("learn"), u.AppendLine(nil, true))
	h.write(domain+"vpasswd", string(v.Bytes()))
	if err := os.Remove(filepath.Join(h.dir, domain, "vpasswd.cdb")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"open-smtp", "open-smtp.lock"} {
		if err := os.Remove(filepath.Join(h.dir, "VPOPMAIL/etc", name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"alice", "bob", "learn"} {
		h.write(domain+user+"/lastauth", lastauthNever)
		h.chmod(domain+user+"/lastauth", 0o600)
		if err := os.Chown(filepath.Join(h.dir, domain, user, "lastauth"), 89, 89); err != nil && os.Geteuid() == 0 {
			t.Fatal(err)
		}
	}
	return h
}

func (c *loginCase) compareTrees(t *testing.T, before, after map[string]seen, newRelay bool) {
	t.Helper()
	changed, removed := diff(before, after)
	if len(removed) > 0 {
		t.Errorf("removed %q", removed)
	}
	rules := "VPOPMAIL/etc/tcp.smtp.cdb" // tcprules is the caller's
	if _, want := c.Changed[rules]; want != newRelay {
		t.Errorf("new address: %v, want %v", newRelay, want)
	}
	for _, name := range changed {
		if _, ok := c.Changed[name]; !ok {
			t.Errorf("%s changed: %+v", name, after[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Changed)) {
		want := c.Changed[name]
		switch {
		case name == rules, strings.HasSuffix(name, "onchange.log"):
			continue
		case strings.HasSuffix(name, "/vpasswd"):
			want.Mode = "0600" // readable to all there
		}
		got, ok := after[name]
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		compareFile(t, name, got, &want)
	}
}

// TestLoginRows asks the rows that the real programs left in MySQL.
func TestLoginRows(t *testing.T) {
	for name, home := range map[string]string{
		"one-table": "/home/vpopmail-my1", "table-per-domain": "/home/vpopmail-my2",
		"one-table-nonstrict": "/home/vpopmail-my1", "one-table-5.6": "/home/vpopmail-56my",
	} {
		t.Run(name, func(t *testing.T) {
			p := DefaultProfile54()
			if name == "one-table-5.6" {
				p = DefaultProfile56()
			}
			p.Home = home
			h := newHost(t, p, controlBefore)
			if err := os.Mkdir(filepath.Join(h.dir, "VPOPMAIL/domains/example.com"), 0o700); err != nil {
				t.Fatal(err)
			}
			dir := home + "/domains/example.com:-::\n"
			h.write("QMAIL/users/assign", "+example.com-:example.com:89:89:"+dir+"+example.net-:example.com:89:89:"+dir+".\n")
			h.opts.Backend = readRows(t, name)
			for i, c := range readCases(t, name, 8) {
				a, env := c.attempt(t)
				v, err := h.open().Login(t.Context(), a, nil)
				c.verdict(t, name, &v, err, env)
				if t.Failed() {
					t.Fatalf("case %d, %s", i, c.User)
				}
			}
		})
	}
}
