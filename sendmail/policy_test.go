package sendmail

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// judged reads the decisions about a host of these passwd lines.
func judged(t *testing.T, p *Policy, lines ...string) []string {
	t.Helper()
	f := newFixture(t, map[string]string{"etc/passwd": strings.Join(lines, "\n")})
	var got []string
	for d, err := range p.Judge(f.open().Accounts(context.Background())) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s: %v as %s %s", d.Account.Name, d.Verdict, d.Name, strings.TrimPrefix(d.Reason.Code, codePrefix))))
	}
	return got
}

// user is a passwd line.
func user(name, field string, uid int) string {
	return fmt.Sprintf("%s:%s:%d:100:::/bin/sh", name, field, uid)
}

func TestDefaultPolicy(t *testing.T) {
	got := judged(t, DefaultPolicy(),
		user("root", md5Hash, 0),
		user("daemon", "*", 999),
		user("first", md5Hash, 1000),
		user("last", desHash, 60000),
		user("nobody", "*", 65534),
		user("minus", md5Hash, -2),
		user("Upper", md5Hash, 1001),
		user("Alice", md5Hash, 1002),
		user("alice", md5Hash, 1003),
		user("ALICE", md5Hash, 1004),
		user("BOB", md5Hash, 1005),
		user("Bob", md5Hash, 1006),
		user("Daemon", md5Hash, 1007),
		user("empty", "", 1008),
		user("ldap", "{SSHA}c2FsdA==", 1008),
		user("locked", "!"+md5Hash, 1009),
		user("none", "*", 1010),
		user("../x", md5Hash, 1011),
		user("a/b", md5Hash, 1012),
		user(".", md5Hash, 1013),
		user("a\x00b", md5Hash, 1014),
		"nologin:"+md5Hash+":1015:1:::/usr/sbin/nologin",
	)
	diff(t, []string{
		"root: not carried as root policy-uid",
		"daemon: not carried as daemon policy-uid",
		"first: carried as first",
		"last: carried as last",
		"nobody: not carried as nobody policy-uid",
		"minus: not carried as minus policy-uid",
		"Upper: carried as upper",
		"Alice: not carried as alice policy-collision",
		"alice: carried as alice",
		"ALICE: not carried as alice policy-collision",
		"BOB: carried as bob",
		"Bob: not carried as bob policy-collision",
		"Daemon: carried as daemon",
		"empty: carried locked as empty policy-empty",
		"ldap: carried as ldap policy-scheme",
		"locked: carried locked as locked policy-locked",
		"none: carried locked as none policy-no-password",
		"../x: not carried as ../x policy-name",
		"a/b: not carried as a/b policy-name",
		".: not carried as . policy-name",
		"a\x00b: not carried as a\x00b policy-name",
		"nologin: carried as nologin",
	}, got)
}

func TestPolicySettings(t *testing.T) {
	refuse := errors.New("refused by the new host")
	lines := []string{user("alice", md5Hash, 500), user("Bob", desHash, 501), user("carol", md5Hash, 502)}
	tests := []struct {
		name string
		edit func(*Policy)
		want []string
	}{
		{"uid", func(p *Policy) { p.MaxUID = 501 }, []string{"alice: carried as alice", "Bob: carried as bob", "carol: not carried as carol policy-uid"}},
		{"include", func(p *Policy) { p.Include = []string{"[A-B]*", "carol"} },
			[]string{"alice: not carried as alice policy-not-included", "Bob: carried as bob", "carol: carried as carol"}},
		{"exclude", func(p *Policy) { p.Exclude = []string{"?????"} },
			[]string{"alice: not carried as alice policy-excluded", "Bob: carried as bob", "carol: not carried as carol policy-excluded"}},
		{"case kept", func(p *Policy) { p.FoldCase = false }, []string{"alice: carried as alice", "Bob: carried as Bob", "carol: carried as carol"}},
		{"name", func(p *Policy) {
			p.NameOK = func(name string) error {
				if name == "bob" {
					return refuse
				}
				return nil
			}
		}, []string{"alice: carried as alice", "Bob: not carried as bob policy-name", "carol: carried as carol"}},
		{"scheme", func(p *Policy) {
			p.SchemeOK = func(scheme string) error {
				if strings.HasPrefix(scheme, "des") {
					return refuse
				}
				return nil
			}
		}, []string{"alice: carried as alice", "Bob: carried as bob policy-scheme", "carol: carried as carol"}},
		{"hash length", func(p *Policy) { p.MaxHash = len(desHash) },
			[]string{"alice: carried as alice policy-scheme", "Bob: carried as bob", "carol: carried as carol policy-scheme"}},
		{"bad pattern", func(p *Policy) { p.Exclude = []string{"[a"} }, []string{`sendmail: pattern "[a": syntax error in pattern`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := DefaultPolicy()
			p.MinUID = 500
			tt.edit(p)
			diff(t, tt.want, judged(t, p, lines...))
		})
	}
}

