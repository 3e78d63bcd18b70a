package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

// Samples of the packages whose formats are shown here.
const (
	mboxCases  = "../../mbox/testdata/cases"
	usersData  = "../../qmailcontrol/users/testdata"
	usersCases = usersData + "/cases"
)

func glob(t *testing.T, pattern string, least int) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) < least {
		t.Fatalf("%s: %d files, %v", pattern, len(names), err)
	}
	return names
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// objects parses lines of JSON.
func objects(t *testing.T, text string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(text) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, o)
	}
	return all
}

func TestMboxGolden(t *testing.T) {
	for _, file := range glob(t, mboxCases+"/*.mbox", 30) {
		var want struct {
			Messages []struct {
				FromLine string `json:"from_line"`
				Offset   float64
				Length   float64
				Flags    string
				SHA256   map[string]string `json:"sha256_of_message_bytes_after_unquoting_for_variant"`
			}
			Pseudo []int
		}
		if err := json.Unmarshal(read(t, strings.TrimSuffix(file, ".mbox")+".json"), &want); err != nil {
			t.Fatal(err)
		}
		for unquote, key := range map[string]string{"none": "raw", "o": "mboxo", "rd": "mboxrd"} {
			code, out, words := inspect("", "mbox", "-unquote", unquote, file)
			if code != 0 {
				t.Errorf("%s: exit code %d: %s", file, code, words)
				continue
			}
			got := objects(t, out)
			if len(got) != len(want.Messages) {
				t.Errorf("%s: %d messages, want %d", file, len(got), len(want.Messages))
				continue
			}
			for i, m := range want.Messages {
				has := got[i]
				if has["index"] != float64(i) || has["offset"] != m.Offset || has["length"] != m.Length || has["from_line"] != m.FromLine ||
					has["flags"] != m.Flags || has["pseudo"] != slices.Contains(want.Pseudo, i) || has["sha256"] != m.SHA256[key] {
					t.Errorf("%s -unquote %s: %v, want %+v", file, unquote, has, m)
				}
			}
		}
	}
}

// knownHome says whether the answer does not hang on a home directory that the
// golden machine lacked or that another user owned there: its passwd file
// cannot tell.
func knownHome(local string) bool {
	name, _, _ := strings.Cut(strings.ToLower(local), "-")
	return name != "web" && name != "gone"
}

// compareLookups asks the local parts of a golden file through standard input.
func compareLookups(t *testing.T, cdb, golden string) (asked int) {
	t.Helper()
	want := objects(t, string(read(t, golden)))
	var items strings.Builder
	for _, o := range want {
		b, err := json.Marshal(o["local"])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&items, "%s\n", b)
	}
	code, out, words := inspect(items.String(), "usercdb", "-passwd", usersData+"/passwd", cdb, "-")
	if code != 0 {
		t.Fatalf("%s: exit code %d: %s", cdb, code, words)
	}
	got := objects(t, out)
	if len(got) != len(want) {
		t.Fatalf("%s: %d answers to %d questions", cdb, len(got), len(want))
	}
	for i, o := range want {
		if o["via"] == "getpw" && !knownHome(o["local"].(string)) {
			continue
		}
		asked++
		if diff := cmp.Diff(o, got[i]); diff != "" {
			t.Errorf("%s, %q: %s", cdb, o["local"], diff)
		}
	}
	return asked
}

func TestUsersGolden(t *testing.T) {
	asked := 0
	for _, assign := range glob(t, usersCases+"/*/assign", 13) {
		dir := filepath.Dir(assign)
		cdb := filepath.Join(t.TempDir(), "cdb")
		if code, out, words := inspect("", "newu", assign, cdb); code != 0 || out != "" || words != "" {
			t.Errorf("newu %s: exit code %d: %s%s", assign, code, out, words)
			continue
		}
		if !bytes.Equal(read(t, cdb), read(t, dir+"/cdb")) {
			t.Errorf("%s: qmail-newu makes other bytes", assign)
		}
		asked += compareLookups(t, cdb, dir+"/lookup.jsonl")
		compareAssign(t, assign, dir+"/cdb")
	}
	for _, golden := range glob(t, usersData+"/badcdb/*/lookup.jsonl", 5) {
		asked += compareLookups(t, filepath.Dir(golden)+"/cdb", golden)
	}
	asked += compareLookups(t, filepath.Join(t.TempDir(), "cdb"), usersData+"/cases-nocdb/lookup.jsonl")
	if asked < 190 {
		t.Errorf("only %d look-ups", asked)
	}
}

