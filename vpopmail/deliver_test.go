//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/maildir"
)

const mailDomain = "VPOPMAIL/domains/example.com/"

// mailHost has the domain example.com, its alias example.net, and the accounts
// ann, bob (10,000 bytes) and ann-list.
func mailHost(t *testing.T) *host {
	t.Helper()
	h := newHost(t, DefaultProfile54(), controlBefore)
	s := h.open()
	if _, err := s.AddDomain(t.Context(), testSpec("example.com"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddAliasDomain(t.Context(), "example.com", "example.net", nil); err != nil {
		t.Fatal(err)
	}
	for _, n := range []NewUser{{Name: "ann", Clear: "pw"}, {Name: "bob", Clear: "pw", Quota: "10000S"}, {Name: "ann-list", Clear: "pw"}} {
		if _, err := s.AddUser(t.Context(), "example.com", n); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func to(ext string) Incoming {
	return Incoming{Ext: ext, Host: "example.com", CatchAll: "bounce-no-mailbox",
		RPLine: "Return-Path: <s@example.org>\n", DTLine: "Delivered-To: example.com-" + ext + "@example.com\n"}
}

// tell writes a plan down in one line.
func (p *DeliveryPlan) tell() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", p.Address, p.By)
	if p.File != "" {
		fmt.Fprintf(&b, " [%s]", strings.TrimPrefix(p.File, "/home/vpopmail/domains/"))
	}
	for _, st := range p.Steps {
		fmt.Fprintf(&b, " %s=%s", st.Kind, strings.TrimPrefix(st.Arg, "/home/vpopmail/domains/"))
	}
	fmt.Fprintf(&b, " %d", p.Status)
	if p.Err != nil {
		fmt.Fprintf(&b, " <%v>", p.Err)
	}
	for _, q := range p.Problems {
		fmt.Fprintf(&b, " (%s %d)", q.Code, q.Line)
	}
	return b.String()
}

func TestDeliveryPlan(t *testing.T) {
	h := mailHost(t)
	h.write(mailDomain+"ann-list/.qmail", "# list\n|filter\n\n&x@example.org\n./Maildir/.In/\n")
	h.write("VPOPMAIL/domains/.no-user.msg", "nobody of that name\n")
	s := h.open()
	for _, c := range []struct {
		ext, host, catchAll, want string
	}{
		{"ann", "example.com", "delete", "ann@example.com user maildir=example.com/ann/Maildir 0"},
		{"Ann", "EXAMPLE.net", "delete", "ann@example.com user maildir=example.com/ann/Maildir 0"},
		{"ann-list", "example.com", "delete", "ann-list@example.com user [example.com/ann-list/.qmail] program=filter forward=x@example.org maildir=example.com/ann-list/Maildir/.In 0 (delivery.blank-line 3)"},
		{"ann-x", "example.com", "delete", "ann-x@example.com catch-all 0"},
		{"", "example.com", "delete", "@example.com catch-all 0"},
		{"no", "example.com", "bounce-no-mailbox", "no@example.com catch-all 100 <user does not exist>"},
		{"no", "nowhere.example", "bounce-no-mailbox", "no@nowhere.example catch-all 100 <user does not exist>"},
		{"no", "", "delete", "no@ catch-all 0"},
		{"no", "example.com", "all@example.org", "no@example.com catch-all forward=all@example.org 0"},
		{"no", "example.com", "&all@example.org", "no@example.com catch-all forward=all@example.org 0"},
		{"no", "example.com", "|program", "no@example.com catch-all program=program 0"},
		{"no", "example.com", "# nothing", "no@example.com catch-all 0"},
		{"no", "example.com", "./box/", "no@example.com catch-all maildir=example.com/box 0"},
		{"no", "example.com", "./box", `no@example.com catch-all 111 <delivery is not possible: mbox "./box">`},
		{"no", "example.com", "/home/vpopmail/domains/example.com/ann", "no@example.com catch-all maildir=example.com/ann/Maildir 0"},
		{"no", "example.com", "/home/vpopmail/domains/example.com/ann-list/", "no@example.com catch-all [example.com/ann-list/.qmail] program=filter forward=x@example.org maildir=example.com/ann-list/Maildir/.In 0 (delivery.blank-line 3)"},
		{"no", "example.com", "/elsewhere", `no@example.com catch-all 111 <directory lies outside the given roots: "/elsewhere">`},
		{"no", "nowhere.example", "/home/vpopmail/domains/example.com/ann", "no@nowhere.example catch-all 111 <domain does not exist>"},
		{"a b", "example.com", "delete", "  100 <illegal user name>"},
		{"ann", "example_com", "delete", "  100 <invalid domain name>"},
		{"../example.com/ann", "example.com", "delete", "../example.com/ann@example.com catch-all 0"},
	} {
		in := Incoming{Ext: c.ext, Host: c.host, CatchAll: c.catchAll}
		p, err := s.DeliveryPlan(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.tell(); got != c.want {
			t.Errorf("%q@%q, %q:\n got %s\nwant %s", c.ext, c.host, c.catchAll, got, c.want)
		}
	}
	in := to("ann")
	in.RPLine = "Return-Path: <x>\nBcc: all@example.org\n"
	if p, err := s.DeliveryPlan(t.Context(), in); err != nil || p.Status != DeliveryDefer || !errors.Is(p.Err, ErrBadByte) {
		t.Errorf("two header lines: %+v, %v", p, err)
	}
	if p, err := s.DeliveryPlan(t.Context(), to("no")); err != nil || p.Text != "nobody of that name\n" {
		t.Errorf("the text for all domains: %q, %v", p.Text, err)
	}
}

// What stands in the place of a user's files defers the mail and loses none.
func TestDeliveryTraps(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("&thief@example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		lay  func(home string) error
		want error
	}{
		".qmail is a link":      {func(home string) error { return os.Symlink(secret, home+"/.qmail") }, safefs.ErrLink},
		".qmail is a FIFO":      {func(home string) error { return syscall.Mkfifo(home+"/.qmail", 0o600) }, safefs.ErrNotPlain},
		".qmail is a directory": {func(home string) error { return os.Mkdir(home+"/.qmail", 0o700) }, safefs.ErrNotPlain},
		".qmail is huge":        {func(home string) error { return os.WriteFile(home+"/.qmail", make([]byte, maxDotQmail+1), 0o600) }, safefs.ErrTooBig},
		"a line is long": {func(home string) error {
			return os.WriteFile(home+"/.qmail", []byte(strings.Repeat("#", 500)+"|x\n"), 0o600)
		}, ErrTooLong},
		"a path leads up":  {func(home string) error { return os.WriteFile(home+"/.qmail", []byte("./../bob/Maildir/\n"), 0o600) }, ErrNotMounted},
		"a path leads out": {func(home string) error { return os.WriteFile(home+"/.qmail", []byte("/etc/x/\n"), 0o600) }, ErrNotMounted},
		"the Maildir is a link": {func(home string) error {
			return errors.Join(os.RemoveAll(home+"/Maildir"), os.Symlink("../bob/Maildir", home+"/Maildir"))
		}, safefs.ErrLink},
		"the Maildir is no such":   {func(home string) error { return os.Remove(home + "/Maildir/cur") }, maildir.ErrNotMaildir},
		"the home is a link":       {func(home string) error { return errors.Join(os.RemoveAll(home), os.Symlink("bob", home)) }, safefs.ErrLink},
		"the home is a file":       {func(home string) error { return errors.Join(os.RemoveAll(home), os.WriteFile(home, nil, 0o600)) }, nil},
		"the Maildir is another's": {func(home string) error { return os.Chown(home+"/Maildir", 12345, 12345) }, safefs.ErrForeign},
		"maildirsize is a link":    {func(home string) error { return os.Symlink(secret, home+"/Maildir/maildirsize") }, safefs.ErrLink},
	} {
		t.Run(name, func(t *testing.T) {
			if errors.Is(c.want, safefs.ErrForeign) && os.Geteuid() != 0 {
				t.Skip("only root can give a directory away")
			}
			h := mailHost(t)
			if err := c.lay(filepath.Join(h.dir, mailDomain, "ann")); err != nil {
				t.Fatal(err)
			}
			d, err := h.open().Deliver(t.Context(), to("ann"), strings.NewReader("Subject: x\n\n"), nil)
			var bad *DeliveryError
			if !errors.As(err, &bad) || bad.Status != DeliveryDefer || d.Status != DeliveryDefer || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%d, %v, want %v", d.Status, err, c.want)
			}
			if len(d.Boxes) > 0 {
				t.Errorf("delivered to %+v", d.Boxes)
			}
			if b, err := os.ReadFile(secret); err != nil || string(b) != "&thief@example.org\n" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
}

// aliasRows is a Backend with a table of aliases.
type aliasRows struct {
	Backend
	lines map[string][]string
	asked []string
}

func (a *aliasRows) Alias(_ context.Context, d *Domain, name string) ([]string, error) {
	a.asked = append(a.asked, name+"@"+d.Name)
	return a.lines[name], nil
}
func (a *aliasRows) Aliases(context.Context, *Domain) iter.Seq2[Alias, error]   { return nil }
func (a *aliasRows) AddAlias(context.Context, *Domain, string, string) error    { return nil }
func (a *aliasRows) SetAlias(context.Context, *Domain, string, []string) error  { return nil }
func (a *aliasRows) RemoveAlias(context.Context, *Domain, string) (bool, error) { return false, nil }

var _ AliasKeeper = &aliasRows{}

func TestDeliverySQLAlias(t *testing.T) {
	h := mailHost(t)
	rows := &aliasRows{Backend: files{h.open()}, lines: map[string][]string{
		"ann": {"&x@example.org", "/home/vpopmail/domains/example.com/bob/Maildir/"}, "a-b-default": {"|prog"}, "a-default": {"#"}, "e": {"./mbox", "never@example.org"},
	}}
	h.opts.Backend = rows
	h.profile.SQLAliases = true
	for ext, want := range map[string]string{
		"ann":     "ann@example.com alias forward=x@example.org maildir=example.com/bob/Maildir 0",
		"a-b-c-d": "a-b-c-d@example.com alias program=prog 0",
		"a-c":     "a-c@example.com alias 0",
		"bob":     "bob@example.com user maildir=example.com/bob/Maildir 0",
		"e":       `e@example.com alias 111 <delivery is not possible: mbox "./mbox">`,
	} {
		in := to(ext)
		in.Host = "example.net"
		p, err := h.open().DeliveryPlan(t.Context(), in)
		if err != nil || p.tell() != want {
			t.Errorf("%s: %s, %v\nwant %s", ext, p.tell(), err, want)
		}
	}
	if slices.ContainsFunc(rows.asked, func(a string) bool { return !strings.HasSuffix(a, "@example.com") }) {
		t.Errorf("asked for %q", rows.asked)
	}
	h.profile.SQLAliases = false
	if p, err := h.open().DeliveryPlan(t.Context(), to("ann")); err != nil || p.By != "user" {
		t.Errorf("%+v, %v", p, err)
	}
	h.profile.SQLAliases, h.profile.AddressExtensions = true, true
	rows.asked = nil
	in := to("ann-x")
	if p, err := h.open().DeliveryPlan(t.Context(), in); err != nil || p.By != "alias" || len(p.Steps) != 2 {
		t.Errorf("%+v, %v", p, err)
	}
	if want := []string{"ann-x@example.com", "ann-default@example.com", "ann@example.com"}; !slices.Equal(rows.asked, want) {
		t.Errorf("asked for %q, want %q", rows.asked, want)
	}
}

func TestDeliverLoops(t *testing.T) {
	h := mailHost(t)
	h.write(mailDomain+"ann/.qmail", "./Maildir/\n&Friend@example.org\n&other@example.org\n")
	var sent []string
	opts := &DeliverOptions{Forward: func(_ context.Context, st DeliveryStep, _ io.Reader) error {
		sent = append(sent, st.Arg)
		return nil
	}}
	long := strings.Repeat("X-Long: "+strings.Repeat("y", 10_000)+"\n", 50)
	for _, c := range []struct {
		header, dtLine string
		boxes, sent    int
		loop           bool
	}{
		{"Delivered-To: ANN@example.com\n\n", "", 0, 0, true},
		{long + "delivered-to: ann@EXAMPLE.com\n\n", "", 0, 0, true},
		{"", "Delivered-To: ann@example.com\n", 0, 0, true},
		{"Delivered-To: ann@example.com", "", 1, 2, false}, // no line feed
		{"Delivered-To: ann@example.com\r\n\n", "", 1, 2, false},
		{"Delivered-To: ann@example.com.\nDelivered-To:ann@example.com\n Delivered-To: ann@example.com\n\n", "", 1, 2, false},
		{"S: x\n\nDelivered-To: ann@example.com\n", "", 1, 2, false},
		{"Delivered-To: friend@Example.org\n\n", "", 1, 0, true}, // after the first line
		{"Delivered-To: other@example.org\n\n", "", 1, 1, true},
	} {
		sent = nil
		in := to("ann")
		in.DTLine = c.dtLine
		d, err := h.open().Deliver(t.Context(), in, strings.NewReader(c.header+"body"), opts)
		if errors.Is(err, ErrLooping) != c.loop || err == nil == c.loop || len(d.Boxes) != c.boxes || len(sent) != c.sent {
			t.Errorf("%.60q: %v, %d copies, sent to %q", c.header, err, len(d.Boxes), sent)
		}
		if c.loop && (d.Status != DeliveryBounce || d.Text != "mail is looping\n") {
			t.Errorf("%.60q: %d %q", c.header, d.Status, d.Text)
		}
	}
}

// A step that nobody can make defers before the first is made.
func TestDeliverWithoutFunctions(t *testing.T) {
	h := mailHost(t)
	for _, last := range []string{"|true\n", "&x@example.org\n"} {
		h.write(mailDomain+"ann/.qmail", "./Maildir/\n"+last)
		d, err := h.open().Deliver(t.Context(), to("ann"), strings.NewReader("x\n"), nil)
		if !errors.Is(err, ErrDelivery) || d.Status != DeliveryDefer || len(d.Boxes) > 0 {
			t.Errorf("%q: %+v, %v", last, d, err)
		}
	}
	fail := errors.New("queue is full")
	opts := &DeliverOptions{
		Forward: func(context.Context, DeliveryStep, io.Reader) error { return fail },
		Program: func(context.Context, DeliveryStep, string, io.Reader) (int, error) { return 0, fail },
	}
	for _, last := range []string{"|true\n", "&x@example.org\n"} {
		h.write(mailDomain+"ann/.qmail", last)
		if d, err := h.open().Deliver(t.Context(), to("ann"), strings.NewReader("x\n"), opts); !errors.Is(err, fail) || d.Status != DeliveryDefer {
			t.Errorf("%q: %+v, %v", last, d, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.open().Deliver(ctx, to("bob"), strings.NewReader("x\n"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// quota lays a maildirsize of bob and delivers n bytes to him.
func (h *host) quota(t *testing.T, size string, age time.Duration, n int) (*Delivered, string, error) {
	t.Helper()
	name := mailDomain + "bob/Maildir/maildirsize"
	now := time.Unix(1795000000, 0)
	h.opts.Now = func() time.Time { return now }
	h.write(name, size)
	full := filepath.Join(h.dir, name)
	if err := os.Chtimes(full, now, now.Add(-age)); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(full, 89, 89); err != nil {
			t.Fatal(err)
		}
	}
	d, err := h.open().Deliver(t.Context(), to("bob"), strings.NewReader(strings.Repeat("x", n)), nil)
	return d, h.read(name), err
}

func TestDeliverQuota(t *testing.T) {
	const head = len("Return-Path: <s@example.org>\nDelivered-To: bob@example.com\n")
	line := func(n int) string { return fmt.Sprintf("%d 1\n", n+head) }
	for name, c := range map[string]struct {
		size  string
		age   time.Duration
		n     int
		over  bool
		after string
	}{
		"room":                      {"10000S\n5000 3\n", 0, 100, false, "10000S\n5000 3\n" + line(100)},
		"just as much":              {"10000S\n5000 3\n", 0, 5000, false, "10000S\n5000 3\n" + line(5000)},
		"one byte more, believed":   {"10000S\n5000 3\n", 0, 5001, true, "10000S\n5000 3\n"},
		"one more, two lines":       {"10000S\n5000 3\n0 0\n", 0, 5001, false, "10000S\n0 0\n" + line(5001)},
		"one more, old enough":      {"10000S\n5000 3\n", 15 * time.Minute, 5001, false, "10000S\n0 0\n" + line(5001)},
		"not too old":               {"10000S\n5000 3\n", 15 * time.Minute, 100, false, "10000S\n5000 3\n" + line(100)},
		"too old":                   {"10000S\n5000 3\n", 15*time.Minute + time.Second, 100, false, "10000S\n0 0\n" + line(100)},
		"from the future":           {"10000S\n5000 3\n", -time.Hour, 100, false, "10000S\n5000 3\n" + line(100)},
		"too long":                  {"10000S\n" + strings.Repeat("5 1\n", 1279), 0, 100, false, "10000S\n0 0\n" + line(100)},
		"not too long":              {"10000S\n" + strings.Repeat("1 1\n", 1277), 0, 100, false, "10000S\n" + strings.Repeat("1 1\n", 1277) + line(100)},
		"less than nothing":         {"10000S\n-5000 -1\n", 0, 100, false, "10000S\n0 0\n" + line(100)},
		"less, in the end more":     {"10000S\n-5000 -1\n6000 2\n", 0, 100, false, "10000S\n-5000 -1\n6000 2\n" + line(100)},
		"another quota than bob's":  {"1S\n0 0\n", 0, 100, false, "1S\n0 0\n" + line(100)},
		"no file, but far too much": {"10000S\n0 0\n", time.Hour, 10001, true, "10000S\n0 0\n"},
		"empty":                     {"", 0, 100, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d, after, err := mailHost(t).quota(t, c.size, c.age, c.n)
			if errors.Is(err, ErrOverQuota) != c.over || (err == nil) == c.over || (len(d.Boxes) == 0) != c.over {
				t.Errorf("%v, %+v", err, d.Boxes)
			}
			if after != c.after {
				t.Errorf("maildirsize is %q, want %q", after, c.after)
			}
			if c.over && (d.Status != DeliveryBounce || d.Text != "user is over quota\n\n") {
				t.Errorf("%d %q", d.Status, d.Text)
			}
		})
	}
}

// A warning that cannot be made holds no mail up.
func TestDeliverWarning(t *testing.T) {
	h := mailHost(t)
	h.write("VPOPMAIL/domains/.quotawarn.msg", "From: x\n\nnearly full\n")
	d, after, err := h.quota(t, "10000S\n9000 1\n", 0, 10)
	if err != nil || len(d.Boxes) != 2 || !d.Boxes[0].Warning || d.Boxes[1].Warning || strings.Count(after, "\n") != 4 {
		t.Fatalf("%+v, %v, %q", d.Boxes, err, after)
	}
	text := h.read(mailDomain + "bob/Maildir/new/" + d.Boxes[0].Entry.Name.String())
	if want := "Delivered-To: bob@example.com\nDate: Wed, 18 Nov 2026 11:06:40 +0000\nFrom: x\n\nnearly full\n"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	if d, _, err = h.quota(t, "10000S\n9000 1\n", 0, 10); err != nil || len(d.Boxes) != 1 {
		t.Errorf("a second one: %+v, %v", d.Boxes, err)
	}
	warn := filepath.Join(h.dir, mailDomain, "bob/Maildir/quotawarn")
	if err := errors.Join(os.Remove(warn), os.Mkdir(warn, 0o700), os.Chtimes(warn, time.Unix(1, 0), time.Unix(1, 0))); err != nil {
		t.Fatal(err)
	}
	d, _, err = h.quota(t, "10000S\n9000 1\n", 0, 10)
	if err != nil || len(d.Boxes) != 1 || len(d.Problems) != 1 || d.Problems[0].Code != "delivery.no-warning" {
		t.Errorf("%+v, %v, %v", d.Boxes, err, d.Problems)
	}
}

// Deliveries at the same second by one process have names of their own, and
// each is counted.
func TestDeliverAtOnce(t *testing.T) {
	h := mailHost(t)
	h.opts.Now = func() time.Time { return time.Now().Truncate(time.Hour) }
	s := h.open()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := s.Deliver(t.Context(), to("bob"), strings.NewReader("x\n"), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	names, err := filepath.Glob(filepath.Join(h.dir, mailDomain, "bob/Maildir/new/*"))
	if err != nil || len(names) != 40 {
		t.Errorf("%d files, %v", len(names), err)
	}
	if left, err := filepath.Glob(filepath.Join(h.dir, mailDomain, "bob/Maildir/tmp/*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %q, %v", left, err)
	}
	if lines := strings.Count(h.read(mailDomain+"bob/Maildir/maildirsize"), "\n61 1\n"); lines == 0 {
		t.Error("nothing is counted")
	}
	if got := strings.Count(h.read(mailDomain+"bob/Maildir/maildirsize"), "61 1"); got != 40 {
		t.Errorf("%d are counted", got)
	}
}

// TestDeliverFaults makes every step outside the Maildir's own fail once. Then
// the message is there once, or it is deferred and comes with the next try.
func TestDeliverFaults(t *testing.T) {
	failed := map[string]int{}
	for n := 1; ; n++ {
		h := mailHost(t)
		h.write("VPOPMAIL/domains/.quotawarn.msg", "\nnearly full\n")
		now := time.Now()
		h.opts.Now = func() time.Time { return now }
		h.write(mailDomain+"bob/Maildir/maildirsize", "10000S\n9000 1\n1 1\n-1 -1\n")
		if err := os.Chtimes(filepath.Join(h.dir, mailDomain, "bob/Maildir/maildirsize"), now.Add(-time.Hour), now.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(filepath.Join(h.dir, mailDomain, "bob/Maildir/maildirsize"), 89, 89); err != nil {
				t.Fatal(err)
			}
		}
		// 9,500 bytes that stand in no file yet make the box nearly full.
		big := filepath.Join(h.dir, mailDomain, "bob/Maildir/cur/1.x,S=9500:2,")
		if err := os.WriteFile(big, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		i, at := 0, ""
		h.opts.hook = func(op, name string) error {
			if i++; i == n {
				at = op
				return errCut
			}
			return nil
		}
		d, err := h.open().Deliver(t.Context(), to("bob"), strings.NewReader("x\n"), nil)
		if at == "" {
			break
		}
		failed[at]++
		copies := slices.DeleteFunc(d.Boxes, func(b DeliveredBox) bool { return b.Warning })
		if (err == nil) != (len(copies) == 1) || err != nil && (!errors.Is(err, errCut) || d.Status != DeliveryDefer) {
			t.Errorf("%s %d: %+v, %v", at, n, copies, err)
		}
		h.opts.hook = nil
		if err != nil {
			if d, err = h.open().Deliver(t.Context(), to("bob"), strings.NewReader("x\n"), nil); err != nil {
				t.Errorf("%s %d, again: %+v, %v", at, n, d, err)
			}
		}
		names, err := filepath.Glob(filepath.Join(h.dir, mailDomain, "bob/Maildir/new/*,S=61"))
		if err != nil || len(names) != 1 {
			t.Errorf("%s %d: %d copies, %v", at, n, len(names), err)
		}
	}
	for _, op := range []string{"create", "write", "rename"} {
		if failed[op] == 0 {
			t.Errorf("%s never failed: %v", op, maps.Collect(maps.All(failed)))
		}
	}
}

func TestNewIncoming(t *testing.T) {
	in, err := NewIncoming([]string{"", "delete"}, func(name string) (string, bool) { return "<" + name + ">", true })
	if want := (Incoming{Ext: "<EXT>", Host: "<HOST>", RPLine: "<RPLINE>", DTLine: "<DTLINE>", CatchAll: "delete"}); err != nil || in != want {
		t.Errorf("%+v, %v", in, err)
	}
	for _, args := range [][]string{nil, {""}, {"", "delete", "more"}} {
		var bad *DeliveryError
		if _, err := NewIncoming(args, os.LookupEnv); !errors.As(err, &bad) || bad.Status != DeliveryDefer || !strings.HasPrefix(err.Error(), "deferred: ") {
			t.Errorf("%q: %v", args, err)
		}
	}
}
