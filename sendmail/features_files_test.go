package sendmail

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
)

// modesHost is the host of the configurations about files and options: files of
// every mode in directories of every mode.
func modesHost(t sampleTree) {
	featureHost(t)
	t.file("etc/mail/short", "a.example:smtp:[s.example]\nroute.example:esmtp:text.example\n# c:d\n")
	t.file("etc/mail/lists/aliases", "dup: carol\nsecond: bob\nl-open: :include:/etc/mail/open/list\nl-grp: :include:/etc/mail/groupdir/list\nl-gw: :include:/etc/mail/lists/group\nl-ww: :include:/etc/mail/lists/world\n"+
		"l-link: :include:/etc/mail/open/link\nl-sticky: :include:/etc/mail/sticky/list\nl-bobs: :include:/etc/mail/lists/bobs\nl-nobody: :include:/etc/mail/lists/nobodys\nl-secret: :include:/etc/mail/lists/secret\nl-deep: :include:/etc/mail/lists/d1\n"+
		"c1: c2\nc2: c3\nc3: c4\nc4: c5\nc5: bob\n|\"/bin/odd\": x\ndirs: :include:/etc/mail, :include:/etc/mail/lists/\nl-hard: :include:/etc/mail/open/hard\n")
	t["etc/mail/lists/secret"] = node{text: "bob\n", mode: 0o600}
	t["etc/mail/lists/world"] = node{text: "bob, \"|/bin/prog\"\n", mode: 0o666}
	t["etc/mail/lists/group"] = node{text: "bob, \"|/bin/prog\"\n", mode: 0o664}
	t["etc/mail/lists/bobs"] = node{text: "\"|/bin/prog\", /tmp/x, frank\n", uid: 1001}
	t["etc/mail/lists/nobodys"] = node{text: "\"|/bin/prog\", bob\n", uid: 4242}
	t.file("etc/mail/lists/d1", ":include:/etc/mail/lists/d2\n")
	t.file("etc/mail/lists/d2", ":include:/etc/mail/lists/d3\n")
	t.file("etc/mail/lists/d3", ":include:/etc/mail/lists/d4\n")
	t.file("etc/mail/lists/d4", "bob\n")
	t["etc/mail/open"] = node{mode: fs.ModeDir | 0o777}
	t.file("etc/mail/open/list", "bob, \"|/bin/prog\"\n")
	t["etc/mail/open/link"] = node{link: "list"}
	t.file("etc/mail/open/other", "bob, \"|/bin/prog\"\n")
	t["etc/mail/open/hard"] = node{same: "etc/mail/open/other"}
	t["etc/mail/sticky"] = node{mode: fs.ModeDir | fs.ModeSticky | 0o777}
	t.file("etc/mail/sticky/list", "bob, \"|/bin/prog\"\n")
	t["etc/mail/groupdir"] = node{mode: fs.ModeDir | 0o775}
	t.file("etc/mail/groupdir/list", "bob, \"|/bin/prog\"\n")
	al := t["etc/mail/aliases"]
	al.text += "dup: frank\nc1: c2\nl-world: second\n"
	for _, l := range strings.Split(strings.TrimSpace(t["etc/mail/lists/aliases"].text), "\n") {
		if strings.HasPrefix(l, "l-") || strings.HasPrefix(l, "c") || strings.HasPrefix(l, "dirs") {
			al.text += "x" + l + "\n"
		}
	}
	t["etc/mail/aliases"] = al
	t["var/mail/fwd"] = node{mode: fs.ModeDir | 0o755}
	t["var/mail/fwd/alice"] = node{text: "alice-fwd@remote.example\n", uid: 1000}
	t["var/mail/fwd/bob"] = node{text: "bob-fwd@remote.example\n"}
	t["var/mail/fwd/carol"] = node{text: "carol-fwd@remote.example\n", uid: 1000}
	i := 2000
	for _, mode := range []fs.FileMode{0o644, 0o664, 0o666, 0o600, 0o755, 0o4644} {
		for _, home := range []fs.FileMode{0o755, 0o775, 0o777, 0o700, 0o1777} {
			m := home.Perm()
			if home&0o1000 != 0 {
				m |= fs.ModeSticky
			}
			name := fmt.Sprintf("h%03o%o", mode.Perm(), home)
			t.user(name, i, "", "/bin/sh", map[string]node{".": {mode: m}, ".forward": {text: "\\" + name + ", " + name + "@remote.example, \"|/bin/prog " + name + "\"\n", mode: mode.Perm()}})
			i++
		}
	}
	t.user("lnk", 3000, "", "/bin/sh", map[string]node{".": {mode: 0o775}, ".forward": {link: "f"}, "f": {text: "lnk@remote.example\n"}})
	t.user("nohome", 3001, "", "/bin/sh", nil)
	delete(t, "home/nohome")
	t.user("nosh", 3002, "", "", map[string]node{".forward": {text: "\"|/bin/x\"\n"}})
	t.user("fw", 3003, "Fw User", "/bin/sh", map[string]node{".fw-fw+d": {text: "fwd@remote.example\n"}, ".forward": {text: "a@remote.example\nb@remote.example, c@remote.example\nd@remote.example\n"}})
	p := t["etc/passwd"]
	p.text += "slash:x:3005:3005::/:/bin/sh\nempty:x:3006:3006:::/bin/sh\nrel:x:3007:3007::home/rel:/bin/sh\n12345:x:3008:3008:Digit Only:/home/bob:/bin/sh\nUPPER:x:3009:3009:Upper Case:/home/none:/bin/sh\ndup1:x:3010:3010:Same Name:/x:/bin/sh\ndup2:x:3011:3011:same name:/x:/bin/sh\namp:x:3012:3012:& Van & Halen, room:/x:/bin/sh\nstar:x:3013:3013:*Old Style;x:/x:/bin/sh\nparen:x:3014:3014:Paren (Man) Name:/x:/bin/sh\n"
	t["etc/passwd"] = p
	t.file("etc/mail/genericstable", "org@example.com\tq\nn@v.example\tn\n")
	t.file("etc/mail/access", "bob yes\ncarol no\n")
}

