package sendmail

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
)

const (
	desHash = "abgOeLfPimXQo"
	md5Hash = "$1$saltsalt$tTWg0JeO/sYmHvtKmZE8c."
)

func TestPasswordField(t *testing.T) {
	tests := []struct {
		field, mark, hash string
		state             State
		odd               bool
	}{
		{"", "", "", Empty, false},
		{"!", "!", "", NoPassword, false},
		{"!!", "!!", "", NoPassword, false},
		{"*", "*", "", NoPassword, false},
		{"*LK*", "*LK*", "", NoPassword, false},
		{"*LOCKED*", "*LOCKED*", "", NoPassword, false},
		{"NP", "", "", NoPassword, false},
		{"x", "", "", NoPassword, false},
		{"!*", "!*", "", NoPassword, false},
		{desHash, "", desHash, Active, false},
		{md5Hash, "", md5Hash, Active, false},
		{"!" + md5Hash, "!", md5Hash, Locked, false},
		{"!!" + md5Hash, "!!", md5Hash, Locked, false},
		{"*LOCKED*" + md5Hash, "*LOCKED*", md5Hash, Locked, false},
		{"*LK*" + desHash, "*LK*", desHash, Locked, false},
		{"*" + desHash, "*", desHash, Locked, false},
		{desHash + ",M.z8", "", desHash, Active, false},
		{"!" + desHash + ",M.z8", "!", desHash, Locked, false},
		{"secret", "", "", NoPassword, true},
		{"*NP*", "*", "", NoPassword, true},
		{"{SSHA}c2FsdA==", "", "{SSHA}c2FsdA==", Active, false},
	}
	for _, tt := range tests {
		p := parseField(tt.field)
		if p.mark != tt.mark || p.hash != tt.hash || p.state != tt.state || p.odd != tt.odd {
			t.Errorf("%q: mark %q, hash %q, %v, odd %v", tt.field, p.mark, p.hash, p.state, p.odd)
		}
		if (p.scheme == "") != (p.hash == "") {
			t.Errorf("%q: scheme %q of hash %q", tt.field, p.scheme, p.hash)
		}
	}
}

// TestPasswdRules gives each kind of line once.
func TestPasswdRules(t *testing.T) {
	f := newFixture(t, map[string]string{
		"etc/passwd": strings.Join([]string{
			"# a comment of FreeBSD",
			"root:x:0:0:root:/root:/bin/sh",
			"",
			"alice:x:1000:1000:Alice &:/home/alice:/bin/sh",
			"nobody:*:-2:-2::/:",
			"+@staff::::::",
			"-bob",
			"+",
			"alice:x:1001:1001:a second one:/home/other:/bin/sh",
			"short:x:1:1",
			"long:x:1:1:a:b:c:d",
			"words:x:one:1:a:b:c",
			"big:x:99999999999:1:a:b:c",
			"words2:x:1:two:a:b:c",
			":x:1:1:a:b:c",
			"noshadow:x:1002:1002::/home/n:/bin/sh",
			"own:" + md5Hash + ":1003:1003::/home/o:/bin/sh",
			"adjunct:##adjunct:1004:1004::/home/a:/bin/sh",
			"last:x:1005:1005::/home/l:/bin/sh", // no newline
		}, "\n"),
		"etc/shadow": strings.Join([]string{
			"last:!" + md5Hash + ":1:::::7:",
			"alice:" + md5Hash + ":19000:0:99999:7:::",
			"alice:" + desHash + ":19000:0:99999:7:::",
			"root:*:19000:0:99999:7:::",
			"own:" + desHash + ":19000:0:99999:7:::",
			"gone:" + desHash + ":19000:0:99999:7:::",
			"last:" + desHash + ":19000:0:99999:7:::",
			"bad:" + desHash + ":19000",
			"noshadow:" + desHash + ":19000:0:x:7:::",
			"+::::::::",
		}, "\n"),
	})
	accounts, errs := f.accounts()
	var got []string
	for _, a := range accounts {
		s := fmt.Sprintf("%d %s %d %v %s:%d", a.Line, a.Name, a.UID, a.State, a.HashPath, a.HashLine)
		for _, p := range a.Problems {
			s += " / " + show(p)
		}
		got = append(got, s)
	}
	diff(t, []string{
		"2 root 0 no-password etc/shadow:4",
		"4 alice 1000 active etc/shadow:2",
		"5 nobody -2 no-password etc/passwd:5",
		"16 noshadow 1002 no-password etc/shadow:0 / etc/passwd:16 no-shadow warning",
		"17 own 1003 active etc/passwd:17",
		"18 adjunct 1004 no-password etc/shadow:0 / etc/passwd:18 no-shadow warning",
		"19 last 1005 locked etc/shadow:1 / etc/shadow:1 expired info",
	}, got)
	diff(t, []string{
		"etc/shadow:3 duplicate-shadow warning",
		"etc/passwd:6 nis-line error",
		"etc/passwd:7 nis-line error",
		"etc/passwd:8 nis-line error",
		"etc/passwd:9 duplicate-user error",
		"etc/passwd:10 malformed-line error",
		"etc/passwd:11 malformed-line error",
		"etc/passwd:12 malformed-line error",
		"etc/passwd:13 malformed-line error",
		"etc/passwd:14 malformed-line error",
		"etc/passwd:15 malformed-line error",
		"etc/shadow:7 duplicate-shadow warning",
		"etc/shadow:8 malformed-line error",
		"etc/shadow:9 malformed-line error",
		"etc/shadow:5 unused-shadow warning",
		"etc/shadow:6 shadow-without-account info",
	}, errs)
}

