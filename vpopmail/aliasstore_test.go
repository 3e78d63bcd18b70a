//go:build unix

package vpopmail

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// TestAliasLines goes through one alias, by an alias domain too.
func TestAliasLines(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	s := h.open()
	if _, err := s.AddAliasDomain(ctx, "example.com", "example.net", told); err != nil {
		t.Fatal(err)
	}
	const file = "VPOPMAIL/domains/example.com/.qmail-first:last"
	for i, addr := range []string{"First.Last@example.com", "first.last@EXAMPLE.net"} {
		if err := s.AddAlias(ctx, addr, "joe@example.org"); (i == 1) != errors.Is(err, ErrAliasExists) {
			t.Errorf("%s: %v", addr, err)
		}
	}
	// A last line without newline is ended before the next is added.
	h.write(file, "joe@example.org\n|prog")
	if err := s.AddAlias(ctx, "first.last@example.net", "&jim@example.org"); err != nil {
		t.Fatal(err)
	}
	if f := h.snapshot()[file]; f.Content != "joe@example.org\n|prog\n&jim@example.org\n" || f.Mode != "0600" || os.Geteuid() == 0 && f.UID != 89 {
		t.Errorf("%+v", f)
	}
	lines, err := s.Alias(ctx, "FIRST.last@example.com")
	if err != nil || !slices.Equal(lines, []string{"joe@example.org", "|prog", "&jim@example.org"}) {
		t.Errorf("%q, %v", lines, err)
	}
	out, err := s.ClassicAliases(ctx, "first.last@example.net")
	if err != nil || !strings.HasPrefix(out, "first.last@example.com -> joe@example.org\n") {
		t.Errorf("%q, %v", out, err)
	}
	for i := range 2 {
		if gone, err := s.RemoveAlias(ctx, "first.last@example.com"); err != nil || gone != (i == 0) {
			t.Errorf("removal %d: %v, %v", i, gone, err)
		}
	}
	if lines, err := s.Alias(ctx, "first.last@example.com"); lines != nil || err != nil {
		t.Errorf("%q, %v", lines, err)
	}
	for _, what := range []string{"first.last@example.com", "example.com"} {
		_, err := s.ClassicAliases(ctx, what)
		rc, words := ClassicStatus("valias", err)
		if !errors.Is(err, ErrNoAlias) || rc != 255 || !strings.HasPrefix(words, "No aliases ") {
			t.Errorf("%s: %v, %d %q", what, err, rc, words)
		}
	}
}

// TestAliasRefused has what AddAlias and RemoveAlias refuse; nothing changes.
func TestAliasRefused(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	s := h.open()
	before := h.snapshot()
	const ok = "joe@example.org"
	for _, c := range []struct {
		addr, line string
		want       error
	}{
		{"../../../etc/x@example.com", ok, ErrBadUser}, {"@example.com", ok, ErrBadUser}, {"a:b@example.com", ok, ErrBadUser},
		{"a\x00b@example.com", ok, ErrBadUser}, {"team", ok, ErrBadUser}, {strings.Repeat("a", 33) + "@example.com", ok, ErrTooLong},
		{"team@nowhere.example.org", ok, ErrNoDomain}, {"default@example.com", ok, ErrBadAlias},
		{"team@example.com", "", ErrBadAlias}, {"team@example.com", " \t", ErrBadAlias}, {"team@example.com", " joe@example.org", ErrBadAlias},
		{"team@example.com", "a\nb", ErrBadByte}, {"team@example.com", "a\x00b", ErrBadByte},
		{"team@example.com", strings.Repeat("a", 160), ErrTooLong},
	} {
		if err := s.AddAlias(ctx, c.addr, c.line); !errors.Is(err, c.want) {
			t.Errorf("%q %q: %v, want %v", c.addr, c.line, err, c.want)
		}
	}
	if _, err := s.RemoveAlias(ctx, "default@example.com"); !errors.Is(err, ErrBadAlias) {
		t.Errorf("the catch-all: %v", err)
	}
	compareTrees(t, "refused", before, h.snapshot())
	for _, c := range [][2]string{{"a@example.com", ok}, {strings.Repeat("a", 32) + "@example.com", strings.Repeat("b", 159)}} {
		if err := s.AddAlias(ctx, c[0], c[1]); err != nil {
			t.Errorf("%q: %v", c[0], err)
		}
	}
}

