//go:build unix

package vpopmail

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// TestLongReplay goes on where TestReplay stops in the longer sequences. What
// commands that this package does not have did is put in place as it was
// recorded; what the others do on top of that is compared: users into hash
// directories and into those that removed users left, aliases, catch-alls,
// domains when rcpthosts has room again.
func TestLongReplay(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of snapshots")
	}
	want := map[string]int{"cdb": 182, "cdb-domains": 55, "noclear-des": 5, "release-5.6.13": 14}
	for _, seq := range replays() {
		if want[seq.name] == 0 {
			continue
		}
		t.Run(seq.name, func(t *testing.T) {
			steps := readSteps(t, seq.name)
			h := newHost(t, seq.profile, seq.control)
			compared := 0
			for i := range steps {
				st := &steps[i]
				switch st.program() {
				case "vadddomain", "vaddaliasdomain", "vadduser":
					compared++
					replayStep(t, h, st, false)
				default:
					putInPlace(t, h, st)
				}
				if t.Failed() {
					t.Fatalf("step %d: %q", st.N, st.Argv)
				}
			}
			if compared != want[seq.name] {
				t.Errorf("%d steps compared, want %d", compared, want[seq.name])
			}
		})
	}
}

// program is the name of what ran; empty for an edit by hand.
func (st *step) program() string {
	if len(st.Argv) == 0 {
		return ""
	}
	return st.Argv[0]
}

// putInPlace makes a host what it was after a step.
func putInPlace(t *testing.T, h *host, st *step) {
	t.Helper()
	for _, name := range slices.Backward(st.Removed) {
		os.RemoveAll(filepath.Join(h.dir, name))
	}
	for name, g := range st.Changed {
		path := filepath.Join(h.dir, name)
		if g.Type == "dir" {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		text, ok := g.content(t)
		if !ok && (len(g.LinesAdded) > 0 || len(g.LinesRemoved) > 0) {
			text, ok = editLines(h.read(name), &g), true
		}
		if ok {
			h.write(name, text)
		} else if strings.HasSuffix(name, "cdb") {
			continue
		} else {
			t.Fatalf("step %d: %s is not recorded", st.N, name)
		}
		mode, err := strconv.ParseUint(g.Mode, 8, 32)
		if err != nil {
			t.Fatal(err)
		}
		h.chmod(name, fs.FileMode(mode))
		if os.Geteuid() == 0 {
			if err := os.Chown(path, g.UID, g.GID); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, g := range st.Changed {
		if !strings.HasSuffix(name, "cdb") {
			continue
		}
		var m memFile
		var err error
		switch {
		case strings.HasSuffix(name, "/vpasswd.cdb"):
			err = writeCDB(&m, ParseVpasswd([]byte(h.read(strings.TrimSuffix(name, ".cdb")))))
		case name == "QMAIL/control/morercpthosts.cdb":
			err = qmailcontrol.WriteMorercpthosts(&m, strings.NewReader(h.read(strings.TrimSuffix(name, ".cdb"))))
		default:
			m.b, err = parseLines([]byte(h.read("QMAIL/users/assign")), true, true).compile()
		}
		if err != nil {
			t.Fatal(err)
		}
		h.write(name, string(m.b))
		h.chmod(name, 0o600)
		got := h.snapshot()[name]
		if strings.HasPrefix(name, "QMAIL/") {
			h.chmod(name, 0o644)
		} else if os.Geteuid() == 0 {
			os.Chown(filepath.Join(h.dir, name), g.UID, g.GID)
		}
		if got.sum() != g.SHA256 {
			t.Errorf("step %d: %s differs", st.N, name)
		}
	}
}

func editLines(text string, g *goldenFile) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	at := -1
	for _, gone := range g.LinesRemoved {
		at = slices.Index(lines, gone)
		lines = slices.Delete(lines, at, at+1)
	}
	for _, l := range g.LinesAdded {
		name, _, _ := strings.Cut(l, ":")
		i := at
		if len(g.LinesRemoved) == 0 || at < 0 {
			i = slices.IndexFunc(lines, func(o string) bool { n, _, _ := strings.Cut(o, ":"); return n > name })
		}
		if i < 0 {
			i = len(lines)
		}
		lines = slices.Insert(lines, i, l)
	}
	return strings.Join(lines, "\n") + "\n"
}
