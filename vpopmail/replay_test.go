//go:build unix

package vpopmail

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// controlBefore is qmail's configuration before the first step of most
// sequences.
var controlBefore = map[string]string{"me": "mail.example.com\n", "locals": "localhost\n", "rcpthosts": "localhost\n"}

func at56(home string) Profile { p := DefaultProfile56(); p.Home = home; return p }

// A replay is a sequence of commands and the installation that it was run on.
type replay struct {
	name    string
	profile Profile
	control map[string]string
	steps   int
}

func replays() []replay {
	nc, ext := DefaultProfile54(), DefaultProfile54()
	nc.Home, nc.ClearPasswords, nc.Hash = "/home/vpopmail-nc", false, HashDES
	ext.Home = "/home/vpopmail-ext"
	ext.AddressExtensions, ext.LearnPasswords, ext.SqwebmailPass, ext.RoamingUsers = true, true, true, true
	relays := ""
	for i := range 8 {
		relays += fmt.Sprintf("relay%02d.example.net\n", i+1)
	}
	return []replay{
		{"cdb", DefaultProfile54(), map[string]string{"me": "mail.example.com\n",
			"locals": "localhost\nmail.example.com\nexample.com\n", "rcpthosts": "localhost\nmail.example.com\n"}, 265},
		{"cdb-domains", DefaultProfile54(), map[string]string{"me": "mail.example.com\n", "locals": "localhost\n", "rcpthosts": relays}, 68},
		{"noclear-des", nc, controlBefore, 12},
		{"many-options", ext, controlBefore, 27},
		{"release-5.6.13", at56("/home/vpopmail-56"), controlBefore, 22},
		{"vchkpw", DefaultProfile54(), controlBefore, 32},
		{"vdelivermail", DefaultProfile54(), controlBefore, 13},
	}
}

// notOurs are programs that no call of this package stands for. What they did
// is put in place as it was recorded.
var notOurs = map[string]string{
	"":              "an edit by hand",
	"clearopensmtp": "POP before SMTP is kept by tcpserver's rules, not by accounts",
	"q:qmail-local": "a delivery, which TestDeliverExtensions compares",
}

// A departure is a step in which this package does not do what the real
// program did; the table in the package documentation has the reasons. What
// the real one did is put in place afterwards, so that the sequence goes on.
type departure struct {
	err error  // what is refused, and then nothing may change
	why string //
	// differ are the ends of the names of files that differ where the step is
	// carried out; all others are compared.
	differ []string
}

var departures = map[string]map[int]departure{
	"cdb": {
		65:  {nil, "-e leaves the old clear password, with which CRAM-MD5 lets people in", []string{"/vpasswd", "/vpasswd.cdb"}},
		66:  {ErrBadByte, "colons in a comment shift the fields behind", nil},
		68:  {ErrQuota, "junk is stored as no limit", nil},
		84:  {ErrQuota, "10G is stored as ten bytes", nil},
		85:  {ErrQuota, "abc is stored as no limit", nil},
		111: {ErrCatchAll, "the catch-all account by path is removed, and mail for unknown users fails", nil},
		245: {nil, "vdominfo writes", []string{"/.dir-control"}},
		265: {nil, "a look-up makes vpasswd.cdb, here it reads vpasswd", []string{"/vpasswd.cdb"}},
	},
	"many-options": {
		5: {nil, "onchange is called again for -e of vadduser", []string{"/onchange.log"}},
	},
	"release-5.6.13": {
		9:  {ErrBadByte, "colons in a comment shift the fields behind", nil},
		11: {ErrQuota, "10G is stored as ten bytes", nil},
		22: {nil, "vdominfo writes", []string{"/.dir-control"}},
	},
}

// asRoot are steps that only root's vmoduser carries out.
var asRoot = map[string][]int{"cdb": {49, 51}}

// TestReplay runs every step of each sequence and compares every path that
// changed or did not.
func TestReplay(t *testing.T) {
	for _, seq := range replays() {
		t.Run(seq.name, func(t *testing.T) {
			steps := readSteps(t, seq.name)
			if len(steps) != seq.steps {
				t.Fatalf("%d steps, want %d", len(steps), seq.steps)
			}
			h := newHost(t, seq.profile, seq.control)
			if seq.name == "many-options" {
				h.logChanges()
			}
			if os.Geteuid() != 0 {
				t.Log("not root: owners are not compared")
			}
			for i := range steps {
				seq.step(t, h, &steps[i])
				if t.Failed() {
					t.Fatalf("step %d: %q", steps[i].N, steps[i].Argv)
				}
				if testing.Short() && i == 60 {
					t.Skip("the first steps only")
				}
			}
		})
	}
}

func (seq *replay) step(t *testing.T, h *host, st *step) {
	t.Helper()
	if _, ok := notOurs[st.program()]; ok {
		putInPlace(t, h, st)
		return
	}
	if os.Geteuid() != 0 && slices.Contains(asRoot[seq.name], st.N) {
		if res := h.carryOut(st); !errors.Is(res.err, ErrNotRoot) {
			t.Errorf("%v, want %v", res.err, ErrNotRoot)
		}
		putInPlace(t, h, st)
		return
	}
	d, departs := departures[seq.name][st.N]
	before := h.snapshot()
	if d.err == nil {
		replayStep(t, h, st, seq.name == "vdelivermail", d.differ...)
	} else {
		if res := h.carryOut(st); !errors.Is(res.err, d.err) {
			t.Errorf("%v, want %v: %s", res.err, d.err, d.why)
		}
		compareTrees(t, "refused", before, h.snapshot())
	}
	if !departs {
		return
	}
	// What was recorded are changes of what was there before.
	for name := range st.Changed {
		if was, ok := before[name]; ok && was.Type == "file" {
			h.write(name, was.Content)
		}
	}
	putInPlace(t, h, st)
}