func TestJudgePassesErrors(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/passwd": "bad\n" + plainPasswd + "+\n"})
	var errs, ds int
	for d, err := range DefaultPolicy().Judge(f.open().Accounts(context.Background())) {
		if err != nil {
			errs++
		} else if ds++; d.Account.Name != "alice" {
			t.Errorf("account %s", d.Account.Name)
		}
	}
	if errs != 2 || ds != 1 {
		t.Errorf("%d errors, %d decisions", errs, ds)
	}
	broken := func(yield func(*Account, error) bool) { yield(nil, qmailkit.Incomplete(context.Canceled)) }
	for _, err := range DefaultPolicy().Judge(broken) {
		if !errors.Is(err, qmailkit.ErrIncomplete) {
			t.Errorf("error %v", err)
		}
	}
}

func TestPasswordOfDecision(t *testing.T) {
	tests := []struct {
		field   string
		state   State // forced, if not Active
		verdict Verdict
		want    string
	}{
		{md5Hash, Active, Carried, md5Hash},
		{"!!" + md5Hash, Active, CarriedLocked, "!!" + md5Hash},
		{"*LOCKED*" + md5Hash, Active, CarriedLocked, "*LOCKED*" + md5Hash},
		{md5Hash, Expired, CarriedLocked, "!" + md5Hash},
		{"", Active, CarriedLocked, "*"},
		{"!", Active, CarriedLocked, "*"},
		{"*LK*", Active, CarriedLocked, "*"},
		{"rubbish", Active, CarriedLocked, "*"},
		{md5Hash, Active, NotCarried, "!" + md5Hash},
	}
	for _, tt := range tests {
		a := &Account{Name: "u", UID: 1000}
		a.setPassword(tt.field)
		if tt.state != Active {
			a.State = tt.state
		}
		d := DefaultPolicy().judge(a)
		if tt.verdict == NotCarried {
			d.Verdict = NotCarried
		}
		if got := string(d.PasswordField()); got != tt.want || d.Verdict != tt.verdict {
			t.Errorf("%q %v: %v %q, want %v %q", tt.field, tt.state, d.Verdict, got, tt.verdict, tt.want)
		}
	}
}

// TestRules holds the table in the documentation against the method, and the
// codes of the method against decisions.
func TestRules(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	rules := DefaultPolicy().Rules()
	var table []string
	for _, r := range rules {
		table = append(table, fmt.Sprintf("//\t%-12s %-20s %s\n", r.Name, r.Setting, r.Effect))
		if r.Code != "" && !strings.HasPrefix(r.Code, "sendmail.policy-") {
			t.Errorf("rule %s has code %q", r.Name, r.Code)
		}
	}
	if want := strings.Join(table, ""); !strings.Contains(string(doc), want) {
		t.Errorf("doc.go should hold:\n%s", want)
	}
	p := &Policy{Include: []string{"a*", "b"}, Exclude: []string{"c"}, MinUID: 5, MaxUID: 6,
		NameOK: func(string) error { return nil }, SchemeOK: func(string) error { return nil }}
	var settings []string
	for _, r := range p.Rules() {
		settings = append(settings, r.Setting)
	}
	diff(t, []string{"a* b", "c", "5 to 6", "no filter", "kept", "the new host's rule", "never", "kept locked", "kept locked",
		"kept locked", "the new host's crypt", "no usable password"}, settings)
}