// compareAssign makes the cdb out of what the kind assign prints, and compares
// it with what the kind cdb prints of qmail-newu's.
func compareAssign(t *testing.T, assign, cdb string) {
	t.Helper()
	code, out, words := inspect("", "assign", assign)
	if code != 0 {
		t.Errorf("assign %s: exit code %d: %s", assign, code, words)
	}
	var want []map[string]any
	lower := func(s string) string { // of ASCII only
		return strings.Map(func(r rune) rune {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}, s)
	}
	ends := ""
	for _, o := range objects(t, out) {
		local := o["local"].(string)
		key, mark := "!"+lower(local), "\x00"
		if o["wildcard"] == true {
			mark = ""
			if r := []rune(local); len(r) > 0 && !strings.ContainsRune(ends, r[len(r)-1]) {
				ends += string(r[len(r)-1])
			}
		}
		data := ""
		for _, field := range []string{"user", "uid_text", "gid_text", "home", "dash", "ext"} {
			data += o[field].(string)
			if field != "ext" {
				data += "\x00"
			}
		}
		want = append(want, map[string]any{"key": key + mark, "data": data})
	}
	want = append(want, map[string]any{"key": "", "data": ends})
	code, out, words = inspect("", "cdb", cdb)
	if code != 0 {
		t.Errorf("cdb %s: exit code %d: %s", cdb, code, words)
	}
	got := objects(t, out)
	for _, o := range got {
		delete(o, "offset")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", assign, diff)
	}
}

