package maildir

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// testID is the ID of the messages in hand-made journals.
var testID = ID{1, 2, 3}

func testName(info string) string { return importName(time.Unix(5, 0), testID, 7) + info }

// journalOf puts lines together, each with its checksum.
func journalOf(lines ...string) string {
	b := appendLine(nil, journalVersion)
	for _, l := range lines {
		b = appendLine(b, l)
	}
	return string(b)
}

func TestRecord(t *testing.T) {
	name, _ := ParseName(testName(":2,S"))
	for _, r := range []record{
		{kind: 'I', group: 7, time: 99, folder: ".A B%.\xff", id: testID, cur: true, name: name},
		{kind: 'I', group: 1 << 61, folder: ".", id: testID, name: name.Bare()},
		{kind: 'F', time: 99, folder: ".Ü", id: testID, cur: true, name: name},
		{kind: 'I', group: 7, time: 99, folder: ".", id: ID{9}, cur: true, name: name}, // keeps the name that another move has made
		{kind: 'R', time: 99, folder: ".", id: testID, cur: true, name: name},
		{kind: 'W', id: testID},
		{kind: 'X', id: testID},
		{kind: 'A', group: 3, id: testID},
		{kind: 'D', group: 3},
	} {
		text := r.text()
		got, err := parseRecord(text)
		if err != nil || got != r {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, r)
		}
		if strings.ContainsFunc(text, func(r rune) bool { return r <= 0x1f || r > 0x7e }) || len(appendLine(nil, text)) > maxJournalLine {
			t.Errorf("%q cannot be a line", text)
		}
		if back, ok := checkLine(appendLine(nil, text)); !ok || back != text {
			t.Errorf("%q: line %q, %v", text, back, ok)
		}
	}
	id := testID.String()
	for _, bad := range []string{
		"", "X", "D", "D x", "D -1", "A 1", "A 1 xyz", "I 1 2 . " + id + " new", "I 1 2 . " + id + " tmp " + testName(""),
		"I 1 2 . " + id + " new .1.a.b", "I 1 2 . " + id + " new ..%2F..%2Fetc", "I 1 2 . " + id + " new a/" + testName(""),
		"I 1 2 .x/../.. " + id + " new " + testName(""), "I 1 2 .. " + id + " new " + testName(""), "I 1 2 cur " + id + " new " + testName(""),
		"I 1 2 .%00 " + id + " new " + testName(""), "I 1 2 .% " + id + " new " + testName(""), "I 1 2  " + id + " new " + testName(""),
		"I x 2 . " + id + " new " + testName(""), "F x . " + id + " new " + testName(""),
		"I 1 2 . " + id + " new ." + testName(""), "I 1 2 . " + id + " new " + testName("") + "%00",
	} {
		if r, err := parseRecord(bad); err == nil {
			t.Errorf("%q is taken: %+v", bad, r)
		}
	}
}

// TestTornJournal cuts and garbles the journal at every byte: the import must
// end as if nothing had been.
func TestTornJournal(t *testing.T) {
	msgs := sample(5)
	dir := fastDir(t)
	if _, err := runImport(t, dir, msgs, &CommitOptions{MaxMessages: 3}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "M", JournalName)
	whole := read(t, path)
	want := snapshot(t, dir)
	first := len(journalOf())
	for i := range len(whole) {
		for _, text := range []string{whole[:i], whole[:i] + "\x00\x00\x00", whole[:i] + string(whole[i]^0x21) + whole[i+1:]} {
			write(t, path, text)
			n, err := runImport(t, dir, msgs, nil)
			if i < first && err != nil && strings.Contains(err.Error(), "version") {
				continue // not a journal any more: a clear error
			}
			if err != nil || n[Present] != len(msgs) || snapshot(t, dir) != want {
				t.Fatalf("byte %d of %d: %v, %v\n%s", i, len(whole), n, err, diff(want, snapshot(t, dir)))
			}
		}
	}
	// What is not ours is not written to.
	for _, text := range []string{"somebody's file", "somebody's\nfile", "qmailkit-journal 2 00000000\n", strings.Repeat("x", 9000)} {
		write(t, path, text)
		if _, err := runImport(t, dir, msgs, nil); err == nil || read(t, path) != text {
			t.Errorf("%.30q: %v, became %.30q", text, err, read(t, path))
		}
	}
	for _, text := range []string{"", "qmailkit-jour", "\x00\x00\x00\x00"} {
		write(t, path, text)
		if n, err := runImport(t, dir, msgs, nil); err != nil || n[Present] != len(msgs) {
			t.Errorf("%q: %v, %v", text, n, err)
		}
	}
}

func TestJournalProblems(t *testing.T) {
	dir := fastDir(t)
	if _, err := runImport(t, dir, nil, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "M", JournalName)
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for damaged, want := range map[int]int{0: 0, 1: 1, journalProbs: journalProbs, 100000: journalProbs + 1} {
		write(t, path, journalOf("D 1")+strings.Repeat("x\n", damaged)+strings.TrimPrefix(journalOf("D 2"), journalOf()))
		c := NewCommitter(nil)
		im, err := c.Import(root, "M", nil)
		if err != nil {
			t.Fatal(err)
		}
		probs := im.Problems()
		if len(probs) != want {
			t.Errorf("%d damaged lines: %d problems", damaged, len(probs))
		}
		if damaged == 1 {
			p := probs[0]
			if p.Line != 3 || p.Offset != int64(len(journalOf("D 1"))) || p.Severity != qmailkit.Warning || !strings.HasSuffix(p.Path, "M/"+JournalName) || p.Code != "maildir.journal-line" {
				t.Errorf("%+v", p)
			}
		}
		im.Close(nil)
		c.Close()
	}
}

