package sendmail

import (
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"
)

// corpusHost is the sample host of the verdicts in testdata/expand.
func corpusHost(t sampleTree) {
	t.file("etc/mail/local-host-names", "example.com\nexample.org\n# one more\nthird.example  # ours too\n")
	t.file("etc/mail/virtuser-domains", "v.example\nw.example\n")
	t.file("etc/mail/aliases", corpusAliasText())
	t.file("etc/mail/lists/aliases", "dup: carol\nsecond: bob\nlist-a: dave\n")
	t.file("etc/mail/virtusertable", corpusVirtusers)
	t.file("etc/mail/mailertable", "route.example\tsmtp:[relay.example]\n.sub.example\tesmtp:hub.example\nloc.example\tlocal:bob\n"+
		"loc2.example\tlocal:\nbad.example\terror:5.7.1:550 closed today\nnouser.example\terror:nouser:550 none here\n"+
		"two.example\tsmtp:[one.example]:[two.example]\n.pre.example\tesmtp:%1.hub.example\nme.example\tesmtp:mail.example.com\n"+
		"example.org\tsmtp:[never.example]\nuser.example\tesmtp:keep@hub.example\nplain.example\tmail.hub.example\n")
	t.file("etc/mail/domaintable", "old.example\texample.com\nolder.example\tremote.example\n")
	t.file("etc/mail/genericstable", "bob\tRobert@masq.example\n")
	t.file("etc/mail/access", "remote.example\tREJECT\n")
	for name, text := range map[string]string{
		"members": "alice\n# comment\n  bob ,remote2@x.example\n\ncarol #@# note\n\"Dave D\" <dave@example.com>\n",
		"nested":  ":include:/etc/mail/lists/members, frank@remote.example\n",
		"loop":    "erin, :include:/etc/mail/lists/loop\n",
		"prog":    "bob, \"|/bin/prog -x\", /var/mail/listfile\n",
		"empty":   "# nothing\n\n",
		"crlf":    "bob\r\ncarol\r\n",
		"self":    "self-list, bob\n",
	} {
		t.file("etc/mail/lists/"+name, text)
	}
	t["etc/mail/lists/secret"] = node{text: "bob\n", mode: 0o600}
	t["etc/mail/lists/world"] = node{text: "bob, \"|/bin/prog\"\n", mode: 0o666}
	t["etc/mail/lists/group"] = node{text: "bob, \"|/bin/prog\"\n", mode: 0o664}
	t["etc/mail/lists/link"] = node{link: "members"}
	t["etc/mail/lists/fifo"] = node{mode: fs.ModeNamedPipe}
	t["etc/mail/lists/dir"] = node{mode: fs.ModeDir}
	t["etc/mail/lists/foreign"] = node{text: "\"|/bin/prog\", bob\n", uid: 4242}
	t["etc/mail/lists/bobs"] = node{text: "\"|/bin/prog\"\n", uid: 1001}
	t["etc/mail/lists/norms"] = node{text: "\"|/bin/prog\"\n", uid: 1010}
	t["etc/mail/open"] = node{mode: fs.ModeDir | 0o777}
	t.file("etc/mail/open/list", "bob, \"|/bin/prog\"\n")
	t["etc/mail/groupdir"] = node{mode: fs.ModeDir | 0o775}
	t.file("etc/mail/groupdir/list", "bob\n")
	corpusUsers(t)
}

