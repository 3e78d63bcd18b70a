//go:build unix

package vpopmail

import (
	"crypto/sha256"
	"encoding/hex"
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
	leading int // steps up to the first command that this package does not have
}

func replays() []replay {
	nc := DefaultProfile54()
	nc.Home, nc.ClearPasswords, nc.Hash = "/home/vpopmail-nc", false, HashDES
	relays := ""
	for i := range 8 {
		relays += fmt.Sprintf("relay%02d.example.net\n", i+1)
	}
	return []replay{
		{"cdb", DefaultProfile54(), map[string]string{"me": "mail.example.com\n",
			"locals": "localhost\nmail.example.com\nexample.com\n", "rcpthosts": "localhost\nmail.example.com\n"}, 20},
		{"cdb-domains", DefaultProfile54(), map[string]string{"me": "mail.example.com\n", "locals": "localhost\n", "rcpthosts": relays}, 68},
		{"noclear-des", nc, controlBefore, 5},
		{"release-5.6.13", at56("/home/vpopmail-56"), controlBefore, 7},
		{"vchkpw", DefaultProfile54(), controlBefore, 12},
		{"vdelivermail", DefaultProfile54(), controlBefore, 13},
	}
}

// TestReplay runs the leading steps of each sequence and compares every path
// that changed or did not.
func TestReplay(t *testing.T) {
	for _, seq := range replays() {
		t.Run(seq.name, func(t *testing.T) {
			steps := readSteps(t, seq.name)
			if len(steps) < seq.leading {
				t.Fatalf("%d steps, want %d", len(steps), seq.leading)
			}
			h := newHost(t, seq.profile, seq.control)
			if os.Geteuid() != 0 {
				t.Log("not root: owners are not compared")
			}
			for i := range steps[:seq.leading] {
				replayStep(t, h, &steps[i], seq.name == "vdelivermail")
				if t.Failed() {
					t.Fatalf("step %d: %q", steps[i].N, steps[i].Argv)
				}
			}
		})
	}
}

// replayStep runs a step and compares every path that changed or did not.
func replayStep(t *testing.T, h *host, st *step, onlyHome bool) {
	t.Helper()
	before, unknownSalt := h.snapshot(), false
	res := h.carryOut(st)
	wantOut, _, _ := strings.Cut(st.Stdout, "\nvadduser: usage")
	wantOut, _, _ = strings.Cut(wantOut, " (max=") // 5.6
	if res.rc != st.RC || strings.TrimSuffix(res.stdout, "\n") != strings.TrimSuffix(wantOut, "\n") {
		t.Errorf("status %d, %q; want %d, %q", res.rc, res.stdout, st.RC, wantOut)
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
	for _, name := range changed {
		if onlyHome && strings.HasPrefix(name, "QMAIL/") {
			continue
		}
		if _, ok := st.Changed[name]; !ok && name != "VPOPMAIL/domains" && name != "QMAIL/users" && name != "QMAIL/control" {
			t.Errorf("%s changed: %+v", name, after[name])
		}
	}
	for name, want := range st.Changed {
		if strings.HasSuffix(name, "/vpasswd") && want.Text == nil && want.LinesAdded == nil {
			unknownSalt = true
		}
	}
	for name, want := range st.Changed {
		got, ok := after[name]
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		if unknownSalt && (strings.HasSuffix(name, "/vpasswd") || strings.HasSuffix(name, "/vpasswd.cdb")) {
			// The golden file tells neither bytes nor salt, only the length.
			want.SHA256 = got.sum()
			if int64(len(got.Content)) != want.Size {
				t.Errorf("%s: %d bytes, want %d", name, len(got.Content), want.Size)
			}
		}
		compareFile(t, name, got, &want)
	}
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
