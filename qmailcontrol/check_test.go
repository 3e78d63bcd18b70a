//go:build unix

package qmailcontrol

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
)

// sound is a directory in which nothing is wrong.
var sound = map[string]string{
	"me":             "mx1.example.com\n",
	"locals":         "# ours\nmx1.example.com\nlocalhost\n",
	"rcpthosts":      "mx1.example.com\n.wild.example\nvirtual.example\n",
	"virtualdomains": "virtual.example:joe\n.wild.example:wild\nexcept.wild.example:\n:smart\n",
	"smtproutes":     "inner.example:10.1.2.3:2525\n:relay.example.net\nfilter.example:127.0.0.1:10025\n",
	"queuelifetime":  "259200\n",
	"smtpgreeting":   "mx1.example.com no spam\n",
	"plesk-own":      "\r\n#\x00",
}

// inMemory is a Config of these files.
func inMemory(t testing.TB, files map[string]string) *Config {
	t.Helper()
	c := NewConfig()
	for name, text := range files {
		if err := c.SetText(name, text); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// with is sound with some files of its own; "-" as the text removes one.
func with(files map[string]string) map[string]string {
	all := maps.Clone(sound)
	maps.Copy(all, files)
	maps.DeleteFunc(all, func(_, text string) bool { return text == "-" })
	return all
}

func checked(t testing.TB, c *Config, opts *CheckOptions) []qmailkit.Problem {
	t.Helper()
	var all []qmailkit.Problem
	for p, err := range c.Check(t.Context(), opts) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// brief is a Problem without its words.
func brief(all []qmailkit.Problem) string {
	var words []string
	for _, p := range all {
		w := strings.TrimPrefix(p.Code, "control.") + "(" + p.Severity.String()[:1] + ") " + p.Path
		if p.Line > 0 {
			w += fmt.Sprintf(":%d", p.Line)
		}
		words = append(words, w)
	}
	return strings.Join(words, ", ")
}

func TestCheck(t *testing.T) {
	mrh := func(text string) string {
		var b buffer
		if err := WriteMorercpthosts(&b, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		return string(b.data)
	}
	// A cdb whose keys are in capitals: qmail-newmrh writes no such thing.
	capitals := strings.ReplaceAll(mrh("big.example\n"), "big.example", "Big.example")
	for _, test := range []struct {
		want  string
		files map[string]string
	}{
		{"", nil},
		{"open-relay(e) rcpthosts", map[string]string{"rcpthosts": "-"}},
		{"rcpthosts-empty(w) rcpthosts", map[string]string{"rcpthosts": "# none\n\n"}},
		{"crlf(e) rcpthosts:1, not-accepted(w) locals:2, not-accepted(w) virtualdomains:1, not-accepted(w) virtualdomains:2",
			map[string]string{"rcpthosts": "mx1.example.com\r\n.wild.example\r\nvirtual.example\r\n"}},
		{"crlf(e) me:1", map[string]string{"me": "mx1.example.com\r\n"}},
		{"crlf(i) queuelifetime:1", map[string]string{"queuelifetime": "5\r\n"}},
		{"local-and-virtual(e) virtualdomains:2, local-and-virtual(e) virtualdomains:3",
			map[string]string{"virtualdomains": "virtual.example:joe\nMX1.Example.com:joe\nann@mx1.example.com:ann\n"}},
		{"not-accepted(w) virtualdomains:1", map[string]string{"virtualdomains": "x@other.example:joe"}},
		{"smtproutes-port(e) smtproutes:1, smtproutes-port(e) smtproutes:2, smtproutes-port(w) smtproutes:3, smtproutes-port(w) smtproutes:4, smtproutes-host(e) smtproutes:5",
			map[string]string{"smtproutes": "a:host:\nb:host:smtp\nc:host:70000\nd:host:25x\ne::2525\n"}},
		{"smtproutes-self(e) smtproutes:1, smtproutes-self(e) smtproutes:2, smtproutes-self(e) smtproutes:3, smtproutes-self(e) smtproutes:4",
			map[string]string{"smtproutes": "a:MX1.example.com\nb:[127.0.0.9]:25\nc:localhost\n:mine.example\n"}},
		{"crlf(e) smtproutes:1", map[string]string{"smtproutes": "a:host:2525\r\n"}},
		{"duplicate(w) virtualdomains:2", map[string]string{"virtualdomains": "virtual.example:joe\nVIRTUAL.example:ann\nVirtual.example:ann\n"}},
		{"no-colon(w) virtualdomains:1, blank(w) virtualdomains:2, blank(w) virtualdomains:3",
			map[string]string{"virtualdomains": "virtual.example\n virtual.example:joe\n.wild.example: joe\n"}},
		{"nul(w) locals:2, blank(w) locals:3", map[string]string{"locals": "mx1.example.com\nlocalhost\x00localhost\n\tlocalhost\n"}},
		{"empty(e) helohost:1, comment(w) idhost:1, blank(w) plusdomain:1",
			map[string]string{"helohost": "\n", "idhost": "# id\n", "plusdomain": "a b"}},
		{"number(w) concurrencylocal:1, number(w) concurrencyremote:1, no-delivery(w) concurrencyremote:1, number(w) databytes:1, number(w) timeoutsmtpd:1",
			map[string]string{"concurrencylocal": "ten", "concurrencyremote": "00", "databytes": "1,200", "timeoutsmtpd": "4294967301"}},
		{"morercpthosts-cdb(e) morercpthosts.cdb", map[string]string{"morercpthosts": "big.example\n"}},
		{"morercpthosts-cdb(w) morercpthosts.cdb", map[string]string{"morercpthosts.cdb": mrh("big.example\n")}},
		{"", map[string]string{"morercpthosts": "Big.example\n", "morercpthosts.cdb": mrh("big.example\n")}},
		{"morercpthosts-stale(e) morercpthosts.cdb", map[string]string{"morercpthosts": "bigger.example\n", "morercpthosts.cdb": mrh("big.example\n")}},
		{"upper-case(e) morercpthosts.cdb, morercpthosts-stale(e) morercpthosts.cdb",
			map[string]string{"morercpthosts": "big.example\n", "morercpthosts.cdb": capitals}},
		{"morercpthosts-broken(e) morercpthosts.cdb, morercpthosts-stale(e) morercpthosts.cdb",
			map[string]string{"morercpthosts": "big.example\n", "morercpthosts.cdb": mrh("big.example\n")[:2050]}},
		{"open-relay(e) rcpthosts, morercpthosts-unused(w) morercpthosts.cdb",
			map[string]string{"rcpthosts": "-", "morercpthosts": "big.example\n", "morercpthosts.cdb": mrh("big.example\n")}},
		{"stops(e) smtpgreeting, stops(e) helohost", map[string]string{"me": "-", "smtpgreeting": "-"}},
	} {
		me := &CheckOptions{IsMe: func(host string) bool { return host == "mine.example" }}
		all := checked(t, inMemory(t, with(test.files)), me)
		if got := brief(all); got != test.want {
			t.Errorf("%q:\n got %s\nwant %s", test.files, got, test.want)
		}
		for _, p := range all {
			if p.Err == nil || p.Line == 1 && p.Offset != 0 {
				t.Errorf("%+v", p)
			}
		}
	}
}

// What only a directory can show.
func TestCheckFiles(t *testing.T) {
	files := with(map[string]string{"morercpthosts": "big.example\n"})
	dir, root := control(t, files)
	if err := NewMRH(root, nil); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(dir, "morercpthosts.cdb"), past, past); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("me", filepath.Join(dir, "helohost")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"percenthack", "certificates"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	want := "stops(e) percenthack, unreadable(i) certificates, link(i) helohost, unreadable(w) percenthack, morercpthosts-stale(i) morercpthosts.cdb"
	if got := brief(checked(t, config(t, root), nil)); got != want {
		t.Errorf(" got %s\nwant %s", got, want)
	}
}

func TestCheckTargets(t *testing.T) {
	c := inMemory(t, with(map[string]string{"virtualdomains": "virtual.example:joe\n.wild.example:gone\nx.wild.example:gone\nexcept.wild.example:\n"}))
	var asked []string
	opts := &CheckOptions{Reaches: func(_ context.Context, local string) (bool, error) {
		asked = append(asked, local)
		return strings.HasPrefix(local, "joe-"), nil
	}}
	if got := brief(checked(t, c, opts)); got != "virtual-target(e) virtualdomains:2, virtual-target(e) virtualdomains:3" {
		t.Error(got)
	}
	if !slices.Equal(asked, []string{"joe-postmaster", "gone-postmaster"}) {
		t.Errorf("asked for %q", asked)
	}
	broken := errors.New("users/cdb is broken")
	opts.Reaches = func(context.Context, string) (bool, error) { return false, broken }
	var last error
	for _, err := range c.Check(t.Context(), opts) {
		last = err
	}
	if !errors.Is(last, broken) || !errors.Is(last, qmailkit.ErrIncomplete) {
		t.Errorf("%v", last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, last = range c.Check(ctx, nil) {
	}
	if !errors.Is(last, context.Canceled) || !errors.Is(last, qmailkit.ErrIncomplete) {
		t.Errorf("cancelled: %v", last)
	}
}

// A caller that has seen enough is left alone.
func TestCheckStops(t *testing.T) {
	c := inMemory(t, map[string]string{"locals": " a\n b\n", "smtproutes": "a:b:\nc:d:\n", "virtualdomains": "x\n"})
	all := len(checked(t, c, nil))
	for stop := range all {
		n := 0
		for range c.Check(t.Context(), nil) {
			if n++; n > stop {
				break
			}
		}
		if n != stop+1 {
			t.Errorf("%d of %d", n, stop+1)
		}
	}
}
