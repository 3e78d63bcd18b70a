package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mbox2maildir": main})
}

// The commands of the scripts:
//
//	exits CODE PROG ARG...  runs a program and compares its exit code
//	mail FILE DIR...        lists messages: folder, new or cur, info, digest
//	everything FILE DIR...  lists all that can be seen of files
//	unusual                 makes what no script can hold
//	seen DIR, delete DIR    a reader's doings with the first message of a folder
var scriptCommands = map[string]func(*testscript.TestScript, bool, []string){
	"exits": func(ts *testscript.TestScript, _ bool, args []string) {
		want, err := strconv.Atoi(args[0])
		ts.Check(err)
		got := 0
		err = ts.Exec(args[1], args[2:]...)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			got = exit.ExitCode()
		} else {
			ts.Check(err)
		}
		if got != want {
			ts.Fatalf("exit code %d, want %d", got, want)
		}
	},
	"mail":       func(ts *testscript.TestScript, _ bool, args []string) { list(ts, args, mail) },
	"everything": func(ts *testscript.TestScript, _ bool, args []string) { list(ts, args, everything) },
	"unusual": func(ts *testscript.TestScript, _ bool, _ []string) {
		ts.Check(syscall.Mkfifo(ts.MkAbs("tree/fifo"), 0o600))
		ts.Check(os.Symlink(ts.MkAbs("one"), ts.MkAbs("tree/link")))
		ts.Check(os.WriteFile(ts.MkAbs("tree/binary"), []byte("\x7fELF\x00"), 0o600))
		ts.Check(os.WriteFile(ts.MkAbs("tree/\xff\n"), []byte("From x Mon Jan  5 07:00:00 2004\nSubject: odd name\n\nx\n"), 0o600))
	},
	"seen": func(ts *testscript.TestScript, _ bool, args []string) {
		p := first(ts, args[0])
		ts.Check(os.Rename(p, filepath.Join(filepath.Dir(filepath.Dir(p)), "cur", filepath.Base(p)+":2,S")))
	},
	"delete": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(os.Remove(first(ts, args[0]))) },
}

func first(ts *testscript.TestScript, dir string) string {
	names, err := filepath.Glob(filepath.Join(ts.MkAbs(dir), "new/*"))
	ts.Check(err)
	if len(names) == 0 {
		ts.Fatalf("%s has no new message", dir)
	}
	return names[0]
}

func list(ts *testscript.TestScript, args []string, of func(dir string) ([]string, error)) {
	var all []string
	for _, dir := range args[1:] {
		l, err := of(ts.MkAbs(dir))
		ts.Check(err)
		all = append(all, l...)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(all, "\n")+"\n"), 0o666))
}

// mail is what a Maildir and its folders hold; what stands in tmp/ is an error.
func mail(dir string) (all []string, err error) {
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		sub := filepath.Base(filepath.Dir(p))
		rel, err := filepath.Rel(dir, filepath.Dir(filepath.Dir(p)))
		if err != nil || sub != "new" && sub != "cur" && sub != "tmp" {
			return err
		}
		if sub == "tmp" {
			return fmt.Errorf("%s is left over", p)
		}
		text, err := os.ReadFile(p)
		_, info, _ := strings.Cut(d.Name(), ":")
		all = append(all, fmt.Sprintf("%s %s %s %x", rel, sub, info, sha256.Sum256(text)))
		return err
	})
	slices.Sort(all)
	return all, err
}

// everything is all of a tree: names, modes, owners, times and contents.
func everything(dir string) (all []string, err error) {
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%q %v %d:%d", p, fi.Mode(), st.Uid, st.Gid)
		if fi.Mode().IsRegular() {
			text, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", fi.ModTime().UnixNano(), sha256.Sum256(text))
		}
		all = append(all, line)
		return nil
	})
	return all, err
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", Cmds: scriptCommands, RequireExplicitExec: true})
}

