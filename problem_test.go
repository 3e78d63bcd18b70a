package qmailkit_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

func TestIncomplete(t *testing.T) {
	if qmailkit.Incomplete(nil) != nil {
		t.Error("nil became an error")
	}
	cause := &fs.PathError{Op: "read", Path: "x", Err: io.ErrUnexpectedEOF}
	err := qmailkit.Incomplete(cause)
	var pe *fs.PathError
	if !errors.Is(err, qmailkit.ErrIncomplete) || !errors.Is(err, io.ErrUnexpectedEOF) || !errors.As(err, &pe) || err.Error() != cause.Error() {
		t.Errorf("%v", err)
	}
	if qmailkit.Incomplete(err) != err || errors.Is(cause, qmailkit.ErrIncomplete) {
		t.Error("marked twice, or in place")
	}
}

func TestProblemString(t *testing.T) {
	for want, p := range map[string]qmailkit.Problem{
		"a/b:3: bad (x.y)":                       {Code: "x.y", Path: "a/b", Line: 3, Offset: 9, Err: errors.New("bad")},
		"a: offset 9: bad (x.y); mend it":        {Code: "x.y", Path: "a", Offset: 9, Err: errors.New("bad"), Fix: "mend it"},
		"a: bad (x.y)":                           {Code: "x.y", Path: "a", Err: errors.New("bad")},
		"bad (x.y)":                              {Code: "x.y", Line: 3, Err: errors.New("bad")},
		" (x.y)":                                 {Code: "x.y"},
		`\x1b[2J\x0a\x7f: \x9b1 \xc2\x9b (c)`:    {Code: "c", Path: "\x1b[2J\n\x7f", Err: errors.New("\x9b1 \u009b")},
		"Entwürfe \xff\xe4: \xc3(\x20\ufffd (c)": {Code: "c", Path: "Entwürfe \xff\xe4", Err: errors.New("\xc3( \ufffd")},
	} {
		if got := p.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSeverity(t *testing.T) {
	b, err := json.Marshal([]qmailkit.Severity{qmailkit.Info, qmailkit.Warning, qmailkit.Error, 9})
	if err != nil || string(b) != `["info","warning","error","severity(9)"]` {
		t.Errorf("%s, %v", b, err)
	}
}

// TestSecret prints one in every way; only a conversion shows it.
func TestSecret(t *testing.T) {
	const clear = "hunter2"
	s := struct {
		S qmailkit.Secret
		P *qmailkit.Secret
	}{S: clear}
	s.P = &s.S
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{string(b), s.S.String(), fmt.Sprint(s.S, s), fmt.Errorf("%w %v", io.EOF, s.S).Error()}
	for _, verb := range "vsqxXdtTcUobgef" {
		for _, flag := range []string{"", "+", "#", " ", "-9"} {
			out = append(out, fmt.Sprintf("%"+flag+string(verb), s.S), fmt.Sprintf("%"+flag+string(verb), []qmailkit.Secret{s.S}), fmt.Sprintf("%"+flag+string(verb), s))
		}
	}
	for _, o := range out {
		if l := strings.ToLower(o); strings.Contains(l, clear) || strings.Contains(l, "68756e746572") || strings.Contains(l, "68 75 6e") {
			t.Errorf("shown: %q", o)
		}
	}
	if string(s.S) != clear || qmailkit.Secret("").String() != "" {
		t.Error("the value itself is lost, or an empty one is hidden")
	}
}