// TestHostileJournal gives journals whose checksums are right and whose lines
// are not ours.
func TestHostileJournal(t *testing.T) {
	intent := func(group uint64) string {
		return fmt.Sprintf("I %d 2 . %s new %s", group, testID, testName(""))
	}
	dir := fastDir(t)
	if _, err := runImport(t, dir, nil, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "M", JournalName)
	write(t, path, journalOf(intent(1<<62)))
	if _, err := runImport(t, dir, nil, nil); err == nil || !strings.Contains(err.Error(), "group number") {
		t.Errorf("huge group: %v", err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString(journalOf())
	err = f.Truncate(maxJournal + 1)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runImport(t, dir, nil, nil); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("sparse journal of %d bytes: %v", int64(maxJournal)+1, err)
	}
	if testing.Short() {
		return
	}
	line := appendLine(nil, intent(1))
	void := appendLine(nil, fmt.Sprintf("A 1 %s", testID))
	text := append([]byte(journalOf()), bytes.Repeat(line, maxPending)...)
	for name, tail := range map[string][]byte{"voids": bytes.Repeat(void, 1000), "one too many": line} {
		if err := os.WriteFile(path, append(text, tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		n, err := runImport(t, dir, nil, nil)
		if (name == "voids") != (err == nil) || time.Since(began) > time.Minute {
			t.Errorf("%s: %v, %v in %v", name, n, err, time.Since(began))
		}
	}
}

// TestJournalMemory keeps what a journal costs in memory to a few dozen bytes
// a message.
func TestJournalMemory(t *testing.T) {
	dir := fastDir(t)
	const n = 100000
	var b []byte
	b = append(b, journalOf()...)
	for i := range n {
		id := ID{byte(i), byte(i >> 8), byte(i >> 16)}
		r := record{kind: 'F', folder: ".", id: id, name: Name{s: importName(time.Unix(5, 0), id, 7)}}
		b = appendLine(b, r.text())
	}
	write(t, filepath.Join(dir, JournalName), string(b))
	b = nil
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	d, err := safefs.OpenDir(root, ".", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	j, probs, err := openJournal(d, (&Options{}).or())
	if err != nil || len(probs) != 0 || len(j.done) != n {
		t.Fatalf("%d messages, %v, %v", len(j.done), probs, err)
	}
	defer j.close()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if per := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; per > 40 {
		t.Errorf("%d bytes a message", per)
	}
	id := ID{1, 1}
	k := j.find(id)
	if k == nil || j.find(ID{0, 0, 99}) != nil {
		t.Fatal("finds wrongly")
	}
	if r, err := j.recorded(k); err != nil || r.id != id {
		t.Errorf("%+v, %v", r, err)
	}
	// The file changes behind our back.
	write(t, filepath.Join(dir, JournalName), "gone")
	if _, err := j.recorded(k); err == nil {
		t.Error("believes what is not there")
	}
}

// FuzzJournal takes any bytes for a journal: no panic, nothing moved but what
// carries our names, and the import works or says why not.
func FuzzJournal(f *testing.F) {
	id := testID.String()
	for _, s := range []string{
		"", "x", journalOf(), journalOf("D 1"), journalOf("I 1 2 . " + id + " new " + testName("")),
		journalOf("I 1 2 . "+id+" cur "+testName(":2,S"), "D 1"), journalOf("I 1 2 .Sub "+id+" cur "+testName(":2,S"), "A 1 "+id),
		journalOf("F 2 . " + id + " new " + testName("")), journalOf("I 1 2 .. " + id + " new " + testName("")), journalOf() + "torn",
		journalOf("I 1 2 . " + id + " new " + testName("%0A:2,"+strings.Repeat("x", 300))),
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, resum bool) {
		if resum { // give each line the checksum that it should have
			b = []byte(journalOf(strings.Split(string(b), "\n")...))
		}
		dir := fastDir(t)
		defer os.RemoveAll(dir)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		m := filepath.Join(dir, "M")
		d, err := Create(m, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		theirs := map[string]string{"tmp/1.a.b": "t", "new/2.a.b": "n", "cur/3.a.b:2,S": "c", "other": "o"}
		for name, text := range theirs {
			write(t, filepath.Join(m, name), text)
		}
		write(t, filepath.Join(m, "tmp", testName("")), "staged\n")
		write(t, filepath.Join(m, JournalName), string(b))
		res, err := runResults(t, dir, []*Message{msg("a", "x\n", 0), msg("a", "y\n", Seen)}, &CommitOptions{Sync: SyncNone}, nil)
		if err == nil {
			if n := tally(res); n[Delivered]+n[Present]+n[Updated]+n[Kept] != 2 {
				t.Fatalf("%v without an error", n)
			}
			if n, err := runImport(t, dir, []*Message{msg("a", "x\n", 0), msg("a", "y\n", Seen)}, &CommitOptions{Sync: SyncNone}); err != nil || n[Delivered] != 0 {
				t.Fatalf("second run: %v, %v", n, err)
			}
		} else if got := read(t, filepath.Join(m, JournalName)); got != string(b) && errors.Is(err, errJournalVersion) {
			t.Fatalf("refused, and written to: %q", got)
		}
		for name, text := range theirs {
			if got := read(t, filepath.Join(m, name)); got != text {
				t.Fatalf("%s became %q", name, got)
			}
		}
		for _, e := range entries(t, dir) {
			if e != "M" {
				t.Fatalf("%s was made", e)
			}
		}
	})
}

func entries(t testing.TB, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}
