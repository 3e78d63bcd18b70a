package mbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// goldenCase is a testdata/cases/NAME.json.
type goldenCase struct {
	FileSHA256 string `json:"file_sha256"`
	Error      any    `json:"error"`
	Default    string `json:"default"`
	Pseudo     []int  `json:"pseudo"`
	Messages   []struct {
		FromLine string `json:"from_line"`
		Offset   int64
		Length   int64
		Hashes   map[string]string `json:"sha256_of_message_bytes_after_unquoting_for_variant"`
		Flags    string
	}
}

// message is what the two forms of reading must agree on.
type message struct {
	Header
	Body string
}

// readIndexed reads data through Index and Body.
func readIndexed(data []byte, opts *Options) (list []message, err error) {
	r := bytes.NewReader(data)
	var f Format
	if opts != nil {
		f = opts.Format
	}
	for h, err := range Index(context.Background(), r, int64(len(data)), opts) {
		if err != nil {
			return list, err
		}
		b, err := io.ReadAll(Body(r, h, f))
		if err != nil {
			return list, err
		}
		if b2, err := AppendBody([]byte("x"), r, h, f); err != nil || string(b2) != "x"+string(b) {
			return list, fmt.Errorf("AppendBody of message %d differs from Body: %v", h.Index, err)
		}
		list = append(list, message{*h, string(b)})
	}
	return list, nil
}

// readStream reads r through a Reader.
func readStream(r io.Reader, opts *Options) (list []message, err error) {
	mr := NewReaderOptions(r, opts)
	for {
		h, err := mr.Next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		b, err := io.ReadAll(struct{ io.Reader }{mr})
		if err != nil {
			return list, err
		}
		list = append(list, message{*h, string(b)})
	}
}

var goldenFormats = map[string]Format{"raw": CL2, "mboxo": O, "mboxrd": RD}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d golden files, want 30 or more: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file, ".json")
		t.Run(filepath.Base(name), func(t *testing.T) {
			var want goldenCase
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(name + ".mbox")
			if err != nil {
				t.Fatal(err)
			}
			if got := sum(data); got != want.FileSHA256 {
				t.Fatalf("the file has SHA-256 %s", got)
			}
			for what, f := range goldenFormats {
				testGolden(t, want, data, what, f)
			}
		})
	}
}

func testGolden(t *testing.T, want goldenCase, data []byte, what string, f Format) {
	opts := &Options{Format: f}
	forms := map[string]func() ([]message, error){
		"indexed":   func() ([]message, error) { return readIndexed(data, opts) },
		"streaming": func() ([]message, error) { return readStream(bytes.NewReader(data), opts) },
	}
	for form, read := range forms {
		if want.Error != nil || want.Default == "error" {
			if _, err := read(); !errors.Is(err, ErrNotMbox) {
				t.Errorf("%s: error %v, want %v", form, err, ErrNotMbox)
			}
			if want.Error != nil {
				continue
			}
			opts.SkipPrologue = true
		}
		list, err := read()
		opts.SkipPrologue = false
		if err != nil {
			t.Errorf("%s: %v", form, err)
		}
		if len(list) != len(want.Messages) {
			t.Fatalf("%s: %d messages, want %d", form, len(list), len(want.Messages))
		}
		for i, m := range want.Messages {
			got := list[i]
			if string(got.From.Raw) != m.FromLine || got.Offset != m.Offset || got.Length != m.Length || got.Letters() != m.Flags {
				t.Errorf("%s: message %d: %q at %d+%d flags %q, want %q at %d+%d flags %q", form, i,
					got.From.Raw, got.Offset, got.Length, got.Letters(), m.FromLine, m.Offset, m.Length, m.Flags)
			}
			if h := sum([]byte(got.Body)); m.Hashes[what] == "" || h != m.Hashes[what] {
				t.Errorf("%s: message %d as %s: SHA-256 %s, want %s", form, i, what, h, m.Hashes[what])
			}
			if got.Pseudo != slices.Contains(want.Pseudo, i) {
				t.Errorf("%s: message %d: pseudo is %v", form, i, got.Pseudo)
			}
		}
	}
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// TestCorpus counts the messages of other projects' mailboxes. They may not be
// copied into this one, so QMAILKIT_CORPUS has to name their directory; beside
// or above them lies corpus.tsv with the right counts.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("QMAILKIT_CORPUS")
	if dir == "" {
		t.Skip("QMAILKIT_CORPUS does not name the directory of the mailbox corpus")
	}
	table, err := os.ReadFile(filepath.Join(dir, "corpus.tsv"))
	if errors.Is(err, os.ErrNotExist) {
		table, err = os.ReadFile(filepath.Join(dir, "..", "corpus.tsv"))
	}
	if err != nil {
		t.Fatal(err)
	}
	var rows [][]string
	for line := range strings.Lines(string(table)) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	if len(rows) < 2 {
		t.Fatal("corpus.tsv is empty")
	}
	id, right := slices.Index(rows[0], "id"), slices.Index(rows[0], "right")
	if id < 0 || right < 0 {
		t.Fatal("corpus.tsv lacks a column")
	}
	files, wrong := 0, 0
	for _, row := range rows[1:] {
		data, err := os.ReadFile(filepath.Join(dir, row[id]+".mbox"))
		if err != nil {
			t.Fatal(err)
		}
		files++
		ok := true
		for form, read := range map[string]func() ([]message, error){
			"indexed":   func() ([]message, error) { return readIndexed(data, nil) },
			"streaming": func() ([]message, error) { return readStream(bytes.NewReader(data), nil) },
		} {
			list, err := read()
			count := strconv.Itoa(len(list))
			if err != nil {
				count = "E"
			}
			if count != row[right] {
				ok = false
				t.Logf("%s %s: %s messages, want %s", row[id], form, count, row[right])
			}
		}
		if !ok {
			wrong++
		}
	}
	t.Logf("%d of %d files right", files-wrong, files)
	if wrong > 1 {
		t.Errorf("%d files wrong, at most 1 may be", wrong)
	}
}
