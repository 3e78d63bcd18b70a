package sendmail

import "strings"

const featureList = `bob
carol, dave # not comment
 erin
	frank
# comment
 # not a comment
grace #@# comment
"Heidi H" <heidi@example.com>
ivan@remote.example (note)

:include:/etc/mail/lists/two
"|/bin/listprog x, y"
/var/mail/listfile
\carol
`

const featureVirtusers = `info@v.example	bob
sales@v.example	carol@remote.example
err@v.example	error:nouser No such user here
err2@v.example	error:5.7.0:550 Custom text with: colon
err3@v.example	error:nouser 550 5.1.1 With code
err4@v.example	error:550 5.7.1 Text
err5@v.example	error:tempfail:450 4.3.0 later
err6@v.example	error:unavailable
err7@v.example	error:nohost no host
err8@v.example	error:protocol bad
err9@v.example	error:5.1.1 text
err10@v.example	error: "quoted text"
all+*@v.example	dave
all@v.example	erin
ex+tra@v.example	a1
ex++@v.example	carol+%2
ex@v.example	dave%3
@w.example	%1@example.com
one@w.example	bob+%1
two@w.example	%1%2%3@remote.example
loc@example.com	\bob
bob+v@example.com	virt-bob@remote.example
Case@Example.Org	carol
org@example.org	org@example.com
org@example.com	org@last.example
org@last.example	frank
prog@v.example	|/bin/x
prog2@v.example	"|/bin/x y"
file@v.example	/var/mail/x
inc@v.example	:include:/etc/mail/lists/two
many@v.example	bob, carol
name@v.example	Bob <bob@remote.example>
pct@v.example	100%%@remote.example
pct2@v.example	%1%@remote.example
route@v.example	@a.example:x@b.example
bang@v.example	a!b
a.b@v.example	bob
+det@v.example	detbob
+*@w.example	detany%2
x@sub.v.example	carol
"q q"@v.example	bob
@last.example	catch@remote.example
@two.example	bob
@spaced.example	%1+%2@example.com
keep@two.example	keep@two.example
self@v.example	self@v.example
`

const featureRoutes = `route.example	smtp:[relay.example]
.sub.example	esmtp:hub.example
deep.sub.example	smtp:deep.example
loc.example	local:bob
loc2.example	local:
loc3.example	local:%1
.loc4.example	local:%1
bad.example	error:5.7.1:550 closed today
bad2.example	error:nouser No such host
bad3.example	error:554 nothing
bad4.example	error:host unknown
plain.example	mail.hub.example
brackets.example	[hub.example]
port.example	smtp:[hub.example]:2525
two.example	smtp:one.example
multi.example	smtp:one.example:two.example
proc.example	procmail:/etc/procmailrcs/x
user.example	esmtp:u@hub.example
relay.example	relay:[192.0.2.5]
v6.example	smtp:[IPv6:2001:db8::1]
.pre.example	esmtp:%1.hub.example
me.example	esmtp:mail.example.com
none.example	nonesuch:hub
uu.example	uucp-dom:uuhost
CAPS.Example	SMTP:[Caps.Example]
suffix.example	smtp:%0.x.example
disc.example	discard:x
`

