package sendmail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func readTable(t testing.TB, text string) (*Table, []string) {
	t.Helper()
	table, problems, err := ReadTable(context.Background(), strings.NewReader(text), &TableOptions{Path: "etc/mail/t"})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, p := range problems {
		found = append(found, show(p))
	}
	return table, found
}

func TestTable(t *testing.T) {
	text := "# comment\nKey\tvalue one \n  stray v\nnovalue\n\nkey other\nB@x.example b # kept\n \t\nlast v"
	table, problems := readTable(t, text)
	var got []string
	for e := range table.Entries() {
		got = append(got, fmt.Sprintf("%d %d %s=%s", e.Line, e.Offset, e.Key, e.Value))
	}
	diff(t, []string{"2 10 Key=value one", "6 44 key=other", "7 54 B@x.example=b # kept", "9 78 last=v"}, got)
	diff(t, []string{"etc/mail/t:3 map-no-key error", "etc/mail/t:4 map-no-value error", "etc/mail/t:6 map-duplicate warning", "etc/mail/t:8 map-no-key error"}, problems)
	if e := table.Lookup("KEY"); e == nil || e.Value != "value one" {
		t.Errorf("the first of two entries counts, not %v", e)
	}
	var back bytes.Buffer
	if _, err := table.WriteTo(&back); err != nil || back.String() != text {
		t.Errorf("written back as %q, %v", back.String(), err)
	}
	if _, _, err := ReadTable(context.Background(), iotest.ErrReader(io.ErrNoProgress), nil); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a failed read: %v", err)
	}
	if _, _, err := ReadTable(context.Background(), strings.NewReader(text), &TableOptions{MaxBytes: 20}); !errors.Is(err, ErrTooBig) {
		t.Errorf("a file past its bound: %v", err)
	}
}

