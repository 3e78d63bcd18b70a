//go:build unix

package vpopmail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// maildirsizeAt writes joe's maildirsize, changed age before the host's clock.
func (h *host) maildirsizeAt(text string, age time.Duration) {
	h.t.Helper()
	h.write(joe+"/Maildir/maildirsize", text)
	at := h.opts.Now().Add(-age)
	if err := os.Chtimes(filepath.Join(h.dir, joe, "Maildir/maildirsize"), at, at); err != nil {
		h.t.Fatal(err)
	}
}

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// TestUsageGolden has files that vdelivermail left, and what vuserinfo -Q said
// of each in the same minute.
func TestUsageGolden(t *testing.T) {
	h, _, d, u := loginHost(t)
	h.opts.Now = func() time.Time { return noon }
	s := h.open()
	for _, st := range readUsage(t) {
		h.maildirsizeAt(st.Maildirsize, time.Minute)
		u.Quota, _, _ = strings.Cut(st.Maildirsize, "\n")
		use, err := s.Usage(t.Context(), d, &u)
		if got := fmt.Sprintf("%d%%\n", use.Percent); err != nil || got != st.Stdout || use.Counted {
			t.Errorf("step %d: %+v, %v, want %s", st.N, use, err, st.Stdout)
		}
	}
}

type usageStep struct {
	N                   int
	Maildirsize, Stdout string
}

func readUsage(t *testing.T) (all []usageStep) {
	t.Helper()
	f, err := os.Open("testdata/info/usage.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := json.NewDecoder(f); d.More(); {
		var st usageStep
		if err := d.Decode(&st); err != nil {
			t.Fatal(err)
		}
		all = append(all, st)
	}
	if len(all) < 5 {
		t.Fatalf("%d steps", len(all))
	}
	return all
}