func TestShadowDates(t *testing.T) {
	day := func(n int) string { return itoa(testDay + n) }
	tests := []struct {
		dates string // fields 3 to 9 of shadow
		state State
		codes string
	}{
		{"19000:0:99999:7:::", Active, ""},
		{"::::::", Active, ""},
		{"19000:0:99999:7::" + day(1) + ":", Active, ""},
		{"19000:0:99999:7::" + day(0) + ":", Expired, "expired"},
		{"19000:0:99999:7::1:", Expired, "expired"},
		{"19000:0:99999:7::0:", Expired, "expired expiry-zero"},
		{"19000:0:99999:7::-1:", Active, ""},
		{"19000:0:99999:7::9999999999999999:", Active, ""},
		{"0:0:99999:7:::", Active, "password-must-change"},
		{day(-30) + ":0:20:7:10::", Expired, "password-inactive"},
		{day(-30) + ":0:20:7:11::", Active, ""},
		{day(-30) + ":0:20:7:::", Active, ""},
		{"9223372036854775807:0:9223372036854775807:7:9223372036854775807::", Active, ""},
	}
	for _, tt := range tests {
		f := newFixture(t, map[string]string{"etc/passwd": plainPasswd, "etc/shadow": "alice:" + md5Hash + ":" + tt.dates + "\n"})
		accounts, errs := f.accounts()
		if len(accounts) != 1 || errs != nil {
			t.Fatalf("%s: %d accounts, %v", tt.dates, len(accounts), errs)
		}
		a := accounts[0]
		var codes []string
		for _, p := range a.Problems {
			codes = append(codes, strings.TrimPrefix(p.Code, codePrefix))
		}
		if got := strings.Join(codes, " "); a.State != tt.state || got != tt.codes {
			t.Errorf("%s: %v %q, want %v %q", tt.dates, a.State, got, tt.state, tt.codes)
		}
		if a.State == Expired && a.Hash == "" {
			t.Errorf("%s: the hash is lost", tt.dates)
		}
	}
}

func TestMasterPasswd(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/passwd": "ignored\n", "etc/master.passwd": strings.Join([]string{
		"# $FreeBSD$",
		"root:" + desHash + ":0:0::0:0:Charlie &:/root:/bin/csh",
		"ann:_J9..CCCCZBIc.TMGpK.:1001:1001:staff:0:0:Ann &:/home/ann:/bin/sh",
		"loc:*LOCKED*" + md5Hash + ":1002:1002::0:0::/home/loc:/bin/sh",
		"exp:" + md5Hash + ":1003:1003::0:" + fmt.Sprint(testNow.Unix()) + "::/home/exp:/bin/sh",
		"fut:" + md5Hash + ":1004:1004::0:" + fmt.Sprint(testNow.Unix()+1) + "::/home/fut:/bin/sh",
		"chg:" + md5Hash + ":1005:1005::1:0::/home/chg:/bin/sh",
		"non:*:1006:1006::0:0::/home/non:/bin/sh",
		"emp::1007:1007::0:0::/home/emp:/bin/sh",
		"bad:*:1008:1008::x:0::/home/bad:/bin/sh",
		"few:*:1008:1008::/home/bad:/bin/sh",
	}, "\n")})
	accounts, errs := f.accounts()
	var got []string
	for _, a := range accounts {
		s := fmt.Sprintf("%s %s %v", a.Name, a.Class, a.State)
		for _, p := range a.Problems {
			s += " " + show(p)
		}
		got = append(got, s)
	}
	diff(t, []string{
		"root  active", "ann staff active", "loc  locked",
		"exp  expired etc/master.passwd:5 expired info", "fut  active",
		"chg  active etc/master.passwd:7 password-must-change warning",
		"non  no-password", "emp  empty etc/master.passwd:9 empty-password error",
	}, got)
	diff(t, []string{"etc/master.passwd:10 malformed-line error", "etc/master.passwd:11 malformed-line error"}, errs)
	if !accounts[3].Expires.Equal(testNow) {
		t.Errorf("expires %v, want %v", accounts[3].Expires, testNow)
	}
}