func TestTableViews(t *testing.T) {
	table, _ := readTable(t, corpusVirtusers)
	v, ok := ParseVirtUser(table.Lookup("x@example.com"))
	if !ok || v.Error == nil || *v.Error != (MapError{"5.7.1", 550, "go away"}) || v.Target != "" {
		t.Errorf("%+v %+v", v, v.Error)
	}
	for key, want := range map[string]string{
		"info@example.org": "info  0 example.org bob", "@v.example": "  0 v.example %1@example.com", "det+one@example.com": "det one 1 example.com bob",
		"det+*@example.com": "det  2 example.com carol", "plus++@example.com": "plus  3 example.com dave",
	} {
		v, _ := ParseVirtUser(table.Lookup(key))
		if got := fmt.Sprintf("%s %s %d %s %s", v.User, v.Detail, v.Rule, v.Domain, v.Target); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	if _, ok := ParseVirtUser(&TableEntry{Key: "nodomain"}); ok {
		t.Error("a key without a domain")
	}
	for value, want := range map[string]string{
		"smtp:[relay.example]": "smtp [{relay.example true}] ", "esmtp:hub": "esmtp [{hub false}] ", "local:bob": "local [] bob", "local:": "local [] ",
		"smtp:[a]:b:[c]": "smtp [{a true} {b false} {c true}] ", "hub.example": "relay [{hub.example false}] ", "esmtp:u@h": "esmtp [{h false}] u",
		"[h]": "relay [{h true}] ", "error:nouser:550 no": "error [] ",
	} {
		r := ParseRoute(&TableEntry{Key: ".Sub.Example", Value: value})
		if got := fmt.Sprintf("%s %v %s", r.Mailer, r.Hosts, r.User); got != want || r.Domain != "sub.example" || !r.Below {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
	for text, want := range map[string]string{
		"Connect:192.0.2\tRELAY": "connect 192.0.2 true relay", "From:spam@x.example\tREJECT": "from spam@x.example false reject",
		"To:user@\tERROR:5.1.1:550 gone": "to user@ false error {5.1.1 550 gone}", "x.example\tOK": " x.example false ok",
		"IPv6:2001:db8\tDISCARD": " ipv6:2001:db8 true discard", "Connect:IPv6:2001:db8\tREJECT": "connect ipv6:2001:db8 true reject",
		"x.example\t550 No thanks": " x.example false error { 550 No thanks}", "x\tQUARANTINE:odd": " x false quarantine { 0 odd}",
		"GreetPause:x\t5000": "greetpause x false other", "2001:db8::1\tSKIP": " 2001:db8::1 true skip",
	} {
		table, _ := readTable(t, text+"\n")
		for e := range table.Entries() {
			a := ParseAccess(e)
			got := fmt.Sprintf("%s %s %v %v", a.Tag, a.Key, a.Network, a.Action)
			if a.Error != nil {
				got += fmt.Sprintf(" %v", *a.Error)
			}
			if got != want {
				t.Errorf("%s: %q, want %q", text, got, want)
			}
		}
	}
}

func TestAliasFile(t *testing.T) {
	text := "# c\na: b, \"c d\" <e@f>,\n\t\\g\n\n b\nA: x\nnone\n: y\nempty:\nlong: " + strings.Repeat("x", 10<<20) + "\n tail\nowner-a: q"
	f, problems, err := ReadAliases(context.Background(), strings.NewReader(text), &AliasOptions{Path: "p"})
	if err != nil {
		t.Fatal(err)
	}
	var got, found []string
	for a := range f.Entries() {
		line := fmt.Sprintf("%d+%d@%d %s", a.Line, a.Lines, a.Offset, a.Name)
		for _, target := range a.Targets {
			line += fmt.Sprintf(" %v=%s", target.Type, target.Value)
		}
		got = append(got, line)
	}
	for _, p := range problems {
		found = append(found, show(p))
	}
	diff(t, []string{"2+2@4 a local=b address=e@f backslash=g", "6+1@31 A local=x", fmt.Sprintf("12+1@%d owner-a local=q", strings.Index(text, "owner-a"))}, got)
	diff(t, []string{"p:5 alias-stray-continuation error", "p:6 alias-duplicate warning", "p:7 alias-no-colon error", "p:8 alias-name error",
		"p:9 alias-empty error", "p:10 alias-long-line error"}, found)
	if a := f.Lookup("a"); a == nil || a.Line != 6 {
		t.Errorf("the last of two entries counts, not %v", a)
	}
	var back bytes.Buffer
	if _, err := f.WriteTo(&back); err != nil || back.String() != text {
		t.Error("not written back as it was")
	}
	if _, _, err := ReadAliases(context.Background(), iotest.TimeoutReader(strings.NewReader(text)), nil); err == nil {
		t.Error("a failed read is no error")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := ReadAliases(ctx, strings.NewReader(text), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled context: %v", err)
	}
}

func TestParseTargets(t *testing.T) {
	for list, want := range map[string]string{
		`bob, "|/bin/x -a, b" , |/bin/y -z`:  `local:bob program:/bin/x -a, b program:/bin/y -z`,
		`|"/bin/cat -n"`:                     `program:/bin/cat -n`,
		`/var/a, "/var/b c", /dev/null`:      `file:/var/a file:/var/b c file:/dev/null`,
		`:include:/x, ":include:/y z"`:       `include:/x include:/y z`,
		`:INCLUDE: /x`:                       `include:/x`,
		`a@b (c, d), Name <e@f.g>, "h, i"@j`: `address:a@b address:e@f.g address:"h, i"@j`,
		`\bob, b\ob`:                         `backslash:bob backslash:bob`,
		`there!user, a%b`:                    `address:there!user address:a%b`,
		`"open, x`:                           `malformed:"open, x`,
		`bob), <bob, (bob`:                   `malformed:bob) malformed:<bob malformed:(bob`,
		`,, ,bob,`:                           `local:bob`,
		"J\xf6rg@x, \"a b\"":                 "address:J\xf6rg@x local:a b",
		`(only a comment)`:                   ``,
		"a\x00b":                             "local:a",
	} {
		var got []string
		for _, target := range ParseTargets(list) {
			got = append(got, target.Type.String()+":"+target.Value)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", list, strings.Join(got, " "), want)
		}
	}
}

func TestList(t *testing.T) {
	text := "a, b\r\n#c\n d #@# e\n\n" + strings.Repeat("x,", 1023) + "ab,yz\n\"open\nlast"
	f, problems, err := ReadList(context.Background(), strings.NewReader(text), &ListOptions{Path: "l"})
	if err != nil {
		t.Fatal(err)
	}
	var got, found []string
	for target := range f.Targets() {
		if target.Value != "x" {
			got = append(got, fmt.Sprintf("%d %s", target.Line, target.Value))
		}
	}
	for _, p := range problems {
		found = append(found, show(p))
	}
	diff(t, []string{"1 a", "1 b", "3 d", "5 a", "5 b", "5 yz", "7 last"}, got)
	diff(t, []string{"l:5 list-long-line error", "l:6 list-malformed error"}, found)
	var back bytes.Buffer
	if _, err := f.WriteTo(&back); err != nil || back.String() != text {
		t.Error("not written back as it was")
	}
}

// FuzzTables asks that what is read is written back, and that no entry comes
// from nowhere.
func FuzzTables(f *testing.F) {
	for _, s := range []string{corpusVirtusers, corpusAliasText(), "a: b \\\n c\n d\n", "k v\nk\n v\n", "\"x:9\": z\n", "#@#\n# \\\nx: y", "a\x00: b\n", "\xff:\xfe\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ctx := context.Background()
		table, _, err1 := ReadTable(ctx, strings.NewReader(text), nil)
		aliases, _, err2 := ReadAliases(ctx, strings.NewReader(text), nil)
		list, _, err3 := ReadList(ctx, strings.NewReader(text), nil)
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		for _, w := range []io.WriterTo{table, aliases, list} {
			var back bytes.Buffer
			if _, err := w.WriteTo(&back); err != nil || back.String() != text {
				t.Fatalf("%T: %q became %q", w, text, back.String())
			}
		}
		for e := range table.Entries() {
			if e.Key == "" || e.Value == "" || !strings.HasPrefix(text[e.Offset:], e.Key) {
				t.Fatalf("entry %+v", e)
			}
			ParseVirtUser(e)
			ParseRoute(e)
			ParseAccess(e)
		}
		for a := range aliases.Entries() {
			if a.Text == "" || !strings.HasPrefix(text[a.Offset:], a.Raw) || strings.Count(a.Raw, "\n") > a.Lines {
				t.Fatalf("alias %+v", a)
			}
		}
	})
}

// TestTableLongLine asks that what is behind a line that is too long is a line
// of its own, and that nothing is lost of it.
func TestTableLongLine(t *testing.T) {
	text := "a " + strings.Repeat("x", 1021) + "tail v\nb " + strings.Repeat("x", 1020) + "\nc " + strings.Repeat("x", 10<<20) + "\nd \x00\nlast " + strings.Repeat("y", 1018)
	table, problems := readTable(t, text)
	var got []string
	for e := range table.Entries() {
		got = append(got, fmt.Sprintf("%d %d %s=%.2s", e.Line, e.Offset, e.Key, e.Value))
	}
	diff(t, []string{"1 1023 tail=v", "2 1030 b=xx"}, got)
	diff(t, []string{"etc/mail/t:1 map-long-line error", "etc/mail/t:3 map-long-line error", "etc/mail/t:3 map-no-value error", "etc/mail/t:4 map-nul error",
		"etc/mail/t:5 map-long-line error"}, problems)
	var back bytes.Buffer
	if _, err := table.WriteTo(&back); err != nil || back.String() != text {
		t.Error("not written back as it was")
	}
}

// TestStaleMaps compares a text with the database beside it.
func TestStaleMaps(t *testing.T) {
	f := newFixture(t, map[string]string{
		"etc/passwd": "root:*:0:0::/root:/bin/sh\n", "etc/mail/aliases": "a: b\n", "etc/mail/aliases.db": "x", "etc/mail/virtusertable": "k v\n",
		"etc/mail/virtusertable.db": "x", "etc/mail/mailertable.db": "x", "etc/mail/sendmail.mc": "x",
	})
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"aliases.db", "virtusertable"} {
		if err := os.Chtimes(f.path("etc/mail/"+name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	x, err := f.open().Expander(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range x.Problems() {
		got = append(got, show(p))
	}
	slices.Sort(got)
	diff(t, []string{"etc/mail/aliases.db map-stale warning", "etc/mail/mailertable.db map-without-text error", "etc/mail/sendmail.mc config-without-cf error"}, got)
	f.write("etc/mail/sendmail.cf", "O AliasFile=\nS3\nR$*\t$1\nS0\nR$*\t$#local $: $1\n")
	if err := os.Chtimes(f.path("etc/mail/sendmail.cf"), old, old); err != nil {
		t.Fatal(err)
	}
	if x, err = f.open().Expander(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := x.Problems(); len(p) != 1 || show(p[0]) != "etc/mail/sendmail.mc config-stale warning" {
		t.Errorf("an old sendmail.cf: %v", p)
	}
}
