//go:build unix

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit/vpopmail"
)

func TestEntry(t *testing.T) {
	all := vpopmail.NoMaildrop<<1 - 1
	for _, tc := range []struct {
		line, domain string
		want         vpopmail.NewUser
		err          string
	}{
		{line: "ann:*", want: vpopmail.NewUser{Name: "ann", Hash: "*"}},
		{line: "Ann@Example.COM:*", domain: "example.com", want: vpopmail.NewUser{Name: "ann", Hash: "*"}},
		{line: "ann\t*\tA: B\t1M", want: vpopmail.NewUser{Name: "ann", Hash: "*", Gecos: "A: B", Quota: "1M"}},
		{line: "ann@example.com\t\t", domain: "example.com", want: vpopmail.NewUser{Name: "ann"}},
		{line: "ann:$1$x:1:5:A B:/dir:NOQUOTA", want: vpopmail.NewUser{Name: "ann", Hash: "$1$x", Flags: 5, Gecos: "A B", Quota: "NOQUOTA"}},
		{line: "ann::1:0:A B:/dir:NOQUOTA:c:d", want: vpopmail.NewUser{Name: "ann", Clear: "c:d", Gecos: "A B", Quota: "NOQUOTA"}},
		{line: "ann::1:0:A B:/dir:NOQUOTA:", want: vpopmail.NewUser{Name: "ann", NoPassword: true, Gecos: "A B", Quota: "NOQUOTA"}},
		{line: `{"address":"ann","hash":"\u00ff","flags":"dpwibru0123saofFSEm"}`, want: vpopmail.NewUser{Name: "ann", Hash: "\xff", Flags: all}},
		{line: `{"address":"ann@b","clear":"c","gecos":"g","quota":"1M"}`, domain: "b", want: vpopmail.NewUser{Name: "ann", Clear: "c", Gecos: "g", Quota: "1M"}},
		{line: `{"address":"ann"} {}`, err: "more than one JSON object"},
		{line: `{"address":"ann","gecos":"\u0100"}`, err: "beyond U+00FF"},
		{line: `{"address":"ann"`, err: "no JSON object"},
		{line: `{}`, err: "the name is missing"},
		{line: ":*", err: "the name is missing"},
		{line: "@b:*", err: "the name is missing"},
		{line: "ann@:*", err: "not a full address"},
		{line: "a\tb\tc\td\te", err: "more than four fields"},
		{line: "a:b:c", err: "neither NAME:HASH nor"},
		{line: "ann", err: "neither JSON nor fields"},
	} {
		domain, got, err := parseEntry([]byte(tc.line))
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: error %v, want %q", tc.line, err, tc.err)
			}
			continue
		}
		if err != nil || domain != tc.domain || got != tc.want {
			t.Errorf("%s: domain %q, %v, want - got +:\n%s", tc.line, domain, err, cmp.Diff(tc.want, got))
		}
	}
}

func TestLines(t *testing.T) {
	var got []string
	data := []byte("one\r\n\ntwo\nlast")
	for len(data) > 0 {
		n, line, err := lines(data, true)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(line))
		data = data[n:]
	}
	if d := cmp.Diff([]string{"one\r", "", "two", "last"}, got); d != "" {
		t.Error(d)
	}
	if n, line, err := lines([]byte("more to come"), false); n != 0 || line != nil || err != nil {
		t.Errorf("%d %q %v", n, line, err)
	}
}

func TestBatchLineTooLong(t *testing.T) {
	s := newSite(t)
	s.must("", "adddomain", "-locked", "example.com")
	code, _, words := s.try("a@example.com:*\nb:"+strings.Repeat("x", maxEntry)+"\n", "adduser", "-batch", "-")
	if code != 2 || !strings.Contains(words, "line 2 is too long") {
		t.Errorf("exit code %d, %q", code, words)
	}
}

// FuzzEntry takes any line: what is refused is not shown, because a secret may
// stand in it.
func FuzzEntry(f *testing.F) {
	for _, line := range []string{
		"ann:*", "ann@example.com\t$1$x$y\tA B\t10M", "ann:$1$x:1:5:A B:/dir:NOQUOTA:clear", `{"address":"ann@example.com","hash":"x","flags":"dp"}`,
		`{"address":1}`, "{", "\t", ":::::::", "a@b@c:x",
	} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if len(line) == 0 || bytes.IndexByte(line, '\n') >= 0 {
			return
		}
		domain, n, err := parseEntry(line)
		switch {
		case err == nil && (strings.Contains(n.Name, "@") || n.Name == ""):
			t.Errorf("name %q, domain %q", n.Name, domain)
		case err != nil && len(n.Hash) > 30 && strings.Contains(err.Error(), string(n.Hash)):
			t.Errorf("a hash is shown: %v", err)
		}
	})
}
