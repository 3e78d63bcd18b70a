package sendmail

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func mustExpand(t *testing.T, x *Expander, address string) *Expansion {
	t.Helper()
	e, err := x.Expand(context.Background(), address)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestExpansion looks at what sendmail -bv does not tell: the way, the sender,
// who runs a program.
func TestExpansion(t *testing.T) {
	host := newSampleHost(t, "plain")
	corpusHost(host)
	x := host.expander(t)
	describe := func(address string) (out []string) {
		for _, d := range mustExpand(t, x, address).Deliveries {
			line := fmt.Sprintf("%v %s sender=%q detail=%q", d.Kind, d.Target(), d.Sender, d.Detail)
			if d.As != nil {
				line += " as " + d.As.Name
			}
			for _, s := range d.Via {
				line += fmt.Sprintf(" <%s %s %s>", s.Kind, s.Name, s.Path)
			}
			out = append(out, line)
		}
		return out
	}
	for address, want := range map[string][]string{
		"grace": {
			`mailbox grace sender="" detail="" <forward grace home/grace/.forward>`,
			`program /usr/bin/vacation grace sender="" detail="" as grace <forward grace home/grace/.forward>`,
		},
		"bob+x@example.com": {`mailbox bob sender="" detail="x" <rules bob+x etc/mail/sendmail.cf> <rules bob+* etc/mail/sendmail.cf> <rules bob etc/mail/sendmail.cf>`},
		"list-bobs":         {`program /bin/prog sender="" detail="" as bob <alias list-bobs etc/mail/aliases> <include /etc/mail/lists/bobs etc/mail/lists/bobs>`},
		"prog2":             {`program /bin/cat.-n sender="" detail="" <alias prog2 etc/mail/aliases>`},
		"null":              {`file /dev/null sender="" detail="" <alias null etc/mail/aliases>`},
		"x@remote.example":  {`remote x@remote.example sender="" detail=""`},
		"x@example.com":     {`error go away sender="" detail=""`},
	} {
		t.Run(address, func(t *testing.T) {
			got := describe(address)
			if len(got) == 2 && got[0] > got[1] {
				got[0], got[1] = got[1], got[0]
			}
			diff(t, want, got)
		})
	}
	for address, sender := range map[string]string{"list-a": "bob", "list-b": "owner-list-b", "second": ""} {
		for _, d := range mustExpand(t, x, address).Deliveries {
			if d.Sender != sender && d.User != "frank@remote.example" {
				t.Errorf("%s: sender %q for %s, want %q", address, d.Sender, d.Target(), sender)
			}
		}
	}
	for address, code := range map[string]string{
		"una": "forward-refused", "ugo": "forward-refused", "rita": "forward-refused", "sam": "forward-refused", "xena": "forward-refused",
		"list-fifo": "include-refused", "loop1": "alias-loop",
	} {
		e := mustExpand(t, x, address)
		if len(e.Problems) == 0 || e.Problems[0].Code != codePrefix+code {
			t.Errorf("%s: %v", address, e.Problems)
		}
	}
	if e := mustExpand(t, x, "x@example.com"); e.Deliveries[0].Status != "5.7.1" || e.Deliveries[0].Code != 550 {
		t.Errorf("%+v", e.Deliveries[0])
	}
}

// TestExpanderSettings reads what the mapping to another system asks for.
func TestExpanderSettings(t *testing.T) {
	host := newSampleHost(t, "relay")
	corpusHost(host)
	host.file("etc/mail/relay-domains", "partner.example\n192.0.2\n")
	x := host.expander(t)
	if v, line := x.Option("AliasFile"); v != "/etc/mail/aliases,/etc/mail/lists/aliases" || line == 0 {
		t.Errorf("AliasFile %q in line %d", v, line)
	}
	for name, want := range map[string]string{"S": "smtp:[smart.example]", "L": "relay:luser.example", "M": "masq.example", "j": "mail.example.com", "H": ""} {
		if got := x.Macro(name); got != want {
			t.Errorf("macro %s is %q, want %q", name, got, want)
		}
	}
	if !x.InClass("w", "Example.COM") || !x.InClass("VirtHost", "v.example") || !x.InClass("R", "partner.example") || x.InClass("w", "remote.example") {
		t.Error("classes")
	}
	found := false
	for _, w := range x.Class("R") {
		found = found || w == ClassWord{"192.0.2", "etc/mail/relay-domains", 2}
	}
	if !found {
		t.Errorf("class R: %v", x.Class("R"))
	}
	if x.Table("virtuser") == nil || x.Table("mailertable") == nil || x.Table("nonesuch") != nil {
		t.Error("tables")
	}
	names := map[string]int{}
	for a := range x.Aliases() {
		names[lower(a.Name)]++
		if a.Name == "dup" && a.Text != "alice" {
			t.Errorf("of two aliases %q counts", a.Text)
		}
	}
	if names["dup"] != 1 || names["list-a"] != 1 || names["second"] != 1 || names["foreign@remote.example"] != 0 {
		t.Errorf("aliases: %v", names)
	}
}

// TestStandardRules expands on a host without sendmail.cf, by our own rules, as
// the real program did by those of plain.mc.
func TestStandardRules(t *testing.T) {
	host := newSampleHost(t, "plain")
	corpusHost(host)
	delete(host, "etc/mail/sendmail.cf")
	aliases := host["etc/mail/aliases"]
	aliases.text += "second: bob\n" // as in the other file, which is not looked for
	host["etc/mail/aliases"] = aliases
	x := host.expander(t)
	want := readVerdicts(t, "plain")
	compared := 0
	for _, a := range []string{"alice", "bob@example.org", "BOB", "dave", "grace", "zoe+work", "bob+work@example.com", "list-a", "list-b", "second", "prog", "file", "null", "esc", "two",
		"three", "loop1", "moved", "remote", "info@example.org", "any@v.example", "none@example.com", "det+two@example.com", "sales@example.com", "catch@w.example",
		"bob@route.example", "bob@a.sub.example", "bob@sub.example", "bob@loc.example", "bob@bad.example", "bob@remote.example", "bob@old.example", "nosuch", "Name <bob@example.com>"} {
		verdicts, ok := want[a]
		if !ok {
			continue
		}
		compared++
		clean := func(lines []string) string { // a final dot of a host says nothing
			return strings.ReplaceAll(strings.Join(lines, "\n"), ".,", ",")
		}
		if got := verdict(t, x, a); clean(got) != clean(verdicts) {
			t.Errorf("%q:\n got %q\nwant %q", a, got, verdicts)
		}
	}
	if compared < 25 {
		t.Errorf("only %d addresses", compared)
	}
}

// TestExpandHostile bounds what a host can cost.
func TestExpandHostile(t *testing.T) {
	host := newSampleHost(t, "plain")
	var b strings.Builder
	for i := range 12 {
		fmt.Fprintf(&b, "m%d:", i)
		for range 40 {
			fmt.Fprintf(&b, " :include:/etc/mail/lists/%d,", i+1)
		}
		b.WriteString("\n")
		var list strings.Builder
		for j := range 300 {
			fmt.Fprintf(&list, "u%d-%d@remote.example\nm%d\n", i, j, i+1)
		}
		host.file(fmt.Sprintf("etc/mail/lists/%d", i), list.String())
	}
	b.WriteString("long: " + strings.Repeat("x,", 5<<20) + "\nafter: root\n")
	b.WriteString("deep: " + strings.Repeat("<", 4000) + "\nparens: " + strings.Repeat("(", 4000) + "\nops: " + strings.Repeat("@.", 2000) + "\n")
	host.file("etc/mail/aliases", b.String())
	host.user("eve", 1000, "", "/bin/sh", map[string]node{".forward": {text: strings.Repeat("\x00\xff@", 100_000)}})
	for i, text := range []string{"\"x\n", ")", "\n", "a,", "@", "|/bin/x\n", ":include:/x\n"} {
		host.user(fmt.Sprintf("eve%d", i), 2000+i, "", "/bin/sh", map[string]node{".forward": {text: strings.Repeat(text, 4<<20/len(text))}})
	}
	host.user("fifo", 1001, "", "/bin/sh", map[string]node{".forward": {mode: fs.ModeNamedPipe}})
	x := host.expander(t)
	long := false
	for _, p := range x.Problems() {
		long = long || errors.Is(p.Err, ErrLongLine)
	}
	if !long || x.alias("after") == nil || x.alias("long") != nil {
		t.Errorf("the long line: %v", x.Problems())
	}
	begin := time.Now()
	for _, a := range []string{"m0", "deep", "parens", "ops", "eve", "eve0", "eve1", "eve2", "eve3", "eve4", "eve5", "eve6", strings.Repeat("a,", 1<<20), "fifo", "after", strings.Repeat("a@", 2000), strings.Repeat("%", 900) + "@example.com", "a\x00b", "\xff@\xfe"} {
		if e := mustExpand(t, x, a); len(e.Deliveries) > maxRecipients+maxTokens || len(e.Problems) > maxProblems || len(e.Deliveries) == 0 {
			t.Errorf("%.20q: %d deliveries", a, len(e.Deliveries))
		}
	}
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := x.Expand(ctx, "m0"); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}

// TestExpandRulesWithoutEnd asks that no configuration hangs.
func TestExpandRulesWithoutEnd(t *testing.T) {
	for name, rules := range map[string]string{
		"turn":    "S3\nR$*\t$1\nS0\nR$*\t$#local $: $1\n",
		"grow":    "S3\nR$*\t$1 $1 x\nS0\nR$*\t$#local $: $1\n",
		"call":    "S3\nR$*\t$: $>3 $1\nS0\nR$*\t$#local $: $1\n",
		"match":   "S3\nR$* a $* b $* c $* d $* e $* f $* g\t$: $1\nS0\nR$*\t$#local $: $1\n",
		"garbage": "S3\nR$( $) $[ $] $> $=\t$( $) $] $>\nS0\nR$*\t$# $@ $: $&{ $1 $9\nK\nM\nO\nC\nF\nD\n",
	} {
		host := newSampleHost(t, "")
		host.file("etc/mail/sendmail.cf", "O OperatorChars=.:%@!^/[]+\nMlocal, F=lsDFMAw5:/|@\n"+rules)
		x := host.expander(t)
		begin := time.Now()
		mustExpand(t, x, strings.Repeat("a b c d e f ", 20)+"root@example.com")
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, a := range []string{"bob", "\"a b\"@v.example", "<x>", "a%b@example.com", "@a:b@c", "x+y+z@example.com", "(c)", "\\bob", "bob@[1.2.3.4]", "\x00", "\xff"} {
		f.Add(a, "list: bob, \""+a+"\"\n", "x@y\t"+a+"\n", a+"\n")
	}
	config := configText(f, "plain")
	f.Fuzz(func(t *testing.T, address, aliases, virtusers, forward string) {
		host := sampleTree{}
		host.file("etc/passwd", "root:x:0:0:r:/root:/bin/sh\n")
		host.file("etc/mail/local-host-names", "example.com\nv.example\n")
		host.file("etc/mail/sendmail.cf", config)
		host.file("etc/mail/aliases", aliases)
		host.file("etc/mail/virtusertable", virtusers)
		host.user("bob", 1000, "", "/bin/sh", map[string]node{".forward": {text: forward}})
		x := host.expander(t)
		for _, a := range []string{address, "bob", "list"} {
			e, err := x.Expand(context.Background(), a)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range e.Deliveries {
				if d.Kind == DeliverError && d.Text == "" && d.Status == "" || d.Kind == DeliverMailbox && d.Account == nil && d.Mailer == localMailer {
					t.Fatalf("%q: %+v", a, d)
				}
			}
		}
	})
}

// FuzzConfig reads any text as a sendmail.cf.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{"S3\nR$*\t$1\nS0\nR$+\t$#local $: $1\n", "Dj$w.$m\nCw$j\nKx hash -a<> /y\nR$+ $| $#ok\t$@ $>a $(x $1 $@ b $: c $)\n", "O AliasFile=/a,hash:/b\nOA/c\n", standardRules} {
		f.Add(s, "bob@example.com")
	}
	f.Fuzz(func(t *testing.T, text, address string) {
		host := sampleTree{}
		host.file("etc/passwd", "root:x:0:0:r:/root:/bin/sh\n")
		host.file("etc/mail/sendmail.cf", text)
		x := host.expander(t)
		if _, err := x.Expand(context.Background(), address); err != nil {
			t.Fatal(err)
		}
	})
}