// featureHost is the host of the configurations that try the FEATUREs.
func featureHost(t sampleTree) {
	t.file("etc/mail/local-host-names", "example.com\nexample.org\n  spaced.example\nTWO.Example extra words\n#commented.example\nlast.example")
	t.file("etc/mail/virtuser-domains", "v.example\nw.example\n")
	t.file("etc/mail/aliases", featureAliases)
	t.file("etc/mail/lists/one", featureList)
	t.file("etc/mail/lists/two", "judy\nlists-two@remote.example")
	t.file("etc/mail/lists/nested", ":include:/etc/mail/lists/one\n:include:two\n:include:/etc/mail/lists/nested\n")
	t.file("etc/mail/virtusertable", featureVirtusers)
	t.file("etc/mail/mailertable", featureRoutes)
	t.file("etc/mail/domaintable", "old.example\texample.com\nolder.example\tremote.example\nhost\thost.remote.example\nchain.example\told.example\nOLD2.example\tExample.ORG\n.dot.example\texample.com\n")
	t.file("etc/mail/genericstable", "bob\tRobert@masq.example\n")
	t.file("etc/mail/access", "To:blocked@remote.example\tREJECT\nblocked@example.com\t550 no\nTo:carol@\tREJECT\n")
	t.file("etc/mail/bitdomain", "bithost\tbit.remote.example\n")
	t.file("etc/mail/uudomain", "uuhost\tuu.remote.example\n")
	t.file("etc/mail/domainmap", "dmap.example\tdm\n")
	t.file("etc/mail/short", "k:v\n")
	const sh = "/bin/sh"
	f := func(text string) map[string]node { return map[string]node{".forward": {text: text}} }
	for i, u := range []struct {
		name, gecos, shell string
		files              map[string]node
	}{
		{"alice", "Alice Liddell", sh, nil},
		{"bob", "Bob Smith,Room 5,555", sh, nil},
		{"carol", "& Jones", sh, nil},
		{"dave", "Dave", sh, f("dave@remote.example\n")},
		{"erin", "Erin Work", sh, map[string]node{".forward": {text: "erin@remote.example"}, ".forward+work": {text: "work@remote.example\n"}, ".forward.mail": {text: "host@remote.example\n"}}},
		{"frank", "", sh, f("\\frank\n\"|/usr/bin/vacation -a fr frank\"\n")},
		{"grace", "", sh, f("grace@example.org, copy@remote.example\n")},
		{"heidi", "", sh, f("\"|IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #heidi\"\n")},
		{"ivan", "", sh, f("# only\n   \n\t\n")},
		{"judy", "", "/bin/nosuch", f("|/bin/x\njudy2@remote.example\n")},
		{"ken", "", sh, f("\\ken,ken@remote.example")},
		{"lara", "", sh, f("a1\na72, a71\n")},
		{"mike", "", sh, f(":include:/etc/mail/lists/two\n")},
		{"nina", "", sh, f("nina\n")},
		{"olaf", "", sh, f("OLAF\n")},
		{"pia", "", sh, f("quin\n")},
		{"quin", "", sh, f("pia, quin2@remote.example\n")},
		{"rob", "", sh, f("\"\\rob\", rob@remote.example\n")},
		{"sue", "", sh, f("sue@example.com (me)\n\"Sue S\" <sue@remote.example>\n")},
		{"tom", "", sh, f("/home/tom/mbox\n\"/home/tom/my box\"\n/dev/null\n")},
		{"ute", "", sh, f("ute@remote.example\r\nute2@remote.example\r\n\r\n")},
		{"vera", "", sh, f("bob;carol\n")},
		{"wim", "", sh, f("bob carol\n")},
		{"xaver", "", sh, f("b\xf6b@remote.example\n")},
		{"yan", "", sh, f("bob\x00carol\nfrank\n")},
		{"zac", "", sh, f("bob \\\ncarol\n")},
		{"ann", "", sh, f("ann+x\n")},
		{"bea", "", sh, f("|/bin/a b, c\n|\"/bin/d e, f\"\n\"|/bin/g\",|/bin/h\n")},
		{"cid", "", sh, f("remote.example!cid\ncid%remote.example\n@a.example:cid@b.example\n")},
		{"don", "", sh, f("don@mail.example.com\ndon@localhost\ndon@[127.0.0.1]\ndon\n")},
		{"ema", "", sh, f("\xef\xbb\xbfema@remote.example\n")},
		{"flo", "", sh, f("group: bob, carol;\n")},
		{"gil", "", sh, f("nosuch1, nosuch2\n")},
		{"hue", "", sh, f("nosuch1, bob\n")},
		{"ian", "", sh, f("\"|/bin/x")},
		{"jon", "", sh, f(strings.Repeat("jon@remote.example, ", 200) + "bob\n")},
		{"kit", "", sh, f(",,bob,, ,carol,\n")},
		{"lea", "", sh, f("  bob\n\tcarol\n #dave\n")},
		{"mia", "", sh, f("owner-list\nlist\n")},
		{"ned.k", "Ned Kelly", sh, f("ned@remote.example\n")},
		{"o-p_q", "", sh, nil},
		{"Rex", "Rex Upper", sh, f("rex@remote.example\n")},
		{"detb", "", sh, nil},
		{"detbob", "", sh, nil},
	} {
		t.user(u.name, 1000+i, u.gecos, u.shell, u.files)
	}
}

