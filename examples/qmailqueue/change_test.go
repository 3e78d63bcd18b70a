//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

// TestQuarantineRestore takes messages out and brings them back: those who had
// the message do not get it again.
func TestQuarantineRestore(t *testing.T) {
	dir, q := sampleDir(t, "23")
	one := submit(t, q, "alice@example.com", "Subject: one\n\n1\n", "bob@example.org")
	two := submit(t, q, "alice@example.com", "Subject: two\n\n2\n", "joe@example.com")
	preprocess(t, dir, two, "alice@example.com", []string{"Texample.com-joe@example.com"}, []string{"Dsue@example.net", "Ttim@example.net"})
	keep := submit(t, q, "eve@example.com", "Subject: three\n\n3\n", "bob@example.org")

	if code, _, errs := call(t, "", with("quarantine", q)...); code != 2 || !strings.Contains(errs, "-all") {
		t.Errorf("without a selection: exit code %d, %s", code, errs)
	}
	before := ids(t, q)
	must(t, 0, "", with("quarantine", q, "-n", "-all")...)
	if got := ids(t, q); !slices.Equal(got, before) {
		t.Fatalf("-n changed %q to %q", before, got)
	}
	must(t, 0, "", with("quarantine", q, "-sender", "alice@example.com")...)
	if got := ids(t, q); !slices.Equal(got, []string{keep}) {
		t.Fatalf("in the queue: %q", got)
	}
	if out := must(t, 0, "", with("restore", q, "-list")...); strings.Count(out, "\n") != 2 || !strings.Contains(out, one) || !strings.Contains(out, two) {
		t.Fatalf("in the quarantine:\n%s", out)
	}

	// What the local recipient was called stands in virtualdomains.
	must(t, 3, "", with("restore", q, "-all")...)
	control := filepath.Join(filepath.Dir(dir), "control")
	if err := os.Mkdir(control, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"me": "mail.example.com\n", "virtualdomains": "example.com:example.com\n"} {
		if err := os.WriteFile(filepath.Join(control, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	must(t, 0, "", with("restore", q, "-all")...)
	must(t, 0, "", with("restore", q, "-all")...) // all were brought back: nothing to do
	got := map[string]string{}
	for _, id := range ids(t, q, "-sender", "alice@example.com") {
		b, err := os.ReadFile(filepath.Join(dir, "todo", id))
		if err != nil {
			t.Fatal(err)
		}
		_, to, _ := strings.Cut(string(b), "\x00F")
		got[to] = id
	}
	for _, want := range []string{"alice@example.com\x00Tbob@example.org\x00", "alice@example.com\x00Tjoe@example.com\x00Ttim@example.net\x00"} {
		if got[want] == "" {
			t.Errorf("no envelope %q in %q", want, got)
		}
	}
	if len(got) != 2 {
		t.Errorf("%d messages came back", len(got))
	}
	if out := must(t, 0, "", "check", "-queue", dir); out != "nothing is wrong\n" {
		t.Error(out)
	}
}

// TestDelete removes messages, and says which it did not find.
func TestDelete(t *testing.T) {
	dir, q := sampleDir(t, "23")
	a := submit(t, q, "a@example.com", "Subject: a\n\n", "x@example.org")
	b := submit(t, q, "b@example.com", "Subject: b\n\n", "x@example.org")
	c := submit(t, q, "c@example.com", "Subject: c\n\n", "x@example.org")
	preprocess(t, dir, b, "b@example.com", []string{"Tx@example.org"}, []string{"Ty@example.org"})
	must(t, 3, "", with("delete", q, "-id", "9999", "-id", a)...) // qmHandle then removes nothing
	if got := ids(t, q); slices.Contains(got, a) || len(got) != 2 {
		t.Fatalf("left: %q", got)
	}
	must(t, 0, "", with("delete", q, b)...)
	if got := ids(t, q); !slices.Equal(got, []string{c}) {
		t.Fatalf("left: %q", got)
	}
	if out := must(t, 0, "", "check", "-queue", dir); out != "nothing is wrong\n" {
		t.Error(out)
	}
}

// TestRunning finds a lock that is taken, and changes nothing then.
func TestRunning(t *testing.T) {
	dir, q := sampleDir(t, "23")
	id := submit(t, q, "a@example.com", "Subject: a\n\n", "x@example.org")
	f, err := os.OpenFile(filepath.Join(dir, "lock", "sendmutex"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{with("delete", q, id), with("quarantine", q, "-all"), with("repair", q), with("convert", q, "-split", "7")} {
		if code, _, errs := call(t, "", args...); code != 1 || !strings.Contains(errs, "stop qmail-send") {
			t.Errorf("%q: exit code %d, %s", args[0], code, errs)
		}
	}
	if got := ids(t, q); !slices.Equal(got, []string{id}) {
		t.Errorf("left: %q", got)
	}
	if out := must(t, 0, "", with("stat", q, "-long")...); !strings.Contains(out, "qmail-send runs: yes") {
		t.Error(out)
	}
}

// TestConvert splits a queue in other ways and back; repair mends one whose
// files were copied.
func TestConvert(t *testing.T) {
	dir, q := sampleDir(t, "7")
	texts := map[string]bool{}
	for i := range 30 {
		id := submit(t, q, fmt.Sprintf("s%d@example.com", i), fmt.Sprintf("Subject: %d\n\n", i), "x@example.org")
		if i%2 == 0 {
			preprocess(t, dir, id, fmt.Sprintf("s%d@example.com", i), nil, []string{"Tx@example.org"})
		}
		texts[fmt.Sprintf("s%d@example.com", i)] = true
	}
	whole := func() {
		t.Helper()
		if out := must(t, 0, "", "check", "-queue", dir); out != "nothing is wrong\n" {
			t.Fatal(out)
		}
		seen := map[string]bool{}
		for line := range strings.Lines(must(t, 0, "", with("top", q, "-n", "0")...)) {
			f := strings.Fields(line)
			seen[strings.Trim(f[len(f)-1], "<>")] = true
		}
		for s := range texts {
			if !seen[s] {
				t.Errorf("the message of %s is lost", s)
			}
		}
		if len(seen) != len(texts) {
			t.Errorf("%d senders, want %d", len(seen), len(texts))
		}
	}
	for _, args := range [][]string{{"-split", "23"}, {"-bigtodo", "yes"}, {"-split", "3", "-bigtodo", "no"}} {
		must(t, 0, "", with("convert", q, args...)...)
		whole()
	}
	if code, _, errs := call(t, "", with("convert", q, "-split", "8")...); code != 2 || !strings.Contains(errs, "prime") {
		t.Errorf("a split that is no prime: exit code %d, %s", code, errs)
	}
	// A copy has other inode numbers.
	other := filepath.Join(t.TempDir(), "queue")
	if err := os.CopyFS(other, os.DirFS(filepath.Join(dir, "mess"))); err != nil {
		t.Fatal(err)
	}
	for i, from := range glob(t, other, "*/*") {
		to := filepath.Join(dir, "mess", strings.TrimPrefix(from, other))
		if err := os.Remove(to); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to+".new", b, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(to+".new", to); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 && i >= 0 {
			if err := os.Chown(to, 64014, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
	must(t, 0, "", with("repair", q)...)
	whole()
}

// TestTimes sets times while the queue could be in use.
func TestTimes(t *testing.T) {
	dir, q := sampleDir(t, "23")
	id := submit(t, q, "a@example.com", "Subject: a\n\n", "x@example.org")
	todo := submit(t, q, "a@example.com", "Subject: todo\n\n", "x@example.org")
	empty := submit(t, q, "", "Subject: bounce\n\n", "x@example.org")
	preprocess(t, dir, id, "a@example.com", nil, []string{"Tx@example.org"})
	preprocess(t, dir, empty, "", nil, []string{"Tx@example.org"})
	mtime := func(part, id string) time.Time {
		fi, err := os.Stat(glob(t, dir, part+"/*/"+id)[0])
		if err != nil {
			t.Fatal(err)
		}
		return fi.ModTime()
	}
	at := time.Now().Add(3 * time.Hour).Truncate(time.Second)
	must(t, 3, "", with("retry", q, "-at", fmt.Sprint(at.Unix()), id, todo)...)
	if got := mtime("remote", id); !got.Equal(at) {
		t.Errorf("next try at %v, want %v", got, at)
	}
	out := must(t, 3, "", with("expire", q, "-all", "-lifetime", "1d")...)
	if strings.Contains(out, empty) || strings.Contains(out, todo) || !strings.Contains(out, id) {
		t.Errorf("expired:\n%s", out)
	}
	if age := time.Since(mtime("info", id)); age < 24*time.Hour {
		t.Errorf("age %v", age)
	}
	if age := time.Since(mtime("info", empty)); age > time.Hour {
		t.Errorf("a bounce was expired: age %v", age)
	}
	must(t, 0, "", with("retry", q, "-renew", id)...)
	if age := time.Since(mtime("info", id)); age > time.Hour {
		t.Errorf("not young again: age %v", age)
	}
	must(t, 0, "", with("expire", q, "-lifetime", "1d", "-allow-empty", empty)...)
	if age := time.Since(mtime("info", empty)); age < 24*time.Hour {
		t.Errorf("a bounce was not expired though asked for: age %v", age)
	}
}

// TestUsage gives wrong command lines.
func TestUsage(t *testing.T) {
	_, q := sampleDir(t, "23")
	for _, args := range [][]string{
		{}, {"frob"}, with("list", q, "-sort", "x"), with("list", q, "-regexp", "-sender", "("), with("list", q, "-state", "S9"),
		with("list", q, "-qread", "-all"), with("top", q, "-by", "x"), with("show", q), with("show", q, "x"), with("delete", q, "-id", "x"),
		with("delete", q, "1", "-n"), with("convert", q), with("retry", q, "-all", "-pid", "x"), with("list", q, "-older", "x"), with("restore", q),
		with("list", q, "-now", "x"), with("list", q, "-header", "x"), with("show", q, "-raw", "1", "2"),
	} {
		if code, out, _ := call(t, "", args...); code != 2 || out != "" {
			t.Errorf("%q: exit code %d, %s", args, code, out)
		}
	}
	if out := must(t, 0, "", "-h"); !strings.Contains(out, "quarantine") || !strings.Contains(out, "Exit codes") {
		t.Error(out)
	}
	if code, _, errs := call(t, "", "list", "-queue", t.TempDir()); code != 1 || errs == "" {
		t.Errorf("no queue: exit code %d, %s", code, errs)
	}
}

// TestTellsTheTruth: nothing is said to be done that was not, and the exit code
// tells.
func TestTellsTheTruth(t *testing.T) {
	dir, q := sampleDir(t, "23")
	one := submit(t, q, "a@example.com", "Subject: a\n\n", "x@example.org")
	two := submit(t, q, "a@example.com", "Subject: b\n\n", "x@example.org")
	good := submit(t, q, "a@example.com", "Subject: c\n\n", "x@example.org")
	for _, id := range []string{one, two} { // as a qmail-queue that is at work has them
		if err := os.Remove(filepath.Join(dir, "todo", id)); err != nil {
			t.Fatal(err)
		}
	}
	open := filepath.Join(filepath.Dir(dir), "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]int{open: 1, filepath.Join(dir, "kept"): 2, dir: 2, filepath.Join(dir, "mess", "0"): 2} {
		if code, out, errs := call(t, "", with("quarantine", q, "-all", "-quarantine", where)...); code != want || out != "" || errs == "" {
			t.Errorf("quarantine in %s: exit code %d, want %d, %s", where, code, want, out)
		}
	}
	for _, name := range []string{"quarantine", "delete"} {
		code, out, errs := call(t, "", with(name, q, one, good, two)...)
		if code != 3 || out != name+" "+good+"\n" || !strings.Contains(errs, "2 messages were not done") {
			t.Errorf("%s: exit code %d, %s%s", name, code, out, errs)
		}
		good = submit(t, q, "a@example.com", "Subject: c\n\n", "x@example.org")
	}
	if code, out, _ := call(t, "", with("expire", q, "-control", "/dev/null", good)...); code != 1 || out != "" {
		t.Errorf("expire without its lifetime: exit code %d, %s", code, out)
	}
}

// TestConvertEmpty makes the directories of the new split although there is
// nothing to move.
func TestConvertEmpty(t *testing.T) {
	dir, q := sampleDir(t, "7")
	must(t, 0, "", with("convert", q, "-split", "23", "-bigtodo", "yes")...)
	if a, b := len(glob(t, dir, "mess/*")), len(glob(t, dir, "todo/*")); a != 23 || b != 23 {
		t.Errorf("%d directories in mess, %d in todo", a, b)
	}
	if out := must(t, 0, "", with("check", q)...); out != "nothing is wrong\n" {
		t.Error(out)
	}
}

// TestJSON: with -json every command prints objects, a line each, and nothing
// else.
func TestJSON(t *testing.T) {
	dir, q := sampleDir(t, "7")
	id := submit(t, q, "a\xff@example.com", "Subject: =?utf-8?q?gr=C3=BCn?=\nReceived: from x (HELO y) (joe@192.0.2.7)\n\n", "x@example.org")
	pre := submit(t, q, "a@example.com", "Subject: b\n\n", "x@example.org")
	preprocess(t, dir, pre, "a@example.com", []string{"Tx@example.org"}, nil)
	if err := os.WriteFile(filepath.Join(dir, "mess", "\xff\n"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		code  int
		lines int
		has   string
		args  []string
	}{
		{0, 1, "messages", []string{"stat"}},
		{0, 2, "state", []string{"list"}},
		{0, 1, "state", []string{"show", id}},
		{0, 2, "count", []string{"top"}},
		{3, 1, "code", []string{"check"}},
		{0, 1, "op", []string{"repair", "-n"}},
		{0, 1, "op", []string{"repair"}},
		{0, 5, "op", []string{"convert", "-split", "2"}},
		{0, 1, "done", []string{"retry", pre}},
		{0, 1, "done", []string{"expire", "-allow-forged", pre}},
		{0, 1, "done", []string{"quarantine", "-n", id}},
		{0, 1, "done", []string{"quarantine", id}},
		{0, 2, "item", []string{"restore", "-list"}},
		{0, 1, "done", []string{"restore", "-all"}},
		{3, 1, "done", []string{"delete", pre, "9999"}},
	} {
		out := must(t, tt.code, "", with(tt.args[0], q, append([]string{"-json"}, tt.args[1:]...)...)...)
		n := 0
		for line := range strings.Lines(out) {
			n++
			var object map[string]any
			if err := json.Unmarshal([]byte(line), &object); err != nil {
				t.Errorf("%q: %s: %v", tt.args, line, err)
			}
			if _, ok := object[tt.has]; !ok {
				t.Errorf("%q: no %s in %s", tt.args, tt.has, line)
			}
		}
		if n < tt.lines || n > tt.lines && tt.args[0] != "convert" {
			t.Errorf("%q: %d lines, want %d\n%s", tt.args, n, tt.lines, out)
		}
	}
}
