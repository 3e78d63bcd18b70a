package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const controlCases = "../../qmailcontrol/testdata/control"

// gunzip reads a compressed sample.
func gunzip(t *testing.T, name string) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(read(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// controlDir unpacks the control directory of a case.
func controlDir(t *testing.T, name string) string {
	t.Helper()
	top := t.TempDir()
	for r := tar.NewReader(bytes.NewReader(gunzip(t, filepath.Join(controlCases, name, "control.tar.gz")))); ; {
		h, err := r.Next()
		if err == io.EOF {
			return filepath.Join(top, "control")
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(top, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(at, 0o755)
		} else {
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(at, b, 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// only keeps these keys.
func only(all []map[string]any, keys ...string) []map[string]any {
	var out []map[string]any
	for _, o := range all {
		kept := map[string]any{}
		for _, key := range keys {
			if v, ok := o[key]; ok {
				kept[key] = v
			}
		}
		out = append(out, kept)
	}
	return out
}

// Each answer is that of the real programs.
func TestControlGolden(t *testing.T) {
	compared := 0
	for _, file := range glob(t, controlCases+"/*/control.tar.gz", 17) {
		name := filepath.Base(filepath.Dir(file))
		dir := controlDir(t, name)
		if parse := filepath.Join(controlCases, name, "parse.jsonl"); name != "empty" {
			code, out, words := inspect("", "control", dir)
			if code != 0 {
				t.Errorf("%s: exit code %d: %s", name, code, words)
			}
			got := only(objects(t, out), "file", "readline", "readint", "readfile", "map")
			if diff := cmp.Diff(objects(t, string(read(t, parse))), got); diff != "" {
				t.Errorf("%s: control: %s", name, diff)
			}
		}
		for _, k := range []struct {
			kind, golden, item string
			keys               []string
		}{
			{"rcpt", "rcpthosts", "addr", []string{"init", "addr", "rcpthosts"}},
			{"rewrite", "rewrite", "recip", []string{"recip", "chan", "to", "bounce_as", "file", "qmail-send"}},
			{"smtproute", "smtproutes", "domain", []string{"domain", "route", "relay", "port"}},
		} {
			want := objects(t, string(gunzip(t, filepath.Join(controlCases, name, k.golden+".jsonl.gz"))))
			compared += compareDecisions(t, name, dir, k.kind, k.item, k.keys, want)
		}
	}
	if compared < 1300 {
		t.Errorf("%d answers compared", compared)
	}
}

func compareDecisions(t *testing.T, name, dir, kind, item string, keys []string, want []map[string]any) int {
	t.Helper()
	var items strings.Builder
	for _, o := range want {
		v := o[item]
		if v == nil {
			v = "any@host.example" // one line says that the program stopped
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		items.Write(append(b, '\n'))
	}
	code, out, words := inspect(items.String(), kind, dir, "-")
	if code != 0 {
		t.Errorf("%s: %s: exit code %d: %s", name, kind, code, words)
	}
	got := only(objects(t, out), keys...)
	for i, o := range want {
		// The golden qmail-remote could not resolve this one, and did not
		// come to a port.
		if _, hasPort := o["port"]; !hasPort && o["route"] == "mx" && i < len(got) {
			delete(got[i], "port")
		}
	}
	if diff := cmp.Diff(only(want, keys...), got); diff != "" {
		t.Errorf("%s: %s: %s", name, kind, diff)
	}
	return len(want)
}

// A NUL in envnoathost cuts the queue's record.
func TestRewriteNUL(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"me": "mx.example\n", "envnoathost": "a\x00b.example\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	code, out, words := inspect("", "rewrite", dir, "joe")
	want := `{"recip":"joe","chan":"remote","to":"joe@a","bounce_as":"joe@a","by":"nothing","file":"Tjoe@a\u0000b.example\u0000"}` + "\n"
	if code != 0 || out != want {
		t.Errorf("exit code %d, %s %s", code, out, words)
	}
}

func TestNewMRHGolden(t *testing.T) {
	for _, cdb := range glob(t, "../../qmailcontrol/testdata/newmrh/*/morercpthosts.cdb", 6) {
		made := filepath.Join(t.TempDir(), "made.cdb")
		code, out, words := inspect("", "newmrh", filepath.Join(filepath.Dir(cdb), "morercpthosts"), made)
		if code != 0 || out != "" || words != "" {
			t.Fatalf("%s: exit code %d: %s%s", cdb, code, out, words)
		}
		if !bytes.Equal(read(t, made), read(t, cdb)) {
			t.Errorf("%s: another file", cdb)
		}
	}
}