// TestUsage says when maildirsize is believed (facts of maildirquota.c). The
// messages of the Maildir are 4 with 700 bytes.
func TestUsage(t *testing.T) {
	h, _, d, u := loginHost(t)
	h.opts.Now = func() time.Time { return noon }
	s := h.open()
	md := joe + "/Maildir/"
	for _, dir := range []string{".Sub", ".Sub/cur", ".Sub/new", ".Sub/tmp", ".Trash", ".Trash/cur", ".Trash/new", ".Trash/tmp"} {
		if err := os.Mkdir(filepath.Join(h.dir, md, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	h.write(md+"new/1.a,S=100", "x")
	h.write(md+"cur/2.a:2,S", strings.Repeat("x", 200))
	h.write(md+"cur/3.a,S=150:2,FR", "")
	h.write(md+".Sub/cur/4.a,S=250:2,", "")
	h.write(md+"cur/5.a,S=1000:2,ST", "marked as deleted")
	h.write(md+".Trash/cur/6.a,S=1000:2,", "")
	h.write(md+"tmp/7.a,S=1000", "")
	h.write(md+"cur/.8.a,S=1000", "")

	const minute = time.Minute
	for _, c := range []struct {
		about, quota, file string
		age                time.Duration
		want               Usage
	}{
		{"no file", "1000S", "", 0, Usage{700, 4, 70, false, true}},
		{"no file, messages", "10C", "", 0, Usage{700, 4, 40, false, true}},
		{"both: the larger part", "1000S,5C", "", 0, Usage{700, 4, 80, false, true}},
		{"reached is not over", "700S,4C", "", 0, Usage{700, 4, 100, false, true}},
		{"over", "699S", "", 0, Usage{700, 4, 100, true, true}},
		{"over by messages", "700S,3C", "", 0, Usage{700, 4, 100, true, true}},
		{"no limit", "NOQUOTA", "NOQUOTA\n500 5\n", minute, Usage{}},
		{"empty is no limit", "", "\n500 5\n", minute, Usage{}},
		{"10G is ten bytes", "10G", "10S\n5 1\n", minute, Usage{5, 1, 50, false, false}},
		{"fresh", "1000S", "1000S\n500 5\n-100 -1\n", minute, Usage{400, 4, 40, false, false}},
		{"the first line is not compared", "1000S", "77S\n500 5\n", minute, Usage{500, 5, 50, false, false}},
		{"no lines", "1000S", "1000S\n", minute, Usage{}},
		{"junk and blanks", "1000S", "1000S\njunk\n  300   2   \n+200-1\n", minute, Usage{500, 1, 50, false, false}},
		{"exactly 15 minutes", "1000S", "1000S\n500 5\n", 15 * minute, Usage{500, 5, 50, false, false}},
		{"older", "1000S", "1000S\n500 5\n", 15*minute + time.Second, Usage{700, 4, 70, false, true}},
		{"from the future", "1000S", "1000S\n500 5\n", -minute, Usage{500, 5, 50, false, false}},
		{"5119 bytes", "1000S", "1000S\n500 5\n" + strings.Repeat("x", 5107), minute, Usage{500, 5, 50, false, false}},
		{"5120 bytes", "1000S", "1000S\n500 5\n" + strings.Repeat("x", 5108), minute, Usage{700, 4, 70, false, true}},
		{"over, one line", "1000S", "1000S\n1001 1\n", minute, Usage{1001, 1, 100, true, false}},
		{"over, one line, 15 minutes", "1000S", "1000S\n1001 1\n", 15 * minute, Usage{700, 4, 70, false, true}},
		{"over, two lines", "1000S", "1000S\n1000 1\n1 1\n", minute, Usage{700, 4, 70, false, true}},
		{"less than nothing is much", "1000S", "1000S\n-1 0\n", minute, Usage{1<<64 - 1, 0, 100, true, false}},
		{"less than nothing, two lines", "1000S", "1000S\n5 1\n-6 0\n", minute, Usage{700, 4, 70, false, true}},
		{"more than 64 bits", "1000S", "1000S\n99999999999999999999 1\n", minute, Usage{1<<64 - 1, 1, 100, true, false}},
		{"behind a NUL", "1000S", "1000S\n500 5\n\x00\n400 5\n", minute, Usage{500, 5, 50, false, false}},
	} {
		name := filepath.Join(h.dir, md, "maildirsize")
		if c.file == "" {
			os.Remove(name)
		} else {
			h.maildirsizeAt(c.file, c.age)
		}
		u.Quota = c.quota
		use, err := s.Usage(t.Context(), d, &u)
		if err != nil || use != c.want {
			t.Errorf("%s: %+v, %v, want %+v", c.about, use, err, c.want)
		}
		if after, err := os.ReadFile(name); c.file != "" && (err != nil || string(after) != c.file) {
			t.Errorf("%s: the file was written: %q, %v", c.about, after, err)
		}
	}
}

func TestUsageOfNothing(t *testing.T) {
	h, s, d, u := loginHost(t)
	u.Quota = "1000S"
	for _, dir := range []string{"c", "", "/home/vpopmail/domains/example.com/gone"} {
		u.Dir = dir
		if use, err := s.Usage(t.Context(), d, &u); err != nil || use.Percent != 0 {
			t.Errorf("%q: %+v, %v", dir, use, err)
		}
	}
	u.Dir = "/elsewhere"
	if _, err := s.Usage(t.Context(), d, &u); !errors.Is(err, ErrNotMounted) {
		t.Error(err)
	}
	u.Dir = "/home/vpopmail/domains/example.com/joe"
	if err := os.Symlink("/etc/passwd", filepath.Join(h.dir, joe, "Maildir/maildirsize")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Usage(t.Context(), d, &u); !errors.Is(err, safefs.ErrLink) {
		t.Errorf("link: %v", err)
	}
}

// TestQuotaPercent has the arithmetic of C at its edges.
func TestQuotaPercent(t *testing.T) {
	for _, c := range []struct {
		bytes, messages uint64
		quota           string
		percent         int
		over            bool
	}{
		{999, 0, "1000S", 99, false},
		{0, 0, "0S", 100, false},
		{1, 0, "0S", 100, true},
		{5, 5, "10", 50, false}, // no letter is bytes
		{0, 5, "5S,10C", 50, false},
		{1 << 62, 0, "9223372036854775807S", 0, false}, // 100 * 2^62 is 0 in 64 bits
		{5, 0, "10S,20S", 25, false},                   // the later one
		{15, 0, "10S,20S", 100, true},
		{1, 1, "", 0, false},
	} {
		if percent, over := quotaPercent(c.bytes, c.messages, c.quota); percent != c.percent || over != c.over {
			t.Errorf("%d, %d of %q: %d%%, %v, want %d%%, %v", c.bytes, c.messages, c.quota, percent, over, c.percent, c.over)
		}
	}
}

// TestRecountQuota is what vsetuserquota leaves: golden step 39 of
// vdelivermail is "12000S\n9520 5\n".
func TestRecountQuota(t *testing.T) {
	h, s, d, u := loginHost(t)
	ctx := t.Context()
	for i := range 5 {
		h.write(fmt.Sprintf("%s/Maildir/new/%d.1.host,S=%d", joe, i, []int{1064, 3064, 4264, 964, 164}[i]), "x")
	}
	name := filepath.Join(h.dir, joe, "Maildir/maildirsize")
	u.Quota = "12000S"
	for _, old := range []string{"", "10000S\n0 0\n1 1\n"} {
		if old != "" {
			h.write(joe+"/Maildir/maildirsize", old)
			h.chmod(joe+"/Maildir/maildirsize", 0o600)
		}
		if err := s.RecountQuota(ctx, d, &u); err != nil {
			t.Fatal(err)
		}
		if got := h.read(joe + "/Maildir/maildirsize"); got != "12000S\n9520 5\n" {
			t.Errorf("%q", got)
		}
		if fi, err := os.Lstat(name); err != nil || fi.Mode() != 0o600 {
			t.Errorf("%v, %v", fi.Mode(), err)
		}
	}
	u.Quota = NoQuota
	if err := s.RecountQuota(ctx, d, &u); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(name); !os.IsNotExist(err) {
		t.Errorf("NOQUOTA: the file is there: %v", err)
	}
	u.Dir += "x"
	if err := s.RecountQuota(ctx, d, &u); err != nil {
		t.Errorf("no Maildir: %v", err)
	}
}

// FuzzMaildirsize: whatever the file holds, sums are formed and nothing else
// happens; what vpopmail itself writes is summed exactly.
func FuzzMaildirsize(f *testing.F) {
	seeds := []string{"", "10S\n", "10S\n1 2\n-1 -2\n", "\x00", "1\n2 3\n\n\n", "S\n 99999999999999999999 -99999999999999999999"}
	for _, s := range seeds {
		f.Add(s, uint32(5), uint32(7))
	}
	f.Fuzz(func(t *testing.T, text string, bytes, messages uint32) {
		var m maildirsize
		m.parse(text)
		if m.lines > strings.Count(text, "\n")+1 {
			t.Fatalf("%d lines", m.lines)
		}
		limit, _, _ := strings.Cut(text, "\n")
		if strings.ContainsAny(limit, "\x00") {
			return
		}
		var w maildirsize
		w.parse(fmt.Sprintf("%s\n%d %d\n-1 -2\n", limit, bytes, messages))
		want := maildirsize{limit: limit, bytes: uint64(bytes) - 1, messages: uint64(messages) - 2, lines: 2}
		if w != want {
			t.Fatalf("%+v, want %+v", w, want)
		}
	})
}
