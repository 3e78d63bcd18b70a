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

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

const queueGolden = "../../queue/testdata/golden.tar.gz"

// unpackTar makes the files of a tar with their times.
func unpackTar(t *testing.T, r io.Reader, dir string) {
	t.Helper()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o700)
		case tar.TypeLink:
			err = os.Link(filepath.Join(dir, h.Linkname), path)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		case tar.TypeFifo:
			err = unix.Mkfifo(path, 0o600)
		default:
			var b []byte
			if b, err = io.ReadAll(tr); err == nil {
				err = os.WriteFile(path, b, 0o600)
			}
			if err == nil {
				err = os.Chtimes(path, h.ModTime, h.ModTime)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestQueueGolden compares with messages.jsonl of queues that real programs
// made. One line differs: info/6/6 of stray-files is a link to /etc/passwd of
// the machine where the file was made, which that program followed.
func TestQueueGolden(t *testing.T) {
	f, err := os.Open(queueGolden)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	all := t.TempDir()
	unpackTar(t, z, all)
	compared := 0
	for _, file := range glob(t, all+"/*/messages.jsonl", 32) {
		dir := filepath.Dir(file)
		unpackTar(t, bytes.NewReader(read(t, dir+"/queue.tar")), dir)
		code, out, words := inspect("", "queue", "-inodes", dir+"/manifest.tsv", "-now", "1795290000", dir+"/queue")
		if want := exitFor(filepath.Base(dir)); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", dir, code, want, words)
		}
		got := map[any]map[string]any{}
		for _, o := range objects(t, out) {
			delete(o, "inode")
			delete(o, "age")
			got[o["id"]] = o
		}
		for _, want := range objects(t, string(read(t, file))) {
			o := got[want["id"]]
			if want["id"] == 6.0 {
				delete(want, "info_rest")
				delete(want, "info_fields")
				delete(want, "birth")
			}
			if diff := cmp.Diff(want, o); diff != "" {
				t.Errorf("%s: %s", filepath.Base(dir), diff)
			}
			delete(got, want["id"])
			compared++
		}
		for id := range got {
			t.Errorf("%s: message %v is not in messages.jsonl", dir, id)
		}
	}
	if compared != 252 {
		t.Errorf("compared %d messages of 252", compared)
	}
}

// exitFor is the exit code: 3 where something cannot be shown.
func exitFor(name string) int {
	if name == "stray-files" {
		return 3
	}
	return 0
}

func TestQueueInodesAndTime(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"mess/0", "info/0", "local/0", "remote/0", "todo", "intd", "bounce"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"mess/0/7": "x\n", "info/0/7": "F\x00", "remote/0/7": "Tj\xf6rg@example.org\x00Dx\x00cut"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	manifest := filepath.Join(t.TempDir(), "manifest")
	table := "path\tinode\tatime\nqueue/mess/0/7\t4711\t5\n"
	if err := os.WriteFile(manifest, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, words := inspect("", "queue", "-inodes", manifest, "-now", "2100-01-01T00:00:00Z", dir)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, words)
	}
	for _, want := range []string{`"id":7,`, `"inode":4711`, `"info_fields":["F"]`, `{"mark":"T","addr":"jörg@example.org"}`, `"remote_rest":"cut"`} {
		if !strings.Contains(out, want) {
			t.Errorf("%s lacks %s", out, want)
		}
	}
	if age := objects(t, out)[0]["age"].(float64); age < 1e9 {
		t.Errorf("age %v", age)
	}
}
