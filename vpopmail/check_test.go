//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
)

// found lists the problems of an installation as "severity code path:line",
// without the home in front of paths.
func found(t testing.TB, s *Store, opts *CheckOptions) []string {
	t.Helper()
	all := []string{}
	for p, err := range s.Check(t.Context(), opts) {
		if err != nil {
			t.Fatal(err)
		}
		at := strings.TrimPrefix(p.Path, s.p.Home+"/domains/")
		if p.Line > 0 {
			at += fmt.Sprintf(":%d", p.Line)
		}
		all = append(all, fmt.Sprintf("%v %s %s", p.Severity, p.Code, at))
		if p.Err == nil || strings.Contains(p.String(), "%!") {
			t.Errorf("%+v", p)
		}
	}
	slices.Sort(all)
	return all
}

// TestCheckReal looks at what the real programs left, defects included.
func TestCheckReal(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: the trees belong to whoever runs the test")
	}
	want := map[string][]string{
		"cdb": {
			"error vpopmail.catch-all-nowhere example.org/.qmail-default", // postmaster was removed
			"error vpopmail.user-damaged example.com/vpasswd:27",          // vmoduser -c a:b:c
			"info vpopmail.no-password example.com/vpasswd:26",            // vadduser -n
			"warning vpopmail.clear-differs example.com/vpasswd:25",       // vmoduser -e
			"warning vpopmail.clear-differs example.com/vpasswd:27",
			"warning vpopmail.no-postmaster example.org",
			"warning vpopmail.user-orphan example.com/heidi",
		},
		"cdb-domains": {},
		"noclear-des": {
			"info vpopmail.no-password example.com/vpasswd:4",
			"info vpopmail.passwords-readable example.com/vpasswd", // vmoduser
		},
		"many-options": {"info vpopmail.passwords-readable example.com/vpasswd"},
		"release-5.6.13": {
			"error vpopmail.user-damaged example.com/vpasswd:2", // vmoduser -c a:b:c
			"info vpopmail.catch-all-delete example.com/.qmail-default",
			"warning vpasswd.fields example.com/vpasswd:2",
			"warning vpopmail.clear-differs example.com/vpasswd:2",
			"warning vpopmail.quota-other example.com/vpasswd:2",
			"warning vpopmail.quota-tiny example.com/vpasswd:1", // vsetuserquota 10G
			"warning vpopmail.user-orphan example.com/bob",
		},
	}
	for name, p := range realTrees() {
		h := realTree(t, name, p)
		before := h.snapshot()
		got := found(t, h.open(), &CheckOptions{Messages: true, Passwords: true})
		if d := cmp.Diff(want[name], got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if changed, removed := diff(before, h.snapshot()); len(changed)+len(removed) > 0 {
			t.Errorf("%s: written: %q, removed: %q", name, changed, removed)
		}
	}
}