const corpusAliases = `# aliases of the sample host
postmaster: root
MAILER-DAEMON: postmaster
root: alice
webmaster:	bob
Abuse:  "postmaster"
prog: "|/bin/cat -n, x"
prog2: |/bin/cat -n
prog3: |/bin/cat
prog4: |"/bin/cat -n"
progs: "|/bin/a", "|/bin/b -x 'y, z'", "|/bin/a"
file: /var/mail/archive
qfile: "/var/mail/with space"
null: /dev/null
list-a: :include:/etc/mail/lists/members
owner-list-a: bob
list-b: :include:/etc/mail/lists/nested
owner-list-b: bob, carol
list-c: :include:/etc/mail/lists/loop
list-d: ":include:/etc/mail/lists/members"
list-prog: :include:/etc/mail/lists/prog
list-empty: :include:/etc/mail/lists/empty
list-crlf: :include:/etc/mail/lists/crlf
self-list: :include:/etc/mail/lists/self
list-none: :include:/etc/mail/lists/none
list-secret: :include:/etc/mail/lists/secret
list-world: :include:/etc/mail/lists/world
list-group: :include:/etc/mail/lists/group
list-link: :include:/etc/mail/lists/link
list-fifo: :include:/etc/mail/lists/fifo
list-dir: :include:/etc/mail/lists/dir
list-foreign: :include:/etc/mail/lists/foreign
list-bobs: :include:/etc/mail/lists/bobs
list-norms: :include:/etc/mail/lists/norms
list-open: :include:/etc/mail/open/list
list-groupdir: :include:/etc/mail/groupdir/list
list-two: :include:/etc/mail/lists/members, :include:/etc/mail/lists/members
esc: \bob, alice
esc2: \Bob, bob
esc3: \nosuch
remote: Foo.Bar@Remote.Example
remote2: "quoted user"@remote.example
remote3: Full Name <someone@remote.example>
remote4: someone@remote.example (with a comment, and more)
percent: a%b@remote.example
bang: there!user
loop1: loop2
loop2: loop1
self: self
selfbob: bob, selfbob
alice: \alice, bob
carol: carol, archive@remote.example
dave: erin
erin: dave@remote.example, erin
heidi: heidi@example.com, bob
ivan: ivan@mail.example.com
moved: moved@new.example.REDIRECT
nobodyx: nosuch
two: bob, Bob, bob@example.com, bob+x@example.org
three: bob,carol,
 bob@example.org,
	judy@remote.example
cont: bob, \
  carol
cont2: bob,\
carol
comma: ,,bob,,carol,
mixed: bob, "|/bin/x", /var/mail/y, :include:/etc/mail/lists/members, a@b.example
"first last": bob
"quoted.name": carol
first.last: bob
UPPER: bob
with-dash_and.dot: carol
plus+tag: bob
plus+*: carol
tagged+*: dave
tagged: bob
comment (a note): bob
spaced : bob
nested1: nested2
nested2: nested3
nested3: nested4
nested4: nested5
nested5: nested6
nested6: bob
deep1: deep2
deep2: deep3
deep3: deep4
deep4: deep5
deep5: deep6
deep6: deep7
deep7: deep8
deep8: deep9
deep9: deep10
deep10: deep11
deep11: deep12
deep12: bob
dup: bob
dup: alice
foreign@remote.example: bob
here@example.com: bob
hash: bob # carol
latin: J` + "\xf6" + `rg@remote.example
j` + "\xf6" + `rg: bob
angle: <bob>
angles: <bob>, <carol@example.com>
badq: "bob
badp: (bob
bada: <bob
empty:
emptyq: ""
colon: a:b
virt: info@v.example
virt2: sales@example.com
route: u@route.example
pct: %0@remote.example
owner-nested1: nested-owner
nested-owner: carol
a+b: bob
nodetail+*: bob
semi: bob; carol
group: friends: bob, carol;
literal: bob@[192.0.2.9]
literal2: bob@[127.0.0.1]
errormail: error@bad.example
slash: a/b
include: include
crlf1: bob{CR}
crlf2: bob, carol{CR}
"x:9": bob
bob : 
only-comma: ,
only-comment: (nothing)
bl\ank: bob
# swallowed \
swallow: bob
next: bob
`

// corpusAliasText has the CRs that no raw string can hold.
func corpusAliasText() string { return strings.ReplaceAll(corpusAliases, "{CR}", "\r") }

const corpusVirtusers = `# virtual users
info@example.org	bob
@v.example	%1@example.com
info@v.example	carol
none@example.com	error:nouser 550 No such user here
x@example.com	error:5.7.1:550 go away
tmp@example.com	error:tempfail try again
sales@example.com	sales@remote.example
list@example.com	list-a
det+one@example.com	bob
det+*@example.com	carol
det@example.com	alice
plus++@example.com	dave
plus@example.com	bob
wild@example.com	w-%1@remote.example
wildd@example.com	%1-%2-%3@remote.example
chain1@example.com	chain2@v.example
chain2@v.example	chain3@w.example
chain3@w.example	bob
vloop1@example.com	vloop2@example.com
vloop2@example.com	vloop1@example.com
prog@example.com	prog
bang@example.com	\bob
Upper@Example.Com	carol
local-only@w.example	\dave
@w.example	catchall%2
bob@w.example	bob
@third.example	error:nouser 550 nobody at %1
ok@third.example	ok-%0
two@example.com	bob, carol
`