// TestCDBGolden makes the files again from their lines.
func TestCDBGolden(t *testing.T) {
	for _, name := range glob(t, "../../internal/cdbfile/testdata/*.cdb", 20) {
		if strings.HasPrefix(filepath.Base(name), "bad-") {
			continue
		}
		code, out, words := inspect("", "cdb", name)
		if code != 0 {
			t.Errorf("%s: exit code %d: %s", name, code, words)
			continue
		}
		copied := filepath.Join(t.TempDir(), "cdb")
		f, err := os.Create(copied)
		if err != nil {
			t.Fatal(err)
		}
		w := cdbfile.NewWriter(f)
		for line := range strings.Lines(out) {
			var rec struct{ Key, Data jsonl.Bytes }
			if err := json.Unmarshal([]byte(line), &rec); err != nil {
				t.Fatal(err)
			}
			if err := w.Add([]byte(rec.Key), []byte(rec.Data)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if !bytes.Equal(read(t, copied), read(t, name)) {
			t.Errorf("%s: made again, it has other bytes", name)
		}
	}
}

func TestNewuRefusals(t *testing.T) {
	for _, dir := range glob(t, usersData+"/invalid/*", 10) {
		cdb := filepath.Join(t.TempDir(), "cdb")
		if err := os.WriteFile(cdb, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, words := inspect("", "newu", dir+"/assign", cdb)
		if want := string(read(t, dir+"/stderr")); code != 1 || words != want {
			t.Errorf("%s: exit code %d, %q, want %q", dir, code, words, want)
		}
		if got := objects(t, out); len(got) != 1 || got[0]["error"] == "" {
			t.Errorf("%s: %s", dir, out)
		}
		if names, err := os.ReadDir(filepath.Dir(cdb)); err != nil || len(names) != 1 || string(read(t, cdb)) != "old" {
			t.Errorf("%s: CDB is not as it was: %v, %v", dir, names, err)
		}
	}
}

// TestVpasswdGolden puts the lines together again.
func TestVpasswdGolden(t *testing.T) {
	for _, name := range []string{"testdata/vpasswd", "testdata/vpasswd-noclear"} {
		code, out, words := inspect("", "vpasswd", "-secrets", name)
		if code != 0 || words != "" {
			t.Errorf("%s: exit code %d: %s", name, code, words)
		}
		text := string(read(t, name))
		fields := strings.Count(strings.SplitN(text, "\n", 2)[0], ":")
		var again strings.Builder
		for _, o := range objects(t, out) {
			fmt.Fprintf(&again, "%s:%s:%v:%v:%s:%s:%s", o["name"], o["hash"], o["uid"], o["gid"], o["gecos"], o["dir"], o["quota"])
			if fields > 6 {
				fmt.Fprintf(&again, ":%s", o["clear"])
			}
			again.WriteByte('\n')
		}
		if diff := cmp.Diff(text, again.String()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		_, out, _ = inspect("", "vpasswd", name)
		for _, o := range objects(t, out) {
			if o["hash"] != nil || o["clear"] != nil {
				t.Errorf("%s: secrets without -secrets: %v", name, o)
			}
		}
	}
}

// TestMaildir makes the Maildir here: its names cannot stand in a repository.
func TestMaildir(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, folder := range []string{"", ".Entw&APw-rfe.\xff/", ".Alt/"} {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(dir, folder+sub), 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("new/2.b\xff", "new mail\n")
	put("cur/1.a,S=4:2,FS", "read")
	put("cur/0.bare", "")
	put(".Entw&APw-rfe.\xff/cur/3.c:2,a", "draft")
	put("tmp/4.d", "half")
	put("maildirsize", "x")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "cur/5.link")); err != nil {
		t.Fatal(err)
	}
	code, out, words := inspect("", "maildir", dir)
	if code != 3 || !strings.Contains(words, "5.link") {
		t.Errorf("exit code %d: %s", code, words)
	}
	var got []string
	for _, o := range objects(t, out) {
		got = append(got, fmt.Sprint(o["folder"], " ", o["folder_text"], " ", o["sub"], " ", o["name"], " ", o["unique"], " ", o["flags"], " ", o["size"]))
	}
	want := []string{
		". <nil> new 2.b\u00ff 2.b\u00ff  9",
		". <nil> cur 0.bare 0.bare  0",
		". <nil> cur 1.a,S=4:2,FS 1.a FS 4",
		".Entw&APw-rfe.\u00ff <nil> cur 3.c:2,a 3.c a 5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(out, `"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`) {
		t.Errorf("the SHA-256 of nothing is missing: %s", out)
	}
	if err := os.Remove(filepath.Join(dir, "cur/5.link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, ".Entw&APw-rfe.\xff"), filepath.Join(dir, ".Entw&APw-rfe.A")); err != nil {
		t.Fatal(err)
	}
	code, out, _ = inspect("", "maildir", dir)
	if last := objects(t, out); code != 0 || last[len(last)-1]["folder_text"] != "Entw\u00fcrfe/A" {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestHomes asks about real home directories, below a root.
func TestHomes(t *testing.T) {
	root := t.TempDir()
	me := os.Geteuid()
	if me == 0 {
		me = 4711
	}
	for _, home := range []string{"home/own", "home/other"} {
		if err := os.MkdirAll(filepath.Join(root, home), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(root, "home/own"), me, -1); err != nil {
			t.Fatal(err)
		}
	}
	passwd := filepath.Join(root, "passwd")
	text := fmt.Sprintf("alias:x:7:7::/var/qmail/alias:\nown:x:%d:1::/home/own:\nother:x:%d:1::/home/other:\ngone:x:%d:1::/home/gone:\n", me, me+1, me)
	if err := os.WriteFile(passwd, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	users := func(flags ...string) (names []string) {
		args := append(append([]string{"usercdb", "-passwd", passwd}, flags...), filepath.Join(root, "none"), "own-x", "other-x", "gone-x")
		code, out, words := inspect("", args...)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, words)
		}
		for _, o := range objects(t, out) {
			names = append(names, o["user"].(string))
		}
		return names
	}
	if diff := cmp.Diff([]string{"own", "alias", "alias"}, users("-homes", root)); diff != "" {
		t.Errorf("-homes: %s", diff)
	}
	if diff := cmp.Diff([]string{"own", "other", "gone"}, users()); diff != "" {
		t.Errorf("believed: %s", diff)
	}
}

func TestFilesThatAreNone(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"mbox", "assign", "cdb", "vpasswd", "dotqmail", "pw2u"} {
		for _, name := range []string{dir, filepath.Join(dir, "none"), "/dev/null", fifo} {
			code, out, words := inspect("", kind, name)
			if code != 1 || out != "" || !strings.Contains(words, name) {
				t.Errorf("%s %s: exit code %d: %s%s", kind, name, code, out, words)
			}
		}
	}
	if code, _, words := inspect("", "maildir", dir); code != 1 || words == "" {
		t.Errorf("maildir of a directory that is none: exit code %d: %s", code, words)
	}
}