// checkHost is an installation with two domains, an alias and three users, in
// which Check finds nothing.
func checkHost(t testing.TB) *host {
	t.Helper()
	h := newHost(t, DefaultProfile54(), controlBefore)
	h.opts.Now = func() time.Time { return noon }
	h.own("VPOPMAIL/domains")
	s := h.open()
	ctx := t.Context()
	for _, name := range []string{"example.com", "example.org"} {
		if _, err := s.AddDomain(ctx, DomainSpec{Name: name}, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.AddAliasDomain(ctx, "example.com", "example.net", func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, n := range []NewUser{
		{Name: "ann", Clear: "ann's secret"},
		{Name: "joe", Clear: "joe's secret", Quota: "1000000S"},
	} {
		if _, err := s.AddUser(ctx, "example.com", n); err != nil {
			t.Fatal(err)
		}
	}
	h.maildirsizeAt("1000000S\n0 0\n", time.Minute)
	h.chmod(joe+"/Maildir/maildirsize", 0o600)
	return h
}

const (
	exampleCom = "VPOPMAIL/domains/example.com/"
	vpasswdCom = exampleCom + "vpasswd"
)

// edit replaces text in a file, which must be there, and keeps its mode.
func (h *host) edit(name, old, new string) {
	h.t.Helper()
	text := h.read(name)
	if !strings.Contains(text, old) {
		h.t.Fatalf("%s: no %q in %q", name, old, text)
	}
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(strings.ReplaceAll(text, old, new)), 0); err != nil {
		h.t.Fatal(err)
	}
}

// do fails the test if a preparation fails.
func (h *host) do(errs ...error) {
	h.t.Helper()
	if err := errors.Join(errs...); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

// recompile brings users/cdb to users/assign.
func (h *host) recompile() {
	h.t.Helper()
	f := parseLines([]byte(h.read("QMAIL/users/assign")), true, true)
	db, err := f.compile()
	if err == nil {
		err = os.WriteFile(h.path("QMAIL/users/cdb"), db, 0o644)
	}
	h.do(err)
}

// recdb brings vpasswd.cdb to vpasswd.
func (h *host) recdb() {
	h.t.Helper()
	var m memFile
	h.do(writeCDB(&m, ParseVpasswd([]byte(h.read(vpasswdCom)))))
	h.do(os.WriteFile(h.path(vpasswdCom+".cdb"), m.b, 0))
}

// A checkCase is one thing that is broken, and all that Check says then.
type checkCase struct {
	about  string
	damage func(h *host)
	want   []string
}

func TestCheckClean(t *testing.T) {
	h := checkHost(t)
	opts := &CheckOptions{Messages: true, Passwords: true}
	if got := found(t, h.open(), opts); len(got) > 0 {
		t.Errorf("%q", got)
	}
	none := newHost(t, DefaultProfile54(), nil)
	none.own("VPOPMAIL/domains")
	if got := found(t, none.open(), opts); len(got) > 0 {
		t.Errorf("no domain: %q", got)
	}
}

func TestCheckFinds(t *testing.T) {
	cases := slices.Concat(assignCases(), domainCases(), recordCases(), homeCases())
	codes := map[string]bool{}
	for _, c := range cases {
		t.Run(c.about, func(t *testing.T) {
			h := checkHost(t)
			c.damage(h)
			got := found(t, h.open(), &CheckOptions{Messages: true, Passwords: true})
			slices.Sort(c.want)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
		for _, w := range c.want {
			codes[strings.Fields(w)[1]] = true
		}
	}
	for _, code := range documentedCodes(t) {
		if !codes[code] && !rootOnly[code] {
			t.Errorf("%s is documented and no case finds it", code)
		}
		delete(codes, code)
	}
	for code := range codes {
		if strings.HasPrefix(code, "vpopmail.") {
			t.Errorf("%s is not documented", code)
		}
	}
}

// rootOnly are codes that TestCheckOwner has.
var rootOnly = map[string]bool{"vpopmail.owner": true, "vpopmail.unreadable": true}

// documentedCodes reads the table above Store.Check.
func documentedCodes(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("check.go")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile(`(?m)^//\t((?:vpopmail|control)\.[a-z-]+) `).FindAllStringSubmatch(string(b), -1) {
		all = append(all, m[1])
	}
	if len(all) < 40 {
		t.Fatalf("%d codes", len(all))
	}
	return all
}

func assignCases() []checkCase {
	const assign = "QMAIL/users/assign"
	line := func(name, real, dir string) string {
		return fmt.Sprintf("+%s-:%s:89:89:/home/vpopmail/domains/%s:-::\n", name, real, dir)
	}
	insert := func(h *host, l string) {
		h.edit(assign, ".\n", "%\n")
		h.edit(assign, "%\n", ".\n")
		h.write(assign, l+h.read(assign))
		h.recompile()
	}
	return []checkCase{
		{"users/cdb of another text", func(h *host) { h.write(assign, "+x.y-:alias:1:1:/a:-::\n"+h.read(assign)) },
			[]string{"error usercdb.stale users/cdb"}},
		{"users/cdb missing", func(h *host) { h.do(os.Remove(h.path("QMAIL/users/cdb"))) }, []string{"error usercdb.missing users/cdb"}},
		{"a long line", func(h *host) { insert(h, "=joe:joe:500:500:/home/"+strings.Repeat("x", 300)+":::\n") },
			[]string{"warning control.long-line users/assign:1"}},
		{"two lines for a domain", func(h *host) {
			insert(h, line("example.org", "example.org", "example.com"))
		}, []string{"error vpopmail.domain-shared users/assign:2", "error vpopmail.domain-twice users/assign:4",
			"warning assign.duplicate users/assign:4"}},
		{"an alias of nothing", func(h *host) {
			insert(h, line("lost.example.net", "gone.example.net", "gone.example.net"))
		}, []string{"error vpopmail.alias-orphan users/assign:1", "error vpopmail.not-virtual users/assign:1", "warning vpopmail.not-accepted users/assign:1"}},
		{"an alias with other fields", func(h *host) {
			h.edit(assign, "+example.net-:example.com:89:89:/home/vpopmail/domains/example.com:", "+example.net-:example.com:89:90:/home/vpopmail/domains/example.com:")
			h.recompile()
		}, []string{"error vpopmail.alias-differs users/assign:2"}},
		{"a name without a dot", func(h *host) {
			insert(h, line("delete", "example.com", "example.com"))
			h.edit("QMAIL/control/virtualdomains", "example.com:example.com\n", "example.com:example.com\ndelete:example.com\n")
			h.edit("QMAIL/control/rcpthosts", "example.com\n", "example.com\ndelete\n")
		}, []string{"warning vpopmail.domain-dotless users/assign:1"}},
		{"a directory elsewhere", func(h *host) {
			h.edit(assign, "/home/vpopmail/domains/example.org", "/srv/example.org")
			h.recompile()
		}, []string{"info vpopmail.counter /home/vpopmail/domains/.dir-control", "warning vpopmail.domain-orphan example.org", "warning vpopmail.domain-outside users/assign:3"}[1:]},
		{"no directory", func(h *host) { h.do(os.RemoveAll(h.path("VPOPMAIL/domains/example.org"))) },
			[]string{"error vpopmail.domain-missing example.org"}},
		{"no line", func(h *host) {
			h.edit(assign, "+example.org-:example.org:89:89:/home/vpopmail/domains/example.org:-::\n", "")
			h.recompile()
		}, []string{"error vpopmail.virtual-orphan control/virtualdomains:3", "info vpopmail.counter .dir-control", "warning vpopmail.domain-orphan example.org"}},
		{"local as well", func(h *host) { h.write("QMAIL/control/locals", "localhost\nExample.ORG\n") }, []string{"error vpopmail.local users/assign:3"}},
		{"not virtual", func(h *host) { h.edit("QMAIL/control/virtualdomains", "example.org:example.org\n", "") },
			[]string{"error vpopmail.not-virtual users/assign:3"}},
		{"virtual by a wildcard, for somebody else", func(h *host) {
			h.edit("QMAIL/control/virtualdomains", "example.org:example.org\n", ".org:joe\nexample.org:joe\n")
		}, []string{"error vpopmail.virtual-elsewhere users/assign:3"}},
		{"virtual for the real domain is fine", func(h *host) {
			h.edit("QMAIL/control/virtualdomains", "example.net:example.net\n", "example.net:example.com\n")
		}, []string{}},
		{"not accepted", func(h *host) { h.edit("QMAIL/control/rcpthosts", "example.org\n", "") }, []string{"warning vpopmail.not-accepted users/assign:3"}},
		{"accepted by a wildcard is fine", func(h *host) { h.edit("QMAIL/control/rcpthosts", "example.org\n", ".org\n") }, []string{}},
		{"no rcpthosts that can be read", func(h *host) {
			h.do(os.Remove(h.path("QMAIL/control/rcpthosts")), os.Mkdir(h.path("QMAIL/control/rcpthosts"), 0o755))
		}, []string{"error vpopmail.control control"}},
		{"a user of the system with extensions", func(h *host) { insert(h, "+joe-:joe:500:500:/home/joe:-::\n") }, []string{}},
		{"left-overs of qmail's files", func(h *host) {
			h.write("QMAIL/users/cdb.tmp", "")
			h.write("QMAIL/users/assign.1234", "")
			h.write("QMAIL/users/assign.old", "kept by the administrator")
			h.write("QMAIL/control/rcpthosts"+tempSuffix, "")
		}, []string{"info vpopmail.left-over control/rcpthosts.qmailkit_tmp", "info vpopmail.left-over users/assign.1234", "info vpopmail.left-over users/cdb.tmp"}},
		{"a prepared domain", func(h *host) {
			_, err := h.open().PrepareDomain(h.t.Context(), DomainSpec{Name: "new.example.org"})
			h.do(err)
		}, []string{"info vpopmail.domain-pending new.example.org"}},
		{"the counter of domains", func(h *host) { h.edit("VPOPMAIL/domains/.dir-control", "2\n0\n", "7\n0\n") }, []string{"info vpopmail.counter .dir-control"}},
		{"its text", func(h *host) {
			h.write("VPOPMAIL/domains/.dir-control", "x")
			h.chmod("VPOPMAIL/domains/.dir-control", 0o600)
		},
			[]string{"error vpopmail.counter-damaged .dir-control"}},
	}
}

func domainCases() []checkCase {
	const deflt = exampleCom + ".qmail-default"
	return []checkCase{
		{"others write", func(h *host) { h.chmod("VPOPMAIL/domains/example.com", 0o777) },
			[]string{"error vpopmail.mode example.com", "error vpopmail.qmail-writable example.com"}},
		{"others read", func(h *host) { h.chmod("VPOPMAIL/domains/example.com", 0o755); h.chmod(vpasswdCom, 0o644) },
			[]string{"error vpopmail.passwords-readable example.com/vpasswd", "warning vpopmail.mode example.com"}},
		{"vpasswd that others write", func(h *host) { h.chmod(vpasswdCom, 0o660) }, []string{"error vpopmail.mode example.com/vpasswd"}},
		{"a link for a domain", func(h *host) {
			h.do(os.Rename(h.path("VPOPMAIL/domains/example.org"), h.path("VPOPMAIL/moved")), os.Symlink("../moved", h.path("VPOPMAIL/domains/example.org")))
		}, []string{"error vpopmail.link example.org"}},
		{"a file for a domain", func(h *host) {
			h.do(os.RemoveAll(h.path("VPOPMAIL/domains/example.org")))
			h.write("VPOPMAIL/domains/example.org", "")
		}, []string{"error vpopmail.not-plain example.org"}},
		{"no .qmail-default", func(h *host) { h.do(os.Remove(h.path(deflt))) }, []string{"error vpopmail.default-missing example.com/.qmail-default"}},
		{"another program", func(h *host) { h.edit(deflt, "vdelivermail", "maildrop") }, []string{"warning vpopmail.default-odd example.com/.qmail-default"}},
		{"vdelivermail of another home", func(h *host) { h.edit(deflt, "/home/vpopmail/", "/usr/") }, []string{"warning vpopmail.default-odd example.com/.qmail-default"}},
		{"two lines", func(h *host) { h.edit(deflt, "| ", "# comments do not count\n&x@y\n| ") }, []string{"warning vpopmail.default-odd example.com/.qmail-default"}},
		{"an odd word", func(h *host) { h.edit(deflt, "bounce-no-mailbox", "bounce") }, []string{"warning vpopmail.default-odd example.com/.qmail-default"}},
		{"a catch-all directory", func(h *host) { h.edit(deflt, "bounce-no-mailbox", "/home/vpopmail/domains/example.com/joe") }, []string{}},
		{"one that is not there", func(h *host) { h.edit(deflt, "bounce-no-mailbox", "/home/vpopmail/domains/example.com/jim") },
			[]string{"error vpopmail.catch-all-nowhere example.com/.qmail-default"}},
		{"a catch-all address", func(h *host) { h.edit(deflt, "bounce-no-mailbox", "Joe@example.net") }, []string{}},
		{"of another domain", func(h *host) { h.edit(deflt, "bounce-no-mailbox", "postmaster@example.org") }, []string{}},
		{"of another host", func(h *host) { h.edit(deflt, "bounce-no-mailbox", "somebody@example.edu") }, []string{}},
		{"of an alias", func(h *host) {
			h.edit(deflt, "bounce-no-mailbox", "the.team@example.com")
			h.write(exampleCom+".qmail-the:team", "&joe@example.com\n")
		}, []string{}},
		{"of nobody", func(h *host) { h.edit(deflt, "bounce-no-mailbox", "jim@example.org") }, []string{"error vpopmail.catch-all-nowhere example.com/.qmail-default"}},
		{"delete", func(h *host) { h.edit(deflt, "bounce-no-mailbox", "delete") }, []string{"info vpopmail.catch-all-delete example.com/.qmail-default"}},
		{"an alias in front of a user", func(h *host) { h.write(exampleCom+".qmail-joe", "&x@example.org\n") }, []string{"warning vpopmail.alias-shadows example.com/.qmail-joe"}},
		{"a .qmail that all write", func(h *host) {
			h.write(exampleCom+".qmail-list", "&x@example.org\n")
			h.chmod(exampleCom+".qmail-list", 0o666)
		}, []string{"error vpopmail.qmail-writable example.com/.qmail-list"}},
		{"left-overs and notes", func(h *host) {
			for _, name := range []string{"vpasswd.bak.77", ".dir-control.77", "cdb.tmp", ".dir_control_free.bak", tempVpasswd, intentName, "readme"} {
				h.write(exampleCom+name, "{}")
			}
		}, []string{"info vpopmail.left-over example.com/.dir-control.77", "info vpopmail.left-over example.com/.dir_control_free.bak",
			"info vpopmail.left-over example.com/" + tempVpasswd, "info vpopmail.left-over example.com/cdb.tmp", "info vpopmail.left-over example.com/vpasswd.bak.77",
			"warning vpopmail.interrupted example.com/" + intentName}},
		{"the counter of users", func(h *host) { h.edit(exampleCom+".dir-control", "3\n0\n", "9\n0\n") }, []string{"info vpopmail.counter example.com/.dir-control"}},
		{"its text", func(h *host) { h.edit(exampleCom+".dir-control", "61", "six") }, []string{"error vpopmail.counter-damaged example.com/.dir-control"}},
		{"free directories", func(h *host) {
			h.do(os.Mkdir(h.path(exampleCom+"0"), 0o700))
			h.own(exampleCom + "0")
			h.write(exampleCom+".dir_control_free", "# comment\n0\n\n../x\n2/om\n1\n")
		}, []string{"info vpopmail.free-stale example.com/.dir_control_free:6", "warning vpopmail.free-stale example.com/.dir_control_free:4", "warning vpopmail.free-stale example.com/.dir_control_free:5"}},
		{"directories that are no user's", func(h *host) {
			for _, d := range []string{"0", "0/old", "0/old/Maildir", "list", "list/archive", "gone", "gone/Maildir"} {
				h.do(os.Mkdir(h.path(exampleCom+d), 0o700))
				h.own(exampleCom + d)
			}
		}, []string{"warning vpopmail.user-orphan example.com/0/old", "warning vpopmail.user-orphan example.com/gone"}},
	}
}

// own gives a path to the domain where the test can.
func (h *host) own(name string) {
	h.t.Helper()
	if os.Geteuid() == 0 {
		h.do(os.Lchown(h.path(name), 89, 89))
	}
}

func recordCases() []checkCase {
	set := func(old, new string) func(h *host) {
		return func(h *host) { h.edit(vpasswdCom, old, new); h.recdb() }
	}
	// The lines are those of ann, joe and postmaster.
	joes := func(field int, text string) func(h *host) {
		return func(h *host) {
			lines := strings.SplitAfter(h.read(vpasswdCom), "\n")
			f := strings.Split(strings.TrimSuffix(lines[1], "\n"), ":")
			f[field] = text
			h.edit(vpasswdCom, lines[1], strings.Join(f, ":")+"\n")
			h.recdb()
		}
	}
	const line = " example.com/vpasswd:2"
	return []checkCase{
		{"no vpasswd", func(h *host) { h.do(os.Remove(h.path(vpasswdCom))) },
			[]string{"error vpopmail.vpasswd-missing example.com/vpasswd", "warning vpopmail.user-orphan example.com/ann", "warning vpopmail.user-orphan example.com/joe", "warning vpopmail.user-orphan example.com/postmaster"}},
		{"a FIFO for vpasswd", func(h *host) { h.do(os.Remove(h.path(vpasswdCom)), unix.Mkfifo(h.path(vpasswdCom), 0o600)) },
			[]string{"error vpopmail.not-plain example.com/vpasswd", "warning vpopmail.user-orphan example.com/ann", "warning vpopmail.user-orphan example.com/joe", "warning vpopmail.user-orphan example.com/postmaster"}},
		{"no vpasswd.cdb", func(h *host) { h.do(os.Remove(h.path(vpasswdCom + ".cdb"))) }, []string{"warning vpopmail.cdb-missing example.com/vpasswd.cdb"}},
		{"a damaged one", func(h *host) { h.do(os.WriteFile(h.path(vpasswdCom+".cdb"), []byte("cdb"), 0)) }, []string{"error vpopmail.cdb-damaged example.com/vpasswd.cdb"}},
		{"edited without vmkpasswd", func(h *host) {
			text := h.read(vpasswdCom)
			ann, _, _ := strings.Cut(text, "\n")
			h.edit(vpasswdCom, ann+"\n", strings.ReplaceAll(ann, "ann", "amy")+"\n")
			h.do(os.Rename(h.path(exampleCom+"ann"), h.path(exampleCom+"amy")))
			h.edit(vpasswdCom, ":joe:", ":Joe Doe:")
		}, []string{"error vpopmail.cdb-differs example.com/vpasswd.cdb:2", "error vpopmail.cdb-extra example.com/vpasswd.cdb", "error vpopmail.cdb-lacks example.com/vpasswd.cdb:1",
			"warning vpopmail.clear-differs example.com/vpasswd:1"}},
		{"the same in another order", func(h *host) {
			lines := strings.SplitAfter(h.read(vpasswdCom), "\n")
			h.edit(vpasswdCom, lines[0]+lines[1], lines[1]+lines[0])
		}, []string{"warning vpopmail.cdb-stale example.com/vpasswd.cdb"}},
		{"a line that vpopmail cuts", joes(4, strings.Repeat("g", 220)), []string{"error vpasswd.long-line" + line}},
		{"a cdb with what was cut off", func(h *host) {
			v := ParseVpasswd([]byte(h.read(vpasswdCom) + "TA:NOQUOTA\n"))
			var m memFile
			h.do(writeCDB(&m, v), os.WriteFile(h.path(vpasswdCom+".cdb"), m.b, 0))
		}, []string{"error vpopmail.cdb-extra example.com/vpasswd.cdb"}},
		{"too few colons", set("ann:", "ann;"), []string{"error vpasswd.few-colons example.com/vpasswd:1", "info vpopmail.counter example.com/.dir-control", "warning vpopmail.user-orphan example.com/ann"}[0:3]},
		{"a name twice", func(h *host) {
			lines := strings.SplitAfter(h.read(vpasswdCom), "\n")
			h.edit(vpasswdCom, lines[1], lines[1]+lines[1])
			h.recdb()
		}, []string{"error vpopmail.user-dir-shared example.com/vpasswd:3", "info vpopmail.counter example.com/.dir-control", "warning vpasswd.duplicate example.com/vpasswd:3"}},
		{"a name with a slash", joes(0, "../joe"), []string{"error vpopmail.user-name" + line}},
		{"a name with capitals", joes(0, "Joe"), []string{"error vpopmail.user-name" + line}},
		{"uid and flags", func(h *host) { joes(2, "89")(h); joes(3, "1048577")(h) }, []string{"warning vpopmail.user-damaged" + line, "warning vpopmail.user-damaged" + line}},
		{"a directory of shifted fields", joes(5, "c"), []string{"error vpopmail.user-damaged" + line, "warning vpopmail.user-orphan example.com/joe"}},
		{"no directory named", joes(5, ""), []string{"error vpopmail.user-damaged" + line, "warning vpopmail.user-orphan example.com/joe"}},
		{"a long one", joes(5, "/home/vpopmail/domains/example.com/"+strings.Repeat("x/", 70)+"joe"), []string{"error vpopmail.user-damaged" + line, "warning vpopmail.user-orphan example.com/joe"}},
		{"one of another domain", joes(5, "/home/vpopmail/domains/example.org/postmaster"), []string{"error vpopmail.user-dir-outside" + line, "warning vpopmail.user-orphan example.com/joe"}},
		{"one that leads there", joes(5, "/home/vpopmail/domains/example.com/../example.org/postmaster"), []string{"error vpopmail.user-dir-outside" + line, "warning vpopmail.user-orphan example.com/joe"}},
		{"that of another user", joes(5, "/home/vpopmail/domains/example.com/ann"), []string{"error vpopmail.user-dir-shared" + line, "warning vpopmail.user-orphan example.com/joe"}},
		{"10G", func(h *host) { joes(6, "10G")(h); h.edit(joe+"/Maildir/maildirsize", "1000000S", "10G") }, []string{"warning vpopmail.quota-other" + line}},
		{"what 10G becomes", func(h *host) { joes(6, "10S")(h); h.edit(joe+"/Maildir/maildirsize", "1000000S", "10S") }, []string{"warning vpopmail.quota-tiny" + line}},
		{"a password for a quota", func(h *host) { joes(6, "hunter2")(h); h.edit(joe+"/Maildir/maildirsize", "1000000S", "hunter2") }, []string{"warning vpopmail.quota-other" + line}},
		{"no hash", joes(1, ""), []string{"info vpopmail.no-password" + line}},
		{"locked is fine", joes(1, "*"), []string{"warning vpopmail.clear-differs" + line}},
		{"a scheme of LDAP", joes(1, "{SSHA}c2FsdHNhbHRzYWx0c2FsdA=="), []string{"warning vpopmail.hash-scheme" + line}},
		{"a cut hash", joes(1, "$6$saltstring0123$WgX02qYYR2NduYSmcrm0"), []string{"error vpopmail.hash-damaged" + line}},
		{"a long hash", joes(1, "$2b$"+strings.Repeat("x", 129)), []string{"error vpopmail.hash-damaged" + line}},
		{"an old clear password", joes(7, "joe's old one"), []string{"warning vpopmail.clear-differs" + line}},
		{"no postmaster", func(h *host) {
			lines := strings.SplitAfter(h.read(vpasswdCom), "\n")
			h.edit(vpasswdCom, lines[2], "")
			h.recdb()
			h.do(os.RemoveAll(h.path(exampleCom + "postmaster")))
		}, []string{"info vpopmail.counter example.com/.dir-control", "warning vpopmail.no-postmaster example.com"}},
	}
}

func homeCases() []checkCase {
	const md = joe + "/Maildir"
	size := func(text string) func(h *host) {
		return func(h *host) { h.maildirsizeAt(text, time.Minute); h.chmod(md+"/maildirsize", 0o600) }
	}
	return []checkCase{
		{"no home", func(h *host) { h.do(os.RemoveAll(h.path(joe))) }, []string{"warning vpopmail.user-dir-missing example.com/joe"}},
		{"a link for a home", func(h *host) {
			h.do(os.Rename(h.path(joe), h.path("VPOPMAIL/joe")), os.Symlink("../../joe", h.path(joe)))
		}, []string{"error vpopmail.link example.com/joe"}},
		{"no Maildir", func(h *host) { h.do(os.RemoveAll(h.path(md))) }, []string{"error vpopmail.maildir-missing example.com/joe/Maildir"}},
		{"half a Maildir", func(h *host) {
			h.do(os.Remove(h.path(md+"/cur")), os.Remove(h.path(md+"/new")), os.Remove(h.path(md+"/tmp")), os.Symlink("/tmp", h.path(md+"/tmp")))
			h.write(md+"/new", "")
		}, []string{"error vpopmail.link example.com/joe/Maildir/tmp", "error vpopmail.maildir-missing example.com/joe/Maildir/cur", "error vpopmail.not-plain example.com/joe/Maildir/new"}},
		{"a home that others read", func(h *host) { h.chmod(joe, 0o750) }, []string{"warning vpopmail.mode example.com/joe"}},
		{"a closed Maildir", func(h *host) { h.chmod(md+"/new", 0o500) }, []string{"error vpopmail.mode example.com/joe/Maildir/new"}},
		{"comments only", func(h *host) { h.write(joe+"/.qmail", "# on holiday\n\n") }, []string{"warning vpopmail.dotqmail-discards example.com/joe/.qmail"}},
		{"a .qmail that delivers", func(h *host) { h.write(joe+"/.qmail", "# copy\n./Maildir/\n") }, []string{}},
		{"an empty .qmail", func(h *host) { h.write(joe+"/.qmail", "") }, []string{}},
		{"a link for lastauth", func(h *host) {
			h.do(os.Remove(h.path(joe+"/lastauth")), os.Symlink("/etc/passwd", h.path(joe+"/lastauth")))
		},
			[]string{"error vpopmail.link example.com/joe/lastauth"}},
		{"a login cut short", func(h *host) { h.write(joe+"/"+tempLastauth, "") }, []string{"info vpopmail.left-over example.com/joe/" + tempLastauth}},
		{"a directory for maildirsize", func(h *host) { h.do(os.Remove(h.path(md+"/maildirsize")), os.Mkdir(h.path(md+"/maildirsize"), 0o700)) },
			[]string{"error vpopmail.not-plain example.com/joe/Maildir/maildirsize"}},
		{"another quota", size("10S\n0 0\n"), []string{"info vpopmail.maildirsize-stale example.com/joe/Maildir/maildirsize"}},
		{"other sums", size("1000000S\n0 0\n500 1\n"), []string{"info vpopmail.maildirsize-stale example.com/joe/Maildir/maildirsize"}},
		{"less than nothing", size("1000000S\n0 0\n-500 -1\n"), []string{"warning vpopmail.maildirsize-negative example.com/joe/Maildir/maildirsize"}},
		{"over quota", func(h *host) {
			h.write(md+"/new/1.host,S=1000001", "x")
			size("1000000S\n1000001 1\n")(h)
		}, []string{"info vpopmail.over-quota example.com/joe/Maildir"}},
	}
}

// TestCheckOwner has what only root can make.
func TestCheckOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	h := checkHost(t)
	h.do(os.Chown(h.path(joe+"/Maildir/new"), 500, 89), os.Chown(h.path(joe), 89, 500), os.Chown(h.path(vpasswdCom), 0, 0))
	want := []string{"error vpopmail.owner example.com/joe/Maildir/new", "error vpopmail.owner example.com/vpasswd", "warning vpopmail.owner example.com/joe"}
	if d := cmp.Diff(want, found(t, h.open(), nil)); d != "" {
		t.Error(d)
	}
}

// TestCheckUnreadable has a domain that cannot be looked into, and the others.
func TestCheckUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read all")
	}
	h := checkHost(t)
	h.chmod("VPOPMAIL/domains/example.com", 0)
	defer h.chmod("VPOPMAIL/domains/example.com", 0o700)
	h.chmod("VPOPMAIL/domains/example.org", 0o750)
	want := []string{"error vpopmail.unreadable example.com", "warning vpopmail.mode example.org"}
	if d := cmp.Diff(want, found(t, h.open(), nil)); d != "" {
		t.Error(d)
	}
}

// TestCheckRows is a Backend without files.
func TestCheckRows(t *testing.T) {
	h := checkHost(t)
	name := func(n string) User {
		return User{Name: n, Dir: "/home/vpopmail/domains/example.com/" + n, Quota: NoQuota, Hash: "*"}
	}
	bad := name("jim")
	bad.Quota = "10S"
	r := &rows{users: map[string][]User{"example.com": {name("ann"), bad, name("postmaster")}},
		counters: map[string]DirControl{"example.com": {Users: 5}}}
	h.opts.Backend = r
	h.do(os.Remove(h.path(vpasswdCom)), os.Remove(h.path(vpasswdCom+".cdb")))
	want := []string{"info vpopmail.counter example.com/.dir-control", "warning vpopmail.quota-tiny example.com",
		"warning vpopmail.user-dir-missing example.com/jim", "warning vpopmail.user-orphan example.com/joe", "warning vpopmail.user-orphan example.org/postmaster"}
	if d := cmp.Diff(want, found(t, h.open(), nil)); d != "" {
		t.Error(d)
	}
}

func TestCheckDomains(t *testing.T) {
	h := checkHost(t)
	for _, d := range []string{"example.com", "example.org"} {
		h.chmod("VPOPMAIL/domains/"+d, 0o750)
	}
	s := h.open()
	for domain, want := range map[string]string{"example.net": "example.com", "EXAMPLE.org": "example.org"} {
		got := found(t, s, &CheckOptions{Domains: []string{domain}})
		if d := cmp.Diff([]string{"warning vpopmail.mode " + want}, got); d != "" {
			t.Errorf("%s: %s", domain, d)
		}
	}
}

// TestCheckEnds has a caller who stops, and a context that does.
func TestCheckEnds(t *testing.T) {
	h := checkHost(t)
	for _, c := range domainCases()[:2] {
		c.damage(h)
	}
	s := h.open()
	n := 0
	for range s.Check(t.Context(), nil) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d", n)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	n = 0
	for _, err := range s.Check(ctx, nil) {
		if n++; !errors.Is(err, stop) || !errors.Is(err, qmailkit.ErrIncomplete) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d items", n)
	}
}

// TestCheckKeepsSecrets has records of which any field may be a password.
func TestCheckKeepsSecrets(t *testing.T) {
	const secret = "5ecret-Word"
	for i := range 8 {
		if i == 0 {
			continue // a name is shown
		}
		h := checkHost(t)
		lines := strings.SplitAfter(h.read(vpasswdCom), "\n")
		f := strings.Split(lines[1], ":")
		f[i] = secret
		if i == 7 {
			f[i] += "\n"
		}
		h.edit(vpasswdCom, lines[1], strings.Join(f, ":"))
		for p, err := range h.open().Check(t.Context(), &CheckOptions{Passwords: true}) {
			if err != nil || strings.Contains(p.String(), secret) {
				t.Errorf("field %d: %v, %v", i, p, err)
			}
		}
	}
}

// TestCheckRandomTrees breaks installations by chance: Check ends, tells of
// places that are there, and changes nothing.
func TestCheckRandomTrees(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(uint64(seed), 1))
		h := checkHost(t)
		for range 1 + r.IntN(6) {
			h.vandalise(r)
		}
		before := h.lstats()
		n := 0
		for p, err := range h.open().Check(t.Context(), &CheckOptions{Messages: true}) {
			if n++; err == nil && (p.Code == "" || p.Err == nil || p.Path == "") {
				t.Errorf("seed %d: %+v", seed, p)
			}
			if err != nil && !errors.Is(err, qmailkit.ErrIncomplete) {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
		if n > 2000 {
			t.Errorf("seed %d: %d problems", seed, n)
		}
		if d := cmp.Diff(before, h.lstats()); d != "" {
			t.Errorf("seed %d: %s", seed, d)
		}
	}
}

// lstats tells names, types, modes, sizes and times of the tree.
func (h *host) lstats() map[string]string {
	all := map[string]string{}
	filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if fi, e := os.Lstat(path); e == nil {
			all[path] = fmt.Sprint(fi.Mode(), fi.Size(), fi.ModTime())
		}
		return nil
	})
	return all
}