// TestNoSecretShown reads lines in which a hash stands where it should not.
func TestNoSecretShown(t *testing.T) {
	const secret = "$1$saltsalt$SECRETSECRETSECRET"
	f := newFixture(t, map[string]string{
		"etc/passwd": strings.Join([]string{
			"shifted:" + secret + ":x:1:1:g:h",
			"a:x:" + secret + ":1:g:h:s", "b:x:1:" + secret + ":g:h:s", "c:" + secret, "+nis:" + secret + ":::::", "-nis:" + secret,
			"old:SECRETSECRETS,SECRET:1:1:g:h:s", "odd:SECRET:1:1:g:h:s", "good:" + secret + ":1:1:g:h:s", "good:" + secret + ":1:1:g:h:s", "d:x:1:1:g:h:s",
		}, "\n"),
		"etc/shadow": "d:1:" + secret + ":::::::\nd:" + secret + ":" + secret + ":::::" + secret + ":\nd:" + secret + ":1:::::1:\ngone:" + secret + ":1:::::1:\nshort:" + secret,
	})
	seen := 0
	check := func(s string) {
		if seen++; strings.Contains(s, "SECRET") {
			t.Errorf("shown: %s", s)
		}
	}
	for a, err := range f.open().Accounts(context.Background()) {
		if err != nil {
			check(err.Error())
			continue
		}
		check(fmt.Sprintf("%v %+v %#v %q", *a, *a, *a, *a))
		for _, p := range a.Problems {
			check(p.String())
		}
		d := DefaultPolicy().judge(a)
		check(fmt.Sprintf("%+v %s %v", d, d.PasswordField(), d.Reason))
	}
	if seen < 15 {
		t.Errorf("only %d texts", seen)
	}
}

func TestFullName(t *testing.T) {
	tests := []struct{ login, gecos, want string }{
		{"alice", "Alice &,Room 1,555", "Alice Alice"},
		{"alice", "& and &", "Alice and Alice"},
		{"Bob", "&", "Bob"},
		{"\xe9ric", "&", "\xe9ric"},
		{"", "&&", ""},
		{"x", "", ""},
		{"x", strings.Repeat("&", 5000), strings.Repeat("X", maxFullName)},
	}
	for _, tt := range tests {
		a := &Account{Name: tt.login, Gecos: tt.gecos}
		if got := a.FullName(); got != tt.want {
			t.Errorf("%q %.20q: %.40q", tt.login, tt.gecos, got)
		}
	}
}

// TestHostileNames reads names that no account should have. They are the
// policy's and the mailboxes' to refuse: here they are bytes.
func TestHostileNames(t *testing.T) {
	names := []string{"../x", "a/b", "..", "a\x00b", "a\rb", "\xff\xfe", "a b", strings.Repeat("n", 3000)}
	var b strings.Builder
	for _, n := range names {
		b.WriteString(n + ":" + md5Hash + ":1000:1000:g\x00:/h\x00:s\n")
	}
	f := newFixture(t, map[string]string{"etc/passwd": b.String()})
	accounts, errs := f.accounts()
	var got []string
	for _, a := range accounts {
		got = append(got, a.Name)
	}
	diff(t, names, got)
	diff(t, []string(nil), errs)
}