func modesAddresses() []string {
	h := sampleTree{"etc/passwd": {}}
	modesHost(h)
	var out []string
	for l := range strings.Lines(h["etc/passwd"].text) {
		name, _, _ := strings.Cut(l, ":")
		out = append(out, name, name+"+d@example.com", `\`+name)
	}
	for _, l := range strings.Split(h["etc/mail/lists/aliases"].text+h["etc/mail/aliases"].text, "\n") {
		if name, _, ok := strings.Cut(l, ":"); ok && keyLine(l) {
			out = append(out, strings.TrimSpace(name))
		}
	}
	for i := 1; i <= 17; i++ {
		for _, x := range []string{"bob", "bob carol", "bob+carol", "x", "Carol"} {
			out = append(out, fmt.Sprintf("q%d+%s@example.com", i, x))
		}
	}
	out = append(out, "org@example.com", "n@v.example", "bob@a.example", "bob@route.example", "bob@b.example", "Same_Name", "same-name", "Amp.Van.Amp.Halen", "amp_van_amp_halen", "amp-van-amp-halen", "old_style", "old-style", "paren_(man)_name", "\"paren (man) name\"", "paren-name", "upper", "Upper", "UPPER", "digit_only", "upper_case", "bob_smith", "Bob-Smith", "bob.smith", "\"Bob Smith\"",
		"bob carol", "bob%carol", "bob%carol@example.com", "bob x@remote.example", "a b, c", "erin work", "smith bob", "bob.smith@example.com")
	return out
}

// mangledHost has aliases, .forward files and addresses put together of pieces
// at random.
func mangledHost(t sampleTree) []string {
	r := rand.New(rand.NewPCG(3, 3))
	pieces := []string{"bob", "carol", "dave", "@", "example.com", "remote.example", ",", ", ", " ", "\t", "(", ")", "<", ">", `"`, `\`, ":", ";", "%", "!", "+", ".", "/", "|", "[", "]", "'", "192.0.2.1",
		":include:", "/etc/mail/lists/two", "x", "~", "#", "@a.example:", "\xf6", "\x95", "REDIRECT", "=", "*", "localhost", "&", "$"}
	text := func() string {
		var b strings.Builder
		for range 1 + r.IntN(9) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		return b.String()
	}
	featureHost(t)
	var addresses []string
	var aliases strings.Builder
	aliases.WriteString("postmaster: root\nbob+x: carol\n")
	for i := range 250 {
		if a := strings.TrimSpace(text()); a != "" && a[0] != '-' && !slices.Contains(addresses, a) {
			addresses = append(addresses, a)
		}
		fmt.Fprintf(&aliases, "z%d: %s\n", i, strings.TrimRight(text(), `\`))
		addresses = append(addresses, fmt.Sprintf("z%d", i))
	}
	t.file("etc/mail/aliases", aliases.String())
	for i := range 100 {
		name := fmt.Sprintf("w%d", i)
		t.user(name, 5000+i, "", "/bin/sh", map[string]node{".forward": {text: text() + "\n" + text() + "\n"}})
		addresses = append(addresses, name)
	}
	return addresses
}