// bigMbox has n messages, one of ten twice, and some of 50 kB.
func bigMbox(name string, n int) string {
	var b strings.Builder
	for i := range n {
		m := fmt.Sprintf("From ann@example.org Mon Jan  5 %02d:%02d:%02d 2004\nSubject: %s %d\n%s\n%s\n", i/3600%24, i/60%60, i%60, name, i,
			[]string{"", "Status: RO\n", "Status: O\n"}[i%3], strings.Repeat("some text\n", 1+i%7+i%50/49*5000))
		b.WriteString(m)
		if i%10 == 0 {
			b.WriteString(m)
		}
	}
	return b.String()
}

// Killed at any moment and run again, it has made what one clean run makes, and
// what the mail's owner did meanwhile stays done.
func TestKill(t *testing.T) {
	kills := 5
	switch {
	case os.Getenv("QMAILKIT_LONG") == "1":
		kills = 50
	case testing.Short():
		kills = 1
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("QMAILKIT_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("QMAILKIT_SEED=%d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	src := filepath.Join(dir, "tree")
	check(os.MkdirAll(filepath.Join(src, "lists"), 0o755))
	for i := range 12 {
		name := fmt.Sprintf("lists/box%02d", i)
		if i == 0 {
			name = "INBOX"
		}
		check(os.WriteFile(filepath.Join(src, name), []byte(bigMbox(name, 150)), 0o644))
	}
	run := func(to string) {
		t.Helper()
		if out, err := exec.Command("mbox2maildir", "-r", src, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	began := time.Now()
	run(filepath.Join(dir, "clean"))
	took := time.Since(began)
	clean, err := mail(filepath.Join(dir, "clean"))
	check(err)
	if len(clean) != 12*165 {
		t.Fatalf("%d messages", len(clean))
	}
	for i := range kills {
		to := filepath.Join(dir, fmt.Sprint("md", i))
		cmd := exec.Command("mbox2maildir", "-r", src, to)
		check(cmd.Start())
		after := time.Duration(rng.Int64N(int64(took)))
		time.Sleep(after)
		check(cmd.Process.Kill())
		cmd.Wait()
		want, did := slices.Clone(clean), 0
		names, err := filepath.Glob(to + "/.lists.*/new/*")
		check(err)
		for _, p := range names {
			if rng.IntN(8) != 0 {
				continue
			}
			did++
			text, err := os.ReadFile(p)
			check(err)
			folder := filepath.Base(filepath.Dir(filepath.Dir(p)))
			line := fmt.Sprintf("%s new  %x", folder, sha256.Sum256(text))
			at, ok := slices.BinarySearch(want, line)
			if !ok {
				t.Fatalf("%s is not in a clean run", p)
			}
			if want = slices.Delete(want, at, at+1); rng.IntN(2) == 0 {
				check(os.Remove(p))
				continue
			}
			check(os.Rename(p, filepath.Join(to, folder, "cur", filepath.Base(p)+":2,FS")))
			want = append(want, fmt.Sprintf("%s cur 2,FS %x", folder, sha256.Sum256(text)))
			slices.Sort(want)
		}
		run(to)
		got, err := mail(to)
		check(err)
		t.Logf("killed after %v of %v; the reader took %d of %d", after, took, did, len(names))
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("want - got +:\n%s", d)
		}
		check(os.RemoveAll(to))
	}
	// A signal: exit 1, and a rerun completes it.
	to := filepath.Join(dir, "stopped")
	cmd := exec.Command("mbox2maildir", "-sync", "each", "-r", src, to)
	check(cmd.Start())
	for names := []string(nil); len(names) == 0; names, err = filepath.Glob(to + "/new/*") {
		check(err)
		time.Sleep(time.Millisecond)
	}
	check(cmd.Process.Signal(syscall.SIGTERM))
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d after SIGTERM", code)
	}
	if list, err := mail(to); err != nil || len(list) >= len(clean) {
		t.Errorf("after SIGTERM: %d messages, %v", len(list), err)
	}
	run(to)
	got, err := mail(to)
	check(err)
	if d := cmp.Diff(clean, got); d != "" {
		t.Errorf("want - got +:\n%s", d)
	}
}
