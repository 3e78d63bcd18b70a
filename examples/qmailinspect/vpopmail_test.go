package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// unpack lays one of the trees of package vpopmail under dir.
func unpack(t *testing.T, name, dir string) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(read(t, "../../vpopmail/testdata/info/"+name+".tar.gz")))
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		e, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, e.Name)
		if e.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
		}
		if err == nil {
			err = os.Chtimes(path, e.ModTime, e.ModTime)
		}
		if err == nil && os.Geteuid() == 0 {
			err = os.Chown(path, e.Uid, e.Gid)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestVpopmail shows what the real programs left.
func TestVpopmail(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "cdb-vpopmail", dir)
	unpack(t, "cdb-qmail", dir)
	home, args := dir+"/vpopmail", []string{"vpopmail", "-qmail", dir + "/qmail"}
	accounts := 0
	for _, name := range glob(t, home+"/domains/*/vpasswd", 4) {
		accounts += bytes.Count(read(t, name), []byte("\n"))
	}
	code, stdout, stderr := inspect("", append(args, home)...)
	if code != 3 || !strings.Contains(stderr, "has the errors above") {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	count := map[string]int{}
	users := map[string]map[string]any{}
	for _, o := range objects(t, stdout) {
		kind, _ := o["type"].(string)
		if code, ok := o["problem"].(string); ok {
			kind = code
		}
		count[kind]++
		if kind == "user" {
			users[o["name"].(string)+"@"+o["domain"].(string)] = o
		}
	}
	if count["domain"] != 7 || count["user"] != accounts || count["alias"] != 1 || count["vpopmail.user-damaged"] != 1 {
		t.Errorf("%v", count)
	}
	alice := users["alice@example.com"]
	usage, _ := alice["usage"].(map[string]any)
	if alice["effective_flags"] != "w" || alice["quota"] != "5242880S,200C" || usage["percent"] != 0.0 || alice["created"] == 0.0 || alice["last_login"] != nil {
		t.Errorf("%v", alice)
	}
	if _, shown := alice["hash"]; shown || strings.Contains(stdout, "carol-new") || strings.Contains(stdout, "$1$") {
		t.Error("secrets are shown")
	}
	if alice["scheme"] != "md5" {
		t.Errorf("scheme %v", alice["scheme"])
	}

	_, stdout, _ = inspect("", append(args, "-secrets", "-domain", "example.com", home)...)
	if !strings.Contains(stdout, `"clear":"carol-new"`) || strings.Contains(stdout, `"domain":"example.org"`) {
		t.Error("-secrets -domain")
	}
	_, stdout, _ = inspect("", append(args, "-check", home)...)
	for _, o := range objects(t, stdout) {
		if o["problem"] == nil {
			t.Errorf("-check shows %v", o)
		}
	}
	code, stdout, stderr = inspect("", append(args, "-check", "-domain", "quota.example.org", home)...)
	if code != 0 || stdout != "" {
		t.Errorf("a sound domain: %d, %s%s", code, stdout, stderr)
	}
	for _, bad := range [][]string{{"-release", "53"}, {"-mount", "here"}} {
		if code, _, stderr := inspect("", append(append(args, bad...), home)...); code != 2 {
			t.Errorf("%q: exit code %d: %s", bad, code, stderr)
		}
	}
	if code, _, _ := inspect("", append(args, dir+"/nothing")...); code != 1 {
		t.Errorf("no home: exit code %d", code)
	}
}