// corpusUsers makes users whose .forward are each of their kind.
func corpusUsers(t sampleTree) {
	const shell = "/bin/sh"
	fwd := func(text string) map[string]node { return map[string]node{".forward": {text: text}} }
	for i, u := range []struct {
		name, gecos, shell string
		files              map[string]node
	}{
		{"alice", "Alice Liddell", shell, nil},
		{"bob", "Bob", shell, nil},
		{"carol", "Carol", shell, nil},
		{"dave", "Dave D,Room 5", shell, fwd("dave@remote.example\n")},
		{"erin", "& Smith", shell, fwd("\\erin, copy@remote.example\n")},
		{"frank", "", shell, fwd("frank, copy@remote.example\n")},
		{"grace", "", shell, fwd("\"|/usr/bin/vacation grace\"\n\\grace\n")},
		{"heidi", "", shell, fwd("# comment only\n\n")},
		{"ivan", "", shell, fwd("")},
		{"judy", "", shell, fwd("judy@example.com\njudy@remote.example, bob\n")},
		{"norm", "", "/usr/sbin/nologin", fwd("\"|/bin/prog\", /home/norm/mbox, norm@remote.example\n")},
		{"olga", "", "", fwd("/home/olga/mail/in, bob\n")},
		{"peggy", "", shell, map[string]node{".forward": {text: "peggy@remote.example\n", mode: 0o664}}},
		{"quinn", "", shell, map[string]node{".forward": {text: "quinn@remote.example\n", mode: 0o666}}},
		{"rita", "", shell, map[string]node{".": {mode: 0o775}, ".forward": {text: "rita@remote.example\n"}}},
		{"sam", "", shell, map[string]node{".": {mode: 0o777}, ".forward": {text: "sam@remote.example\n"}}},
		{"tina", "", shell, map[string]node{".forward": {link: "other"}, "other": {text: "tina@remote.example\n"}}},
		{"uma", "", shell, map[string]node{".forward": {text: "uma@remote.example\n", uid: 1001}}},
		{"vic", "", shell, map[string]node{".forward": {text: "vic@remote.example\n", uid: -1}}},
		{"walt", "", shell, map[string]node{".forward": {mode: fs.ModeDir}}},
		{"xena", "", shell, map[string]node{".forward": {mode: fs.ModeNamedPipe}}},
		{"yuri", "", shell, map[string]node{".forward": {text: "yuri@remote.example\n", mode: 0o200}}},
		{"zoe", "", shell, map[string]node{".forward": {text: "zoe@remote.example\n"}, ".forward+work": {text: "zoe-work@remote.example\n"}, ".forward.mail": {text: "zoe-mail@remote.example\n"}}},
		{"amy", "", shell, map[string]node{".forward": {text: "amy@remote.example\n"}, ".forward+list": {text: "\\amy\n"}, ".forward.mail+deep": {text: "bob\n"}}},
		{"ben", "", shell, map[string]node{".": {mode: 0o700}, ".forward": {text: "ben@remote.example\n", mode: 0o600}}},
		{"cleo", "", shell, map[string]node{".forward": {same: "home/cleo/other"}, "other": {text: "cleo@remote.example\n", uid: 0}}},
		{"dan", "", shell, fwd(":include:/home/dan/list\n")},
		{"eve", "", shell, fwd("fay\n")},
		{"fay", "", shell, fwd("eve\n")},
		{"gus", "", shell, fwd("gus+detail\n")},
		{"hal", "", shell, fwd("bob,carol , \"bob\", Bob@example.com\n")},
		{"ida", "Ida B. Wells", shell, fwd("ida@remote.example\r\n\\ida\r\n")},
		{"jim", "", shell, fwd("prog, webmaster\n")},
		{"kim", "", shell, fwd("info@v.example\n")},
		{"lee", "", shell, fwd("nosuch, lee@remote.example\n")},
		{"max", "", shell, fwd("a@b.example c@d.example\n")},
		{"ned", "", shell, fwd("|/bin/prog\n")},
		{"oto", "", shell, fwd("\"unbalanced\n")},
		{"pat", "", shell, fwd("\\bob\n")},
		{"ray", "", shell, fwd("/dev/null\n")},
		{"una", "", shell, map[string]node{".forward": {link: "/etc/shadow"}}},
		{"ugo", "", shell, map[string]node{".forward": {link: "/home/bob/readable"}}},
		{"Mixed", "", shell, fwd("mixed@remote.example\n")},
	} {
		t.user(u.name, 1000+i, u.gecos, u.shell, u.files)
	}
	t["home/bob/readable"] = node{text: "carol\n", uid: 1001}
	t["etc/shadow"] = node{text: "root:*:1::::::\n", mode: 0o640}
	t["home/dan/list"] = node{text: "bob, dan@remote.example\n", uid: 1026, gid: 1026}
	t["home/cleo/other"] = node{text: "cleo@remote.example\n", uid: 1025, gid: 1025}
}

