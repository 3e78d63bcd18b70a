//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/mbox"
)

// TestMain lets the test binary be the program that races start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"gen", "host", "floor"}, os.Args[1]) {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// The reader of package mbox has to find exactly the messages that were
// written: else the floor would do other work than the programs.
func TestGenerator(t *testing.T) {
	for _, k := range []kind{small, mixed, huge} {
		t.Run(string(k), func(t *testing.T) {
			write := func(seed uint64) ([]byte, []span) {
				g, err := newGenerator(k, seed)
				if err != nil {
					t.Fatal(err)
				}
				var b bytes.Buffer
				spans, size, err := g.write(&b, 500_000, 0)
				if err != nil {
					t.Fatal(err)
				}
				if size != int64(b.Len()) || size < 500_000 {
					t.Fatalf("%d bytes, said to be %d", b.Len(), size)
				}
				return b.Bytes(), spans
			}
			data, spans := write(1)
			if again, _ := write(1); sha256.Sum256(again) != sha256.Sum256(data) {
				t.Error("the same seed gave other bytes")
			}
			if other, _ := write(2); bytes.Equal(other, data) {
				t.Error("another seed gave the same bytes")
			}
			var found []span
			for h, err := range mbox.Index(context.Background(), bytes.NewReader(data), int64(len(data)), nil) {
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, span{h.Offset, h.Length})
			}
			if !slices.Equal(found, spans) {
				t.Errorf("%d messages found, %d written", len(found), len(spans))
			}
		})
	}
	if _, err := newGenerator("odd", 1); err == nil {
		t.Error("a kind that does not exist was taken")
	}
}

func TestFloor(t *testing.T) {
	if err := runFloor(t.Context(), "", ""); strings.Contains(err.Error(), "unsupported") {
		t.Skip(err)
	}
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "mbox"), filepath.Join(dir, "Maildir")
	g, err := newGenerator(small, 1)
	if err != nil {
		t.Fatal(err)
	}
	const count = groupCount + 1 // one group and a message
	spans, _, err := g.file(src, 0, count)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	want := map[[32]byte]int{}
	for _, s := range spans {
		want[sha256.Sum256(data[s.off:s.off+s.size])]++
	}
	if err := runFloor(t.Context(), src, dst); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dst, "new", "*"))
	if err != nil || len(names) != count {
		t.Fatalf("%d files, want %d (%v)", len(names), count, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if want[sha256.Sum256(b)]--; want[sha256.Sum256(b)] < 0 {
			t.Fatalf("%s is no message of the mbox, or comes too often", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runFloor(ctx, src, filepath.Join(dir, "other")); err == nil {
		t.Error("a cancelled run ended well")
	}
}

// TestRaces runs all of it with little mail.
func TestRaces(t *testing.T) {
	if testing.Short() {
		t.Skip("builds two programs")
	}
	dir := t.TempDir()
	var out, said bytes.Buffer
	code := run(t.Context(), []string{"-dir", dir, "-rounds", "2", "-scale", "1000", "-only", "small", "-only", "many", "-peers=false"}, nil, &out, &said)
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, said.Bytes())
	}
	for _, want := range []string{"small: one mbox", "\n  floor ", "\n  mbox2maildir ", "mb2md is not installed",
		"many: sendmail2vpopmail run, 100 messages", "\n  4 mailboxes ", "4 mailboxes at most 1.5 times the time of one mailbox: "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.Bytes())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// A program that loses messages, or fails, is no entrant.
func TestCheck(t *testing.T) {
	e := entrant{name: "empty", maildirs: func(string) ([]string, error) { return nil, nil }}
	if err := e.check(t.TempDir(), 1); err == nil {
		t.Error("a message that is missing was not missed")
	}
	for _, args := range [][]string{{"-only", "none"}, {"-rounds", "0"}, {"-scale", "0"}, {"gen", "-kind", "odd", "x"}, {"host", "-mailboxes", "0", "x"}} {
		if code := run(t.Context(), args, nil, io.Discard, io.Discard); code != 2 {
			t.Errorf("%q: exit %d, want 2", args, code)
		}
	}
}

func TestGoals(t *testing.T) {
	at := func(seconds ...float64) (s []sample) {
		for _, x := range seconds {
			s = append(s, sample{wall: time.Duration(x * float64(time.Second)), cpu: time.Second})
		}
		return s
	}
	samples := map[string][]sample{"us": at(1, 4, 2), "floor": at(1, 2, 1), "slow": at(3, 4, 6)}
	for _, c := range []struct {
		goal goal
		want string
	}{
		{goal{name: "us", than: "floor", factor: 2}, "us at most 2 times the time of floor: 1.00 2.00 2.00 met"},
		{goal{name: "us", than: "floor", factor: 1.9}, "us at most 1.9 times the time of floor: 1.00 2.00 2.00 missed"},
		{goal{name: "us", than: "slow", factor: 3, faster: true}, "us at least 3 times as fast as slow: 1.00 3.00 3.00 met"},
		{goal{name: "us", than: "slow", factor: 3.1, faster: true}, "us at least 3.1 times as fast as slow: 1.00 3.00 3.00 missed"},
	} {
		words, s, cpuRatio, met := c.goal.judge(samples)
		if got := fmt.Sprintf("%s: %.2f %.2f %.2f %s", words, s.min, s.median, s.max, met); got != c.want || cpuRatio != 1 {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if s := spreadOf([]float64{4, 1, 2, 3}); s != (spread{1, 2.5, 4}) {
		t.Errorf("spread %v", s)
	}
}
