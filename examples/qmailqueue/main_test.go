//go:build unix

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"
)

// call runs the program.
func call(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

// must runs the program and wants an exit code.
func must(t testing.TB, want int, stdin string, args ...string) string {
	t.Helper()
	code, out, errs := call(t, stdin, args...)
	if code != want {
		t.Fatalf("%q: exit code %d, want %d\n%s%s", args, code, want, out, errs)
	}
	return out
}

// tempDir lies in memory where that is possible: the program syncs often.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "qmailqueue")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// sampleDir makes a queue in a directory of its own, and gives the flags that
// name it.
func sampleDir(t testing.TB, split string) (dir string, flags []string) {
	t.Helper()
	dir = filepath.Join(tempDir(t), "queue")
	args := []string{"create", "-queue", dir, "-split", split}
	if os.Geteuid() == 0 {
		args = append(args, "-qmailq", "64014", "-qmails", "64012", "-qmailr", "64013", "-qmail", "64010")
	}
	must(t, 0, "", args...)
	if out := must(t, 0, "", "check", "-queue", dir); out != "nothing is wrong\n" {
		t.Fatal(out)
	}
	return dir, []string{"-queue", dir}
}

func with(cmd string, flags []string, more ...string) []string {
	return slices.Concat([]string{cmd}, flags, more)
}

// submit queues a message and returns its number.
func submit(t testing.TB, flags []string, sender, message string, to ...string) string {
	t.Helper()
	before := ids(t, flags)
	must(t, 0, message, with("submit", flags, append([]string{"-sender", sender}, to...)...)...)
	for _, id := range ids(t, flags) {
		if !slices.Contains(before, id) {
			return id
		}
	}
	t.Fatal("nothing was queued")
	return ""
}

func ids(t testing.TB, flags []string, sel ...string) []string {
	t.Helper()
	list := strings.Fields(must(t, 0, "", with("list", flags, append([]string{"-ids"}, sel...)...)...))
	sort.Strings(list)
	return list
}

// preprocess does what qmail-send does to a message in todo.
func preprocess(t testing.TB, dir, id string, sender string, local, remote []string) {
	t.Helper()
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := filepath.Glob(filepath.Join(dir, "info", "*"))
	if err != nil {
		t.Fatal(err)
	}
	sub := fmt.Sprint(n % uint64(len(layout)))
	for part, records := range map[string][]string{"info": {"F" + sender}, "local": local, "remote": remote} {
		if len(records) == 0 {
			continue
		}
		path := filepath.Join(dir, part, sub, id)
		if err := os.WriteFile(path, []byte(strings.Join(records, "\x00")+"\x00"), 0o600); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Chown(path, 64012, 64010); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, part := range []string{"intd", "todo"} {
		if err := os.Remove(filepath.Join(dir, part, id)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGolden compares stat and list -qread with what qmail-qstat and
// qmail-qread printed of queues that real programs made, and check with whether
// they were damaged.
func TestGolden(t *testing.T) {
	f, err := os.Open("../../queue/testdata/golden.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]map[string][]byte{}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if dir, base := filepath.Split(h.Name); base != "" && dir != "" {
			if files[dir] == nil {
				files[dir] = map[string][]byte{}
			}
			files[dir][base] = b
		}
	}
	if len(files) < 30 {
		t.Fatalf("%d queues", len(files))
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can unpack a queue with its owners")
	}
	for name, g := range files {
		t.Run(strings.TrimSuffix(name, "/"), func(t *testing.T) { golden(t, g) })
	}
}

func golden(t *testing.T, g map[string][]byte) {
	dir := tempDir(t)
	unpack(t, dir, g["queue.tar"])
	q := filepath.Join(dir, "queue")
	if got := must(t, 0, "", "stat", "-queue", q); got != string(g["qstat.txt"]) {
		t.Errorf("stat: %q, want %q", got, g["qstat.txt"])
	}
	_, got, _ := call(t, "", "list", "-qread", "-queue", q)
	if sorted(got) != sorted(string(g["qread.txt"])) {
		t.Errorf("list -qread:\n%s\nwant\n%s", got, g["qread.txt"])
	}
	manifest := filepath.Join(dir, "manifest.tsv")
	if err := os.WriteFile(manifest, g["manifest.tsv"], 0o600); err != nil {
		t.Fatal(err)
	}
	// The moment after the last one that the manifest tells of.
	var last int64
	for i, line := range strings.Split(strings.TrimSpace(string(g["manifest.tsv"])), "\n") {
		if n, err := strconv.ParseInt(strings.Split(line, "\t")[9], 10, 64); err == nil {
			last = max(last, n)
		} else if i > 0 {
			t.Fatal(err)
		}
	}
	code, out, errs := call(t, "", "check", "-json", "-queue", q, "-inodes", manifest, "-now", fmt.Sprint(last),
		"-qmailq", "64014", "-qmails", "64012", "-qmailr", "64013", "-qmail", "64010")
	want := 0
	if g["defects.json"] != nil {
		want = 3
	}
	if code != want {
		t.Errorf("check: exit code %d, want %d\n%s%s", code, want, out, errs)
	}
	before := contents(t, q, "/mess/")
	must(t, 0, "", "repair", "-queue", q)
	if out := must(t, 0, "", "check", "-queue", q); !strings.HasSuffix(out, "nothing is wrong\n") {
		t.Error(out)
	}
	after := append(contents(t, q, "/mess/"), contents(t, filepath.Join(dir, "quarantine"), "")...)
	for _, m := range before {
		if !slices.Contains(after, m) {
			t.Errorf("a message is lost: %.60q", m)
		}
	}
}

// contents are the bytes of all files whose path holds a text.
func contents(t *testing.T, dir, part string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !strings.Contains(path, part) {
			return err
		}
		b, err := os.ReadFile(path)
		list = append(list, string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func sorted(s string) string {
	lines := strings.SplitAfter(s, "\n")
	sort.Strings(lines)
	return strings.Join(lines, "")
}

func unpack(t *testing.T, dir string, b []byte) {
	t.Helper()
	type later struct {
		path string
		h    *tar.Header
	}
	var dirs []later
	for tr := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
			dirs = append(dirs, later{path, h})
		case tar.TypeReg:
			var b []byte
			if b, err = io.ReadAll(tr); err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
		case tar.TypeLink:
			err = os.Link(filepath.Join(dir, h.Linkname), path)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		case tar.TypeFifo:
			err = mkfifo(path)
		}
		if err == nil && h.Typeflag != tar.TypeSymlink && h.Typeflag != tar.TypeDir {
			err = errors.Join(os.Chown(path, h.Uid, h.Gid), os.Chmod(path, h.FileInfo().Mode().Perm()), os.Chtimes(path, h.AccessTime, h.ModTime))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range dirs {
		if err := errors.Join(os.Chown(d.path, d.h.Uid, d.h.Gid), os.Chmod(d.path, d.h.FileInfo().Mode().Perm())); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSelect selects by everything there is.
func TestSelect(t *testing.T) {
	dir, q := sampleDir(t, "23")
	alice := submit(t, q, "alice@example.com", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\nX-Php-Script: /spam.php\n\nneedle in a "+strings.Repeat("haystack ", 20_000)+"needle2\n", "bob@example.org", "carol@EXAMPLE.net")
	bounce := submit(t, q, "", "Subject: failure\n\nno\n", "alice@example.com")
	old := submit(t, q, "x@example.org", "Subject: old\n\n", "joe@example.com")
	preprocess(t, dir, old, "x@example.org", []string{"Dexample.com-joe@example.com"}, []string{"Tsue@example.net"})
	at := time.Now().Add(-50 * time.Hour)
	for _, f := range glob(t, dir, "info/*/"+old) {
		if err := os.Chtimes(f, at, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		sel  string
		want []string
	}{
		{"", []string{alice, bounce, old}},
		{"-sender alice@example.com", []string{alice}},
		{"-sender ALICE@example.com -case", nil},
		{"-sender alice", nil},
		{"-sender @example.com", []string{alice}},
		{"-sender <>", []string{bounce}},
		{"-sender <> -sender x@example.org", []string{bounce, old}},
		{"-recipient carol@example.net", []string{alice}},
		{"-recipient joe@example.com", []string{old}},
		{"-recipient @example.com", []string{bounce, old}},
		{"-recipient oe@example.com", nil},
		{"-regexp -recipient ^(bob|sue)@", []string{alice, old}},
		{"-subject gRüßE", []string{alice}},
		{"-subject GRÜßE", nil}, // only ASCII is folded
		{"-subject .", nil},
		{"-regexp -subject ^.l", []string{old}},
		{"-header X-PHP-SCRIPT:spam.php", []string{alice}},
		{"-body needle2", []string{alice}},
		{"-body NEEDLE2", []string{alice}},
		{"-body NEEDLE2 -case", nil},
		{"-regexp -body needle[2]", []string{alice}},
		{"-state S5", []string{old}},
		{"-state s4 -sender <>", []string{bounce}},
		{"-older 2d", []string{old}},
		{"-older 51h", nil},
		{"-newer 1h", []string{alice, bounce}},
		{"-larger 100K", []string{alice}},
		{"-smaller 1k", []string{bounce, old}},
		{"-remote", []string{old}},
		{"-local", nil}, // it is done
		{"-bouncing", nil},
		{"-id " + alice + " -id " + old, []string{alice, old}},
	} {
		sort.Strings(c.want)
		if got := ids(t, q, strings.Fields(c.sel)...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.sel, got, c.want)
		}
	}
	if out := must(t, 3, "", with("list", q, "-ids", "-id", alice, "-id", "1")...); strings.TrimSpace(out) != alice {
		t.Errorf("a number that is not there: %q", out)
	}
	if out := must(t, 0, "", with("top", q, "-json", "-by", "domain")...); !strings.HasPrefix(out, `{"count":2,`) || !strings.Contains(out, `"example.net"`) {
		t.Errorf("top by domain:\n%s", out)
	}
	if out := must(t, 0, "", with("list", q, "-sort", "age", "-n", "1", "-ids")...); strings.TrimSpace(out) != old {
		t.Errorf("the oldest: %q", out)
	}
	if out := must(t, 0, "", with("list", q, "-sort", "size", "-n", "1", "-ids")...); strings.TrimSpace(out) != alice {
		t.Errorf("the largest: %q", out)
	}
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(list) == 0 {
		t.Fatalf("%s: %q, %v", pattern, list, err)
	}
	return list
}

// TestTerminal lists and shows a message that is made to harm a terminal.
func TestTerminal(t *testing.T) {
	_, q := sampleDir(t, "23")
	id := submit(t, q, "a\x1b]0;x\x07@example.com", "Subject: \x1b[2J=?utf-8?q?=1B[31mred=C2=9Bx=E2=80=AE?=\nFrom: \x1b[5m\n\n\x1b[1mbody\r\x00\n", "\x1b@example.org")
	for _, cmd := range []string{"list", "show", "top"} {
		args := with(cmd, q)
		if cmd == "show" {
			args = append(args, id)
		}
		out := must(t, 0, "", args...)
		if i := strings.IndexFunc(out, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x202e }); i >= 0 {
			t.Errorf("%s: control character %q in\n%q", cmd, out[i:], out)
		}
	}
	if out := must(t, 0, "", with("list", q, "-color", "always")...); !strings.Contains(out, blue) || !strings.Contains(out, `red`) {
		t.Errorf("colours: %q", out)
	}
	if out := must(t, 0, "", with("show", q, "-raw", id)...); !strings.HasSuffix(out, "\x1b[1mbody\r\x00\n") {
		t.Errorf("raw: %q", out)
	}
	var d map[string]any
	if err := json.Unmarshal([]byte(must(t, 0, "", with("show", q, "-json", id)...)), &d); err != nil || d["sender"] != "a\x1b]0;x\x07@example.com" {
		t.Errorf("%v: %v", err, d)
	}
}