// featureAddresses are all names of that host, in the forms in which mail can
// come for them.
func featureAddresses() []string {
	var out []string
	h := sampleTree{"etc/passwd": {}}
	featureHost(h)
	for l := range strings.Lines(h["etc/passwd"].text) {
		name, _, _ := strings.Cut(l, ":")
		out = append(out, name, name+"+work@example.com", name+"@w.example")
	}
	for l := range strings.Lines(featureAliases) {
		if name, _, ok := strings.Cut(l, ":"); ok && keyLine(l) {
			out = append(out, strings.TrimSpace(name))
		}
	}
	for l := range strings.Lines(h["etc/mail/virtusertable"].text) {
		key := strings.Fields(l)[0]
		out = append(out, strings.Replace(key, "++@", "+y@", 1), strings.Replace(key, "@", "+d@", 1), "z"+key)
	}
	for l := range strings.Lines(h["etc/mail/mailertable"].text) {
		key := strings.Fields(l)[0]
		out = append(out, "bob@"+key, "bob@pre"+key, "bob@a.b"+key)
	}
	for _, d := range []string{"old.example", "older.example", "host", "chain.example", "OLD2.example", ".dot.example", "x.dot.example", "spaced.example", "TWO.Example", "extra", "commented.example", "last.example", "dmap.example", "bithost.BITNET", "uuhost.UUCP", "bit", "in.inside.example", "inside.example", "x.fax", "y.CSNET", "z.DECNET", "localhost.localdomain", "sub.example.com", "mydomain.example", "w.example", "sub.w.example", "bithost", "uuhost", "news.usenet", "mail.example.com:25"} {
		out = append(out, "bob@"+d, "nosuch@"+d, "Bob.Smith+x@"+d)
	}
	out = append(out, "uuhost!bob", "a!b!c", "a!b@example.com", "a!b@remote.example", "example.com!bob", "mail!bob", "mail.example.com!x!bob", "bob%a%b", "bob%a@example.com", "bob%example.com@example.org", "bob%%example.com",
		"@example.com:bob@example.org", "@a.example,@b.example:bob@c.example", "@example.com,@example.org:bob@example.com", "@example.com:bob", "node::bob", "node::bob@example.com", "a:b", "bob:example.com",
		"list-request", "bob+list@example.com", "x+list@example.com", "special", "special-x", "special.x@example.com", "old bob", "bob smith", "Bob Smith", "\"Bob Smith\"", "Bob_Smith", "Bob.Smith", "bob.smith", "ERIN_WORK", "carol.jones", "Carol_Jones", "ned.kelly", "Ned_Kelly",
		"root@example.com", "postmaster@v.example", "postmaster@w.example", "abuse@v.example", "root+x", "root@mail", "x@y@z", "x@y@example.com", "first last", "\"first last\"", "first.last", "first.last@example.org",
		"bob@[127.0.0.1]", "bob@[192.0.2.1]", "bob@[mail.example.com]", "bob@[example.com]", "bob@[]", "bob@[::1]", "bob@1.2.3.4", "bob@127.0.0.1", "bob@example.com.", "bob@EXAMPLE.COM", "BOB@example.com", "Bob+X@Example.Com",
		"bob@example", "bob@com", "bob.@example.com", ".bob@example.com", "bo..b@example.com", "bob@-x.example", "bob@x_y.example", "bob,carol", "bob@example.com,carol", "bob;carol", "(bob)", "bob(x)@example.com(y)", "<bob>", "<<bob>>", "<bob>x", "x<bob>", "x<bob>y", "\"x\"<bob@v.example>",
		"<info@v.example>", "Info <info@V.EXAMPLE>", "@v.example", "info@", "+@v.example", "+x@w.example", "+x@v.example", "a+@v.example", "all+@v.example", "all+x+y@v.example", "ex+tra@v.example", "ex+tra2@v.example", "ex+@v.example", "EX+TRA@v.example",
		"|/bin/x", "\"|/bin/x y\"", "/var/mail/x", ":include:/etc/mail/lists/one", "\\bob", "\\Bob", "\\nosuch", "b\\ob", "\\a1", "\\a1@example.com", "\\bob@remote.example", "\"\\bob\"", "x\\@y", "frank.pop", "fax@x.fax", "group.usenet", "grp@news.usenet", "nobody", "daemon", "x"+strings.Repeat("y", 100), strings.Repeat("a", 300)+"@remote.example", "x@"+strings.Repeat("b", 260)+".example",
		"b\xf6b", "b\xf6b@example.com", "b\xf6b@remote.example", "j\xf6rg", "J\xd6RG", "x\x7fy", "\xff", "a\tb", "a  b", " bob ", "bob@ example.com", "bob @example.com", "bob@remote.example ", "=?x?=", "a=b@c", "a/b@c.example", "S=Bob/O=x/@gw.example", "{bob}", "$bob", "$j", "bob$x", "bob*", "*", "?", "'bob'", "`bob`", "bob&carol", "bob|carol", "bob^x", "bob~", "~bob", "#bob", "bob#x", "100%", "%", "!", "a!", "!a", "a!@b", "::", ":", ";", ",", ".", "..", "[x]", "]", "[", "\"\"", "\"", "\\", "\"a", "a\"", "a\"b\"c", "\"a\"b", "\"a\".b", "a.\"b\"", "\"a\".b@example.com", "\"bob\"@v.example", "\"info\"@v.example", "in\\fo@v.example",
		"blocked@remote.example", "blocked@example.com", "carol@remote.example", "user@remote.example.REDIRECT", "bob@example.com.REDIRECT", "bob.REDIRECT", "bob@REDIRECT", "bob@x.redirect")
	return out
}
