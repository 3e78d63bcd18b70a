//go:build unix

package vpopmail

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The cases of TestCheckFinds: what is damaged, and all that Check says then.

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
