//go:build unix

package vpopmail

import (
	"bufio"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A step is one command of the real programs with every path that it changed:
// see testdata/README.
type step struct {
	N       int
	Argv    []string
	RC      int
	Stdout  string
	Stderr  string
	Note    string
	Group   int
	Stdin   *struct{ Text string }
	Env     map[string]string
	UIDGID  []int                 `json:"uid_gid"`
	ByHand  string                `json:"by_hand"`
	Changed map[string]goldenFile `json:"changed"`
	Removed []string
	SQL     []string // statements that the program sent
}

type goldenFile struct {
	Type         string
	Mode         string
	UID, GID     int
	Size         int64
	SHA256       string
	Text         *string
	Base64       *string
	LinesAdded   []string `json:"lines_added"`
	LinesRemoved []string `json:"lines_removed"`
}

func (g *goldenFile) content(t testing.TB) (string, bool) {
	switch {
	case g.Text != nil:
		return *g.Text, true
	case g.Base64 != nil:
		b, err := base64.StdEncoding.DecodeString(*g.Base64)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), true
	}
	return "", false
}

func readSteps(t testing.TB, name string) []step {
	t.Helper()
	f, err := os.Open("testdata/golden/" + name + ".jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []step
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 1<<22)
	for sc.Scan() {
		var s step
		if err := json.Unmarshal(sc.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// A host is a vpopmail and a qmail in a temporary directory.
type host struct {
	t       testing.TB
	dir     string // holds VPOPMAIL and QMAIL
	profile Profile
	opts    Options
}

const vlimitsDefault = "# no limits\nmaxpopaccounts\t\t-1\n#default_quota\t\t10485760\n"

func newHost(t testing.TB, p Profile, control map[string]string) *host {
	t.Helper()
	h := &host{t: t, dir: tempDir(t), profile: p}
	h.opts.LockWait = 3 * time.Second
	for _, d := range []string{"VPOPMAIL/domains", "VPOPMAIL/etc", "QMAIL/control", "QMAIL/users"} {
		if err := os.MkdirAll(filepath.Join(h.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h.chmod("VPOPMAIL/domains", 0o700)
	h.write("VPOPMAIL/etc/vlimits.default", vlimitsDefault)
	for name, text := range control {
		h.write("QMAIL/control/"+name, text)
	}
	return h
}

// tempDir lies in memory where that is possible: the tests sync often.
func tempDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "vpopmail")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (h *host) chmod(name string, mode fs.FileMode) {
	if err := os.Chmod(filepath.Join(h.dir, name), mode); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	h.chmod(name, 0o644)
}

func (h *host) read(name string) string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b)
}

func (h *host) root(name string) *os.Root {
	h.t.Helper()
	r, err := os.OpenRoot(filepath.Join(h.dir, name))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { r.Close() })
	return r
}

func (h *host) open() *Store {
	h.t.Helper()
	o := h.opts
	o.Profile = &h.profile
	s, err := Open(h.root("VPOPMAIL"), h.root("QMAIL"), &o)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// seen is what a path looks like.
type seen struct {
	Type     string
	Mode     string
	UID, GID int
	Content  string
}

// snapshot reads all under VPOPMAIL/domains and QMAIL/{control,users}.
func (h *host) snapshot() map[string]seen {
	h.t.Helper()
	all := map[string]seen{}
	err := filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(h.dir, path)
		st := fi.Sys().(*syscall.Stat_t)
		s := seen{Type: "file", Mode: fmt.Sprintf("%04o", fi.Mode().Perm()), UID: int(st.Uid), GID: int(st.Gid)}
		if d.IsDir() {
			s.Type = "dir"
		} else {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			s.Content = string(b)
		}
		all[rel] = s
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return all
}

// diff says which paths differ.
func diff(before, after map[string]seen) (changed, removed []string) {
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if b, ok := before[name]; !ok || b != after[name] {
			changed = append(changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[name]; !ok {
			removed = append(removed, name)
		}
	}
	return changed, removed
}

// goldenSalt finds the salt in the hash that a step stored for a user.
func goldenSalt(st *step, user string) string {
	if salt := sqlSalt(st.SQL, user); salt != "" {
		return salt
	}
	for name, f := range st.Changed {
		if !strings.HasSuffix(name, "/vpasswd") {
			continue
		}
		lines := f.LinesAdded
		if f.Text != nil {
			lines = strings.Split(*f.Text, "\n")
		}
		for _, l := range lines {
			u, err := ParseLine([]byte(l))
			if err != nil || u.Name != user {
				continue
			}
			if hash := string(u.Hash); strings.HasPrefix(hash, "$") {
				return strings.Split(hash, "$")[2]
			} else if len(hash) == 13 {
				return hash[:2]
			}
		}
	}
	return ""
}