// corpusAddresses are all names of the host, in the forms in which mail can
// come for them.
func corpusAddresses() []string {
	var out []string
	add := func(addresses ...string) {
		for _, a := range addresses {
			if !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	names := sampleTree{"etc/passwd": {}}
	corpusUsers(names)
	for l := range strings.Lines(names["etc/passwd"].text) {
		name, _, _ := strings.Cut(l, ":")
		add(name, name+"+work@example.com", name+"@example.org", `\`+name)
	}
	for l := range strings.Lines(corpusAliases) {
		if name, _, ok := strings.Cut(l, ":"); ok && keyLine(l) && !strings.ContainsAny(name, " \"@(") && utf8.ValidString(name) {
			add(name, name+"@example.com")
		}
	}
	for l := range strings.Lines(corpusVirtusers) {
		if keyLine(l) {
			key := strings.Fields(l)[0]
			add(strings.Replace(key, "++@", "+y@", 1), strings.Replace(key, "@", "+d@", 1))
			if key[0] == '@' {
				add("any"+key, "any+d"+key, "bob"+key)
			}
		}
	}
	for _, host := range []string{"route.example", "a.sub.example", "b.a.sub.example", "sub.example", "loc.example", "loc2.example", "bad.example",
		"nouser.example", "two.example", "x.pre.example", "me.example", "example.org", "user.example", "plain.example", "old.example", "older.example",
		"remote.example", "REMOTE.Example", "remote.example.", "example.com.", "mail.example.com", "mail", "localhost", "nodots", "third.example",
		"[127.0.0.1]", "[192.0.2.9]", "[IPv6:2001:db8::1]", "new.example.REDIRECT", "sub.example.com", "masq.example"} {
		add("bob@"+host, "User.Name@"+host)
	}
	add("second", "dup", "Dup@Example.Com", "BOB", "Root", "POSTMASTER@example.org", "tagged+x", "tagged+x@example.org", "plus+tag", "plus+other", "plus",
		"nodetail+z", "nodetail", "a+b", "a+b+c", "bob+", "bob+x+y", "zoe+work", "zoe+other", "amy+list", "amy+deep", "amy+none", "Zoe+Work",
		"bob%remote.example@example.com", "bob%example.org@example.com", "bob%remote.example", "uu!bob", "uu!bob@example.com", "@example.com:bob@remote.example",
		"<bob@example.com>", "Name <bob@example.com>", `"bob"`, `"bob"@example.com`, `"first last"@example.com`, `"quoted.name"`, `"no such"@example.com`,
		"bob(comment)", "bob@", "@", "bob@@x", "a..b@example.com", ".bob", "bob.", "bob..", "|/bin/x", "/x", ":include:/x", `"|/bin/x"`, "bob@.example.com",
		"bob@example..com", "a;", "bob)", "(bob", "<bob", "bob>", "moved@x.REDIRECT", "Alice.Liddell", "alice_liddell", "erin.smith", "Charlie.Root", "ida.b..wells",
		"dave.d", "mixed", "MIXED", "det+one@example.com", "det+two@example.com", "det@example.com", "det+@example.com", "plus+z@example.com", "wildd+a@example.com",
		"wildd+a+b@example.com", "any+x@v.example", "bob+x@v.example", "local-only@w.example", "any@sub.v.example", "ok@third.example", "ok+1@third.example",
		"info@EXAMPLE.ORG", "Info@V.Example", "-", "--bob", "a=b", "a'b", "a&b", "a#b", "list-a-request", "owner-list-a", "owner-owner", "nobody", "error", "local", "x.y.z")
	return out
}
