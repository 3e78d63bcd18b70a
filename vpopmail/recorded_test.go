//go:build unix

package vpopmail

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// program is the name of what ran; empty for an edit by hand.
func (st *step) program() string {
	if len(st.Argv) == 0 {
		return ""
	}
	return st.Argv[0]
}

// putInPlace makes a host what the real one was after a step.
func putInPlace(t *testing.T, h *host, st *step) {
	t.Helper()
	for _, name := range slices.Backward(st.Removed) {
		if err := os.RemoveAll(filepath.Join(h.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(st.Changed)) {
		g := st.Changed[name]
		path := filepath.Join(h.dir, name)
		if g.Type == "dir" {
			if err := os.MkdirAll(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if os.Geteuid() == 0 {
				if err := os.Chown(path, g.UID, g.GID); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		text, ok := g.content(t)
		if !ok && (len(g.LinesAdded) > 0 || len(g.LinesRemoved) > 0) {
			text, ok = editLines(h.read(name), &g), true
		}
		if ok {
			h.write(name, text)
		} else if strings.HasSuffix(name, "cdb") {
			continue
		} else if now, there := h.snapshot()[name]; !there || now.sum() != g.SHA256 {
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
		if !strings.HasSuffix(name, "cdb") || strings.HasSuffix(name, "/tcp.smtp.cdb") {
			continue // tcpserver's rules: nothing here reads them
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
