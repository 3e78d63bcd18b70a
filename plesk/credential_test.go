package plesk

import (
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

// TestPopCredential reads lines of users/poppasswd in all forms.
func TestPopCredential(t *testing.T) {
	const hash = "$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs."
	for line, want := range map[string]struct {
		c    Credential
		code []string
	}{
		"secret":             {Credential{Clear: "secret"}, nil},
		"":                   {Credential{}, nil},
		"a:b":                {Credential{Clear: "a:b"}, []string{"plesk.pop-colon"}},
		":":                  {Credential{Clear: ":"}, []string{"plesk.pop-colon"}},
		hash:                 {Credential{Hash: hash}, nil},
		hash + ":x:y":        {Credential{Hash: hash}, nil},
		"abcdefghij123":      {Credential{Hash: "abcdefghij123"}, []string{"plesk.pop-form"}},
		"secret\r":           {Credential{Clear: "secret"}, []string{"plesk.pop-cr"}},
		hash + "\r":          {Credential{Hash: hash}, []string{"plesk.pop-cr"}},
		"\r":                 {Credential{}, []string{"plesk.pop-cr"}},
		"gr\xfcn, {CRYPT}no": {Credential{Clear: "gr\xfcn, {CRYPT}no"}, nil},
	} {
		p, err := users.ParsePoppasswd(strings.NewReader("# one line before\nanna@example.com:" + line + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		e, ok := p.Lookup("anna@example.com")
		got, probs := PopCredential(e)
		if !ok || got != want.c || !slices.Equal(codes(probs), want.code) {
			t.Errorf("%q: %q, %v", line, []string{string(got.Clear), string(got.Hash)}, probs)
		}
		for _, p := range probs {
			if p.Line != 2 || p.Offset != 18 || strings.Contains(p.Err.Error(), "secret") {
				t.Errorf("%q: %+v", line, p)
			}
		}
	}
}

// TestPlanEightBit plans names that differ in a byte which is no UTF-8: each
// gets its own password and keeps its own alias.
func TestPlanEightBit(t *testing.T) {
	pop, err := users.ParsePoppasswd(strings.NewReader("b\xe4r@example.com:first\nB\xf6r@example.com:second\n"))
	if err != nil {
		t.Fatal(err)
	}
	name := func(s, alias string) *Mailname {
		return &Mailname{Name: s, Mailbox: true, Quota: -1, Aliases: []string{alias}}
	}
	source := &Server{Domains: []*Domain{{ID: 1, Name: "example.com", Mailnames: []*Mailname{name("b\xe4r", "\xe4"), name("b\xf6r", "\xf6")}}}}
	target := &Server{Domains: []*Domain{{ID: 2, Name: "example.com", Mailnames: []*Mailname{name("b\xe4r", "\xf6")}}}}
	plan, err := PlanAccounts(source, target, &AccountOptions{Poppasswd: pop})
	if err != nil {
		t.Fatal(err)
	}
	a, b := plan.Domains[0].Accounts[0], plan.Domains[0].Accounts[1]
	if a.Password.Clear != "first" || b.Password.Clear != "second" {
		t.Errorf("%q, %q", string(a.Password.Clear), string(b.Password.Clear))
	}
	if a.Action != AccountDiffers || !slices.Contains(a.Differences, "alias \xe4 missing") {
		t.Errorf("%v, %q", a.Action, a.Differences)
	}
	if b.Action != AccountRefused { // its alias belongs to the first one there
		t.Errorf("%v, %v", b.Action, b.Problems)
	}
}
