//go:build unix

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// recorded are the trees and answers of the real programs that package vpopmail
// keeps.
const recorded = "../../vpopmail/testdata/info/"

// unzipped opens a recorded file.
func unzipped(t *testing.T, name string) io.Reader {
	t.Helper()
	b, err := os.ReadFile(recorded + name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// untar lays a tree of the real programs under dir, with their times: lastauth
// tells by them.
func untar(t *testing.T, name, dir string) {
	t.Helper()
	times := map[string]time.Time{}
	var paths []string
	for r := tar.NewReader(unzipped(t, name)); ; {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, e.Name)
		if e.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else if b, e2 := io.ReadAll(r); e2 != nil {
			err = e2
		} else {
			err = os.WriteFile(path, b, 0o600)
		}
		if err == nil && os.Geteuid() == 0 {
			err = os.Chown(path, e.Uid, e.Gid)
		}
		if err != nil {
			t.Fatal(err)
		}
		paths, times[path] = append(paths, path), e.ModTime
	}
	for _, p := range slices.Backward(paths) {
		if err := os.Chtimes(p, times[p], times[p]); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInformation compares what userinfo and dominfo print with what the real
// vuserinfo and vdominfo printed of the same tree, for the same options.
func TestInformation(t *testing.T) {
	was := time.Local
	time.Local = time.UTC // that of the machine on which it was recorded
	defer func() { time.Local = was }()
	s := &site{t: t, dir: t.TempDir()}
	untar(t, "cdb-vpopmail.tar.gz", s.dir)
	untar(t, "cdb-qmail.tar.gz", s.dir)
	if err := os.MkdirAll(filepath.Join(s.dir, "qmail/control"), 0o755); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, name := range []string{"cdb-vuserinfo.jsonl.gz", "cdb-vdominfo.jsonl.gz"} {
		for d := json.NewDecoder(unzipped(t, name)); d.More(); {
			var step struct {
				Argv   []string
				RC     int
				Stdout string
			}
			if err := d.Decode(&step); err != nil {
				t.Fatal(err)
			}
			if step.RC != 0 {
				continue
			}
			cmd := strings.TrimPrefix(step.Argv[0], "v")
			args := step.Argv[1:]
			if cmd == "userinfo" {
				args = append([]string{"-secrets"}, args...)
			}
			if out := s.must("", cmd, args...); out != step.Stdout {
				t.Fatalf("%q: want - got +:\n%s", step.Argv, cmp.Diff(step.Stdout, out))
			}
			seen[cmd]++
		}
	}
	if seen["userinfo"] < 900 || seen["dominfo"] < 50 {
		t.Errorf("compared %v answers only", seen)
	}
}

// TestNoSecrets goes through all output about accounts: without -secrets no
// hash and no clear password is in it.
func TestNoSecrets(t *testing.T) {
	s := newSite(t)
	const clear, hash = "hush-clear-one", "$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs."
	s.must("", "adddomain", "-locked", "example.com")
	s.must(`{"address":"ann@example.com","clear":"`+clear+`"}`+"\nbob@example.com:"+hash+"\n", "adduser", "-batch", "-")
	stored := strings.TrimSpace(s.must("", "userinfo", "-secrets", "-p", "ann@example.com"))
	for _, args := range [][]string{
		{"userinfo", "-D", "example.com"}, {"userinfo", "-json", "-D", "example.com"}, {"userinfo", "-p", "-C", "ann@example.com"}, {"userinfo", "bob@example.com"},
		{"verify", "-passwords"}, {"verify", "-json"}, {"moduser", "-json", "-n", "-x", "example.com"}, {"moduser", "-json", "-c", "new", "example.com"},
		{"setquota", "-json", "example.com", "5M"}, {"adduser", "-r", "ann@example.com"},
	} {
		_, out, words := s.try("", args[0], args[1:]...)
		for _, secret := range []string{clear, hash, stored} {
			if strings.Contains(out+words, secret) {
				t.Errorf("%q shows %q:\n%s%s", args, secret, out, words)
			}
		}
	}
}