// vandalise does one thing to one place.
func (h *host) vandalise(r *rand.Rand) {
	var paths []string
	filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(h.dir, path); strings.Contains(rel, "/") {
			paths = append(paths, path)
		}
		return nil
	})
	if len(paths) == 0 {
		return
	}
	path := paths[r.IntN(len(paths))]
	var b []byte
	fi, err := os.Lstat(path)
	if err == nil && fi.Mode().IsRegular() {
		b, err = os.ReadFile(path)
	}
	switch n := r.IntN(7); {
	case n == 0:
		os.RemoveAll(path)
	case n == 1:
		os.RemoveAll(path)
		os.Symlink(paths[r.IntN(len(paths))], path)
	case n == 2:
		os.RemoveAll(path)
		unix.Mkfifo(path, 0o600)
	case n == 3:
		os.RemoveAll(path)
		os.Mkdir(path, 0o700)
	case n == 4 && err == nil && len(b) > 0:
		os.WriteFile(path, b[:r.IntN(len(b))], 0o600)
	case n == 5 && err == nil && len(b) > 0:
		for range 1 + r.IntN(8) {
			b[r.IntN(len(b))] = "\n:\x00/.+-\xff0"[r.IntN(9)]
		}
		os.WriteFile(path, b, 0o600)
	default:
		os.Rename(path, paths[r.IntN(len(paths))])
	}
}