// logChanges is the script of the sequence many-options.
func (h *host) logChanges() {
	h.opts.OnChange = func(_ context.Context, argv []string) error {
		const name = "VPOPMAIL/etc/onchange.log"
		f, err := os.OpenFile(h.dir+"/"+name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		for _, a := range argv {
			fmt.Fprintf(f, "[%s]", a)
		}
		fmt.Fprintln(f)
		return f.Close()
	}
}

// replayStep runs a step and compares every path that changed or did not,
// except those that are named.
func replayStep(t *testing.T, h *host, st *step, onlyHome bool, but ...string) {
	t.Helper()
	before := h.snapshot()
	res := h.carryOut(st)
	wantOut, _, _ := strings.Cut(st.Stdout, "\nvadduser: usage")
	wantOut, _, _ = strings.Cut(wantOut, " (max=") // 5.6
	if res.rc != st.RC || strings.TrimSuffix(res.stdout, "\n") != strings.TrimSuffix(wantOut, "\n") {
		t.Errorf("status %d, %q (%v); want %d, %q", res.rc, res.stdout, res.err, st.RC, wantOut)
	}
	notice := slices.ContainsFunc(res.problems, func(p qmailkit.Problem) bool { return p.Code == "control.out-of-order" })
	if notice != strings.Contains(st.Stderr, "Out of order") {
		t.Errorf("notice: %v, want %q", notice, st.Stderr)
	}
	after := h.snapshot()
	changed, removed := diff(before, after)
	if !slices.Equal(removed, slices.Sorted(slices.Values(st.Removed))) {
		t.Errorf("removed %q, want %q", removed, st.Removed)
	}
	masked := func(name string) bool {
		return onlyHome && strings.HasPrefix(name, "QMAIL/") ||
			slices.ContainsFunc(but, func(end string) bool { return strings.HasSuffix(name, end) })
	}
	for _, name := range changed {
		if _, ok := st.Changed[name]; !ok && !masked(name) && name != "VPOPMAIL/domains" && name != "QMAIL/users" && name != "QMAIL/control" {
			t.Errorf("%s changed: %+v", name, after[name])
		}
	}
	compareChanged(t, st, after, masked)
}

// compareChanged compares what a step changed. Where the golden file tells
// neither bytes nor salt of vpasswd, its length only.
func compareChanged(t *testing.T, st *step, after map[string]seen, masked func(string) bool) {
	t.Helper()
	unknownSalt := false
	for name, want := range st.Changed {
		if strings.HasSuffix(name, "/vpasswd") && want.Text == nil && want.LinesAdded == nil && want.LinesRemoved == nil {
			unknownSalt = true
		}
	}
	for name, want := range st.Changed {
		got, ok := after[name]
		if masked(name) {
			continue
		}
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		if unknownSalt && (strings.HasSuffix(name, "/vpasswd") || strings.HasSuffix(name, "/vpasswd.cdb")) {
			want.SHA256 = got.sum()
			if int64(len(got.Content)) != want.Size {
				t.Errorf("%s: %d bytes, want %d", name, len(got.Content), want.Size)
			}
		}
		for _, m := range masks {
			if want.Mode == m.real && strings.HasSuffix(name, m.end) {
				want.Mode = m.here
				if m.owned {
					want.UID, want.GID = 89, 89
				}
			}
		}
		compareFile(t, name, got, &want)
	}
}

// masks are modes, and with owned the owner, that are not those of the real
// programs.
var masks = []struct {
	end, real, here string
	owned           bool
	why             string
}{
	{"/vpasswd", "0644", "0600", false, "vmoduser, vpasswd and vsetuserquota leave clear passwords readable to who gets into the directory"},
	{"/.qmailadmin-limits", "0644", "0600", true, "vmoddomlimits leaves the file to root, and whoever reads it next gives it to the owner"},
}

func compareFile(t *testing.T, name string, got seen, want *goldenFile) {
	t.Helper()
	if got.Type != want.Type || got.Mode != want.Mode {
		t.Errorf("%s: %s %s, want %s %s", name, got.Type, got.Mode, want.Type, want.Mode)
	}
	if os.Geteuid() == 0 && (got.UID != want.UID || got.GID != want.GID) {
		t.Errorf("%s: owner %d:%d, want %d:%d", name, got.UID, got.GID, want.UID, want.GID)
	}
	if want.Type == "dir" {
		return
	}
	if got.sum() != want.SHA256 {
		if strings.HasSuffix(name, "cdb") {
			t.Errorf("%s: %d bytes that differ, want %d", name, len(got.Content), want.Size)
			return
		}
		text, _ := want.content(t)
		t.Errorf("%s: %d bytes, want %d\n%q\nwant\n%q %q", name, len(got.Content), want.Size, got.Content, text, want.LinesAdded)
	}
}

func (s *seen) sum() string {
	sum := sha256.Sum256([]byte(s.Content))
	return hex.EncodeToString(sum[:])
}