// TestAliasNames lists what valias -n lists: without case, links of mailing
// lists once.
func TestAliasNames(t *testing.T) {
	ctx := t.Context()
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	const dom = "VPOPMAIL/domains/example.com/"
	for _, f := range []string{".qmail-b:c", ".qmail-B", ".qmail-a_b", ".qmail-aa", ".qmail-x-default", ".qmail-", ".qmailx", ".qmail-dotted.name", ".qmail-none"} {
		h.write(dom+f, strings.Repeat("to "+f+"\n", len(f)%2+1))
	}
	h.write(dom+".qmail-none", "")
	for _, f := range []string{"list", "list-default", "list-owner", "list-return-default"} {
		if err := os.Symlink("list/"+f, filepath.Join(h.dir, dom, ".qmail-"+f)); err != nil {
			t.Fatal(err)
		}
	}
	s := h.open()
	names, err := s.AliasNames(ctx, "example.com")
	if want := []string{"a_b", "aa", "B", "b.c", "dotted.name", "list", "none", "x-default"}; err != nil || !slices.Equal(names, want) {
		t.Errorf("%q, %v, want %q", names, err, want)
	}
	var seen []string
	for a, err := range s.Aliases(ctx, "example.com") {
		seen = append(seen, a.Name)
		if want := map[string]error{"list": safefs.ErrLink, "dotted.name": ErrBadAlias}[a.Name]; !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", a.Name, err, want)
		}
	}
	if !slices.Equal(seen, names) {
		t.Errorf("%q", seen)
	}
	out, err := s.ClassicAliases(ctx, "example.com")
	if err != nil || !strings.HasPrefix(out, "a_b@example.com -> to .qmail-a_b\n") || !strings.HasSuffix(out, "x-default@example.com -> to .qmail-x-default\n") {
		t.Errorf("%q, %v", out, err)
	}
	if err := s.AddAlias(ctx, "list@example.com", "joe@example.org"); !errors.Is(err, safefs.ErrLink) {
		t.Errorf("through a link: %v", err)
	}
}

// TestAliasesAtOnce adds lines to one alias from many goroutines.
func TestAliasesAtOnce(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	h.opts.LockWait = 20e9
	s := h.open()
	var wg sync.WaitGroup
	const n = 20
	for i := range n {
		wg.Go(func() {
			if err := s.AddAlias(t.Context(), "team@example.com", string(rune('a'+i))+"@example.org"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if lines, err := s.Alias(t.Context(), "team@example.com"); err != nil || len(lines) != n {
		t.Errorf("%q, %v", lines, err)
	}
}

// TestSetAlias replaces the lines of a live alias, and looks at it before each
// step: it always has all the old lines, or all the new ones.
func TestSetAlias(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	withDomain(t, h)
	old, want := []string{"&ann@example.org", "bob@example.org"}, []string{"&eve@example.org", "bob@example.org", "dan@example.net"}
	ctx, addr := t.Context(), "team@example.com"
	if err := h.open().SetAlias(ctx, addr, old); err != nil {
		t.Fatal(err)
	}
	steps := 0
	h.opts.hook = func(op, name string) error {
		steps++
		got := ParseAliasLines([]byte(h.read("VPOPMAIL/domains/example.com/.qmail-team")))
		if !slices.Equal(got, old) && !slices.Equal(got, want) {
			t.Errorf("before %s %s: %q", op, name, got)
		}
		return nil
	}
	s := h.open()
	if err := s.SetAlias(ctx, addr, want); err != nil {
		t.Fatal(err)
	}
	h.opts.hook = nil
	s = h.open()
	if got, err := s.Alias(ctx, addr); err != nil || !slices.Equal(got, want) || steps == 0 {
		t.Errorf("%q, %v after %d steps", got, err, steps)
	}
	// One line that cannot be keeps all of them away.
	if err := s.SetAlias(ctx, addr, []string{"x@example.org", "a\nb"}); !errors.Is(err, ErrBadByte) {
		t.Errorf("LF: %v", err)
	}
	if got, err := s.Alias(ctx, addr); err != nil || !slices.Equal(got, want) {
		t.Errorf("after a refusal: %q, %v", got, err)
	}
	if err := s.SetAlias(ctx, addr, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Alias(ctx, addr); err != nil || len(got) > 0 {
		t.Errorf("after its removal: %q, %v", got, err)
	}
	// A longer name than valias takes, up to a bound.
	long := strings.Repeat("x", maxAliasName)
	if err := s.SetAlias(ctx, long+"@example.com", want); err != nil || h.read("VPOPMAIL/domains/example.com/.qmail-"+long) == "" {
		t.Errorf("a long name: %v", err)
	}
	if err := s.SetAlias(ctx, long+"@example.com", []string{strings.Repeat("&", maxDotLine+1)}); !errors.Is(err, ErrTooLong) {
		t.Errorf("a line that is too long: %v", err)
	}
	if err := s.SetAlias(ctx, long+"x@example.com", want); !errors.Is(err, ErrTooLong) {
		t.Errorf("a name that is too long: %v", err)
	}
	if ok, err := s.RemoveAlias(ctx, long+"@example.com"); err != nil || !ok {
		t.Errorf("removing a long name: %v, %v", ok, err)
	}
}