func TestAccountsStops(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/passwd": strings.Repeat("bad\n", 5000) + plainPasswd, "etc/shadow": strings.Repeat("bad\n", 5000)})
	h := f.open()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	n := 0
	var last error
	for _, err := range h.Accounts(ctx) {
		if n++; n == 10 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) || !errors.Is(last, qmailkit.ErrIncomplete) || n > 2*ctxEvery {
		t.Errorf("after %d items: %v", n, last)
	}
	for range h.Accounts(context.Background()) {
		break
	}
}

// TestManyAccounts reads a host of 200,000 accounts in step with its shadow.
func TestManyAccounts(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 25 MB")
	}
	var passwd, shadow strings.Builder
	const n = 200_000
	for i := range n {
		fmt.Fprintf(&passwd, "user%d:x:%d:100:Some Body:/home/user%d:/bin/sh\n", i, 1000+i, i)
		fmt.Fprintf(&shadow, "user%d:%s:19000:0:99999:7:::\n", i, md5Hash)
	}
	f := newFixture(t, map[string]string{"etc/passwd": passwd.String(), "etc/shadow": shadow.String()})
	passwd.Reset()
	shadow.Reset()
	start := time.Now()
	got := 0
	var mem runtime.MemStats
	var held uint64
	for a, err := range f.open().Accounts(context.Background()) {
		if err != nil || a.Hash == "" {
			t.Fatal(a, err)
		}
		if got++; got == n {
			runtime.GC()
			runtime.ReadMemStats(&mem)
			held = mem.HeapAlloc
		}
	}
	t.Logf("%d accounts in %v, %d bytes held for each", got, time.Since(start), held/n)
	if got != n || held > n*150 {
		t.Errorf("%d accounts, %d bytes held", got, held)
	}
}

func FuzzAccounts(f *testing.F) {
	for _, s := range []string{plainPasswd, "root:*:0:0:a:b:c", "+\n-x\n", "a:b:1:1:c:0:0:d:e:f\n", "a:$1$s$h:0::::::\n", ":::::::::\n", "\x00\n\r\n", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var raw strings.Builder
		long := false
		for l, err := range readLines(context.Background(), strings.NewReader(text), "f", 200) {
			if err != nil {
				long = true
				continue
			}
			raw.WriteString(l.raw)
			if e, err := parsePasswd(l.text(), passwdFields); err == nil && e.String() != l.text() {
				t.Fatalf("passwd %q became %q", l.text(), e)
			}
			if e, err := parsePasswd(l.text(), masterFields); err == nil && e.String() != l.text() {
				t.Fatalf("master.passwd %q became %q", l.text(), e)
			}
			if e, err := parseShadow(l.text()); err == nil && e.String() != l.text() {
				t.Fatalf("shadow %q became %q", l.text(), e)
			}
			p := parseField(l.text())
			if whole := p.mark + p.hash + p.aging; p.state == Active && whole != l.text() || p.state == Locked && whole != l.text() {
				t.Fatalf("field %q became %q", l.text(), whole)
			}
			if (p.state == Active) != (p.hash != "" && p.mark == "") {
				t.Fatalf("field %q: %v", l.text(), p.state)
			}
		}
		if !long && raw.String() != text {
			t.Fatalf("%q became %q", text, raw.String())
		}
		half := len(text) / 2
		checkAccounts(t, memTree{"etc/passwd": text[:half], "etc/shadow": text[half:]})
		checkAccounts(t, memTree{"etc/master.passwd": text})
	})
}

// checkAccounts reads a host and asks what must hold of any.
func checkAccounts(t *testing.T, tree memTree) {
	h, err := Open(tree, &Options{Now: func() time.Time { return testNow }, MaxLine: 200})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for a, err := range h.Accounts(context.Background()) {
		if err != nil {
			if p, ok := AsProblem(err); !ok || p.Path == "" || p.Line == 0 || p.Err == nil {
				t.Fatalf("error without a place: %v", err)
			}
			continue
		}
		if names[a.Name] || a.Name == "" || strings.Contains(string(a.Hash), ":") || a.Line == 0 {
			t.Fatalf("account %+v", a)
		}
		names[a.Name] = true
		if a.State == Empty && (a.Hash != "" || a.LockMark != "") {
			t.Fatalf("empty and yet %+v", a)
		}
		if field := (Decision{Account: a}).PasswordField(); field == "" || field == a.Hash {
			t.Fatalf("account %+v would be open", a)
		}
	}
}
