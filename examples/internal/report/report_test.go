//go:build unix

package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a run with some of everything.
func sample() *Report {
	start := time.Date(2026, 3, 7, 2, 11, 40, 0, time.FixedZone("", 3600))
	r := &Report{
		Program: "sendmail2vpopmail", Command: "run", Outcome: Partial,
		Started: start, Finished: start.Add(3*time.Minute + 25*time.Second),
		Source: Place{"Sendmail host", "/mnt/old"},
		Target: Place{"vpopmail", "/home/vpopmail"},
		Mailboxes: []Mailbox{
			{
				Source: "var/mail/ann", Target: "domains/example.org/ann/Maildir", Account: "ann@example.org",
				Messages: 1204, Bytes: 48_133_120, Delivered: 1200, DeliveredBytes: 48_000_000, AlreadyThere: 4, Verified: 1204,
			},
			{
				Source: "home/ann/mail/Gesch\xe4ft", Target: "domains/example.org/ann/Maildir/.Gesch&AOQ-ft", Account: "ann@example.org",
				Folder: "Gesch&AOQ-ft", Messages: 3, Bytes: 5120, Delivered: 3, DeliveredBytes: 5120, Verified: 3, Problems: 1,
			},
			{
				Source: "var/mail/bob", Account: "bob@example.org", Messages: 7, Bytes: 9000, Delivered: 5, DeliveredBytes: 6000,
				Failed: 2, Verified: 5, Problems: 1, Target: "domains/example.org/bob/Maildir",
			},
		},
		Accounts: []Account{
			{Name: "ann", Address: "ann@example.org", State: Made, Scheme: "sha512", HashUnchanged: Yes},
			{Name: "bob", Address: "bob@example.org", State: There, Scheme: "bcrypt", HashUnchanged: Yes, Locked: true, Why: "expired in the shadow file"},
			{Name: "+ops", Address: "", State: Skipped, Scheme: "none", HashUnchanged: Unknown, Why: "a NIS line"},
		},
		NotCarried: []Item{
			{Code: "sendmail.alias", Severity: "warning", Path: "etc/aliases", Line: 12, Words: "alias sales is not carried yet", Fix: "make a .qmail-sales by hand"},
			{Code: "sendmail.alias", Severity: "warning", Path: "etc/aliases", Line: 13, Words: "alias info is not carried yet"},
			{Code: "mbox.truncated", Severity: "error", Path: "var/mail/bob", Offset: 8800, Account: "bob@example.org", Words: "two messages cannot be read", Fix: "restore the spool from a backup and run again"},
		},
		Oddities: []Item{FromProblem(qmailkit.Problem{
			Code: "mbox.nul", Severity: qmailkit.Info, Path: "home/ann/mail/Gesch\xe4ft", Line: 4, Err: errors.New("NUL bytes"),
		})},
		Notices: []Notice{{"pop3.uidl", "POP3 clients see all messages as new, once", "Messages that are left on the server are fetched again."}},
		Verification: &Verification{
			Method: "Both ends were read again; each message was compared by SHA-256.", Mailboxes: 3, MailboxesEqual: 2,
			Messages: 1214, Equal: 1210, EqualIdentity: 2, Missing: 2, Hashes: 2, HashesUnchanged: 2,
			Failures: []Item{{Code: "verify.missing", Severity: "error", Path: "var/mail/bob", Account: "bob@example.org", Words: "2 of 7 messages are not at the target"}},
		},
	}
	r.Sum()
	return r
}

// huge is a run over n mailboxes.
func huge(n int) *Report {
	r := sample()
	r.Mailboxes, r.Accounts, r.NotCarried = nil, nil, nil
	for i := range n {
		user := fmt.Sprintf("user%05d", i)
		m := Mailbox{
			Source: jsonl.Bytes("var/mail/" + user), Target: jsonl.Bytes("domains/example.org/" + user + "/Maildir"),
			Account: jsonl.Bytes(user + "@example.org"), Messages: int64(i * 7 % 400), Bytes: int64(i * 7919 % 9_000_000),
		}
		m.Delivered, m.DeliveredBytes, m.Verified = m.Messages, m.Bytes, m.Messages
		if i%500 == 77 {
			m.Problems = 1
		}
		r.Mailboxes = append(r.Mailboxes, m)
		r.Accounts = append(r.Accounts, Account{jsonl.Bytes(user), m.Account, Made, "sha512", Yes, false, ""})
		if i%3 == 0 {
			r.NotCarried = append(r.NotCarried, Item{
				Code: "sendmail.forward", Severity: "warning", Path: jsonl.Bytes("home/" + user + "/.forward"), Account: m.Account,
				Words: "a .forward is not carried yet", Fix: "make a .qmail of it",
			})
		}
	}
	r.Sum()
	return r
}

func render(t testing.TB, write func(io.Writer, *Report) error, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for name, write := range map[string]func(io.Writer, *Report) error{
		"sample.json": WriteJSON, "sample.html": WriteHTML, "sample.txt": WriteText,
	} {
		got := render(t, write, sample())
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got), -update writes it anew:\n%s", name, diff)
		}
	}
}

func TestJSONComesBack(t *testing.T) {
	want := sample()
	want.Format = Format
	dec := json.NewDecoder(strings.NewReader(render(t, WriteJSON, want)))
	dec.DisallowUnknownFields()
	var got Report
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Mailboxes[1].Source != "home/ann/mail/Gesch\xe4ft" {
		t.Errorf("bytes were lost: %q", got.Mailboxes[1].Source)
	}
}

// TestKeysStay fixes the names that scripts may rely on.
func TestKeysStay(t *testing.T) {
	var empty map[string]any
	if err := json.Unmarshal([]byte(render(t, WriteJSON, &Report{})), &empty); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"not_carried", "oddities", "notices", "mailboxes", "accounts"} {
		if _, ok := empty[key].([]any); !ok {
			t.Errorf("%s of an empty report is %v, want an empty list", key, empty[key])
		}
	}
	if v, ok := empty["verification"]; !ok || v != nil {
		t.Errorf("verification of an empty report is %v, want null", v)
	}
	if empty["report_format"] != float64(Format) {
		t.Errorf("report_format is %v", empty["report_format"])
	}
}

// evil are names that try to break out of the page or of the terminal.
var evil = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</style></table></main>`, `{{.Program}}`,
	"\x1b[2J\x1b[31m", "\xff\xfe\x00", "new\nline", "\u202egnp.exe", `javascript:alert(1)`, `' onclick='x`, "<!--", "]]>",
}

// hostile has such a name wherever a name can stand.
func hostile(name string) *Report {
	r := sample()
	b := jsonl.Bytes(name)
	r.Program, r.Command, r.Why, r.Version = name, name, name, name
	r.Outcome = Stopped
	r.Source, r.Target = Place{name, b}, Place{name, b}
	r.Mailboxes = []Mailbox{{Source: b, Target: b, Account: b, Folder: b, Problems: 1}}
	r.Accounts = []Account{{Name: b, Address: b, State: AccountState(name), Scheme: name, HashUnchanged: Answer(name), Why: name}}
	it := Item{name, name, b, 1, 2, b, name, name}
	r.NotCarried, r.Oddities = []Item{it}, []Item{it}
	r.Notices = []Notice{{name, name, name}}
	r.Verification.Method, r.Verification.Failures = name, []Item{it}
	r.Sum()
	return r
}

// shape is the page without its text: the tags in their order.
func shape(page string) string {
	return strings.Join(regexp.MustCompile(`<[a-zA-Z/!][^>]*>`).FindAllString(page, -1), "\n")
}

func TestHostileNamesKeepToTheirPlace(t *testing.T) {
	titles := regexp.MustCompile(` title="[^"]*"`)
	want := titles.ReplaceAllString(shape(render(t, WriteHTML, hostile("harmless"))), "")
	for _, name := range evil {
		page := render(t, WriteHTML, hostile(name))
		if diff := cmp.Diff(want, titles.ReplaceAllString(shape(page), "")); diff != "" {
			t.Errorf("%q changes the page:\n%s", name, diff)
		}
		text := render(t, WriteText, hostile(name))
		for what, s := range map[string]string{"page": page, "text": text} {
			for _, r := range s {
				if r < ' ' && r != '\n' || r == 0x7f || r == 0x202e || r == '\ufffd' {
					t.Errorf("%q: %U in the %s", name, r, what)
					break
				}
			}
		}
		if !json.Valid([]byte(render(t, WriteJSON, hostile(name)))) {
			t.Errorf("%q: not JSON", name)
		}
	}
	if page := render(t, WriteHTML, hostile("a\xffb<i>")); !strings.Contains(html.UnescapeString(page), `a\xffb<i>`) {
		t.Error("a name is not shown with its escapes")
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	page := render(t, WriteHTML, sample())
	for _, re := range []string{`(?i)<script`, `(?i)\bon[a-z]+=`, `(?i)https?://`, `(?i)@import`, `url\(`, `(?i)<(img|iframe|object|base|form)`, `(?i)(src|href)="[^d]`} {
		if m := regexp.MustCompile(re).FindString(page); m != "" {
			t.Errorf("the page has %q", m)
		}
	}
	for _, tag := range []string{"main", "table", "tbody", "thead", "tr", "td", "th", "div", "section", "details", "dl", "code", "b", "span", "p"} {
		open := len(regexp.MustCompile(`<`+tag+`[ >]`).FindAllString(page, -1))
		if shut := strings.Count(page, "</"+tag+">"); open != shut || open == 0 {
			t.Errorf("<%s>: %d opened, %d closed", tag, open, shut)
		}
	}
}

func TestLargePages(t *testing.T) {
	page := render(t, WriteHTML, huge(4000))
	if n := strings.Count(page, "var/mail/user"); n != 4008 { // 8 of them need a look
		t.Errorf("%d mailboxes in the page, want 4008", n)
	}
	if !strings.Contains(page, `<details class="long"><summary><span class="n">4,000 mailboxes</span>`) {
		t.Error("4,000 mailboxes are not folded away")
	}
	if n := strings.Count(page, "/.forward</code>"); n != mostItems || !strings.Contains(page, "334 items more") {
		t.Errorf("%d items of one kind are shown, want %d and the number of the rest", n, mostItems)
	}
	if size := len(page); size > 4<<20 {
		t.Errorf("the page has %d bytes", size)
	}
	page = render(t, WriteHTML, huge(mostRows+5))
	if !strings.Contains(page, "5 mailboxes more") || !strings.Contains(page, "5 accounts more") {
		t.Error("rows are left out without a word")
	}
	if text := render(t, WriteText, huge(4000)); strings.Count(text, "\n") > 40 {
		t.Errorf("the terminal gets too much:\n%s", text)
	}
}

func TestSum(t *testing.T) {
	got := sample().Totals
	want := Totals{
		Mailboxes: 3, Messages: 1214, Bytes: 48_147_240, Delivered: 1208, DeliveredBytes: 48_011_120, AlreadyThere: 4, Failed: 2, Verified: 1212,
		Accounts: 3, AccountsMade: 1, AccountsThere: 1, AccountsSkipped: 1, NotCarried: 3, Oddities: 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProven(t *testing.T) {
	whole := Verification{Mailboxes: 2, MailboxesEqual: 2, Messages: 10, Equal: 7, EqualIdentity: 2, GoneAtTarget: 1, Hashes: 3, HashesUnchanged: 3, Extra: 4}
	if !whole.Proven() || !strings.HasPrefix(whole.Summary(), "All equal: 7 of 10") {
		t.Errorf("%+v is not proven: %s", whole, whole.Summary())
	}
	for what, spoil := range map[string]func(*Verification){
		"missing":   func(v *Verification) { v.Missing, v.Equal = 1, 6 },
		"uncounted": func(v *Verification) { v.Equal = 6 },
		"hash":      func(v *Verification) { v.HashesUnchanged = 2 },
		"mailbox":   func(v *Verification) { v.MailboxesEqual = 1 },
		"failure":   func(v *Verification) { v.Failures = []Item{{}} },
	} {
		v := whole
		spoil(&v)
		if v.Proven() || !strings.HasPrefix(v.Summary(), "NOT PROVEN") {
			t.Errorf("%s: proven", what)
		}
	}
}

func TestPlan(t *testing.T) {
	r := sample()
	r.Command, r.Outcome, r.Verification = "plan", Planned, nil
	r.Needs = &Needs{Bytes: 50 << 20, FreeBytes: 1 << 30, Inodes: 1300, FreeInodes: -1, Seconds: 4.2}
	text, page := render(t, WriteText, r), render(t, WriteHTML, r)
	for _, want := range []string{"A plan: nothing was changed; 3 things would not be carried.", "50.0 MiB of disk (1.0 GiB free), 1,300 inodes (free: not known), about 4.2 s\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("text lacks %q:\n%s", want, text)
		}
	}
	for _, not := range []string{"delivered now", "Is it all there", "NOT ENOUGH"} {
		if strings.Contains(text, not) || strings.Contains(page, not) {
			t.Errorf("a plan says %q", not)
		}
	}
	r.NotCarried = nil
	r.Sum()
	if page := render(t, WriteHTML, r); !strings.Contains(page, "all of it would be carried") {
		t.Error("the plan speaks of what was done")
	}
	r.Needs.FreeBytes = 1
	if r.Needs.Enough() || r.tone() != "bad" || !strings.Contains(render(t, WriteText, r), "NOT ENOUGH ROOM") {
		t.Error("a full disk is not told")
	}
	r.Needs = &Needs{FreeBytes: -1, FreeInodes: 1, Inodes: 2, Seconds: 1e300}
	if r.Needs.Enough() || r.Needs.Duration() <= 0 {
		t.Errorf("inodes: enough; or a time of %v", r.Needs.Duration())
	}
}

func TestHeadlineAndTone(t *testing.T) {
	for _, tc := range []struct {
		outcome  Outcome
		left     int64
		headline string
		tone     string
	}{
		{Done, 0, "Done.", "good"},
		{Done, 1, "Done; 1 thing was not carried.", "warn"},
		{Partial, 2000, "Done, but not all of it; 2,000 things were not carried.", "warn"},
		{Stopped, 0, "Stopped before the end; it can be run again. It said: disk full", "bad"},
		{Planned, 0, "A plan: nothing was changed.", "good"},
	} {
		r := &Report{Outcome: tc.outcome, Why: "disk full", Totals: Totals{NotCarried: tc.left}}
		if r.Headline() != tc.headline || r.tone() != tc.tone {
			t.Errorf("%s: %q, %s; want %q, %s", tc.outcome, r.Headline(), r.tone(), tc.headline, tc.tone)
		}
	}
}

func TestFiles(t *testing.T) {
	var f Files
	set := flag.NewFlagSet("x", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	set.Var(&f, "report", "")
	dir := t.TempDir()
	names := []string{filepath.Join(dir, "r.json"), filepath.Join(dir, "r.html")}
	if err := set.Parse([]string{"-report", names[0], "-report", names[1]}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"r", "r.txt", "r.JSON", "html", ""} {
		if err := set.Parse([]string{"-report", bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	for range 2 { // the second time it replaces
		if err := f.Save(sample()); err != nil {
			t.Fatal(err)
		}
	}
	for i, write := range []func(io.Writer, *Report) error{WriteJSON, WriteHTML} {
		data, err := os.ReadFile(names[i])
		if err != nil || string(data) != render(t, write, sample()) {
			t.Errorf("%s: %d bytes, %v", names[i], len(data), err)
		}
		if fi, _ := os.Stat(names[i]); fi.Mode() != 0o600 {
			t.Errorf("%s: mode %v", names[i], fi.Mode())
		}
	}
	if err := (Files{filepath.Join(dir, "none", "r.json")}).Save(sample()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	link := filepath.Join(dir, "link.json")
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	if err := (Files{link}).Save(sample()); !errors.Is(err, safefs.ErrLink) {
		t.Errorf("a link: %v", err)
	}
}

func TestSaveIsAllOrNothing(t *testing.T) {
	fault := errors.New("injected fault")
	for n := 1; ; n++ {
		dir := t.TempDir()
		name := filepath.Join(dir, "r.html")
		if err := os.WriteFile(name, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		seen, op := 0, ""
		err := save(name, huge(500), func(o, _ string) error {
			if seen++; seen == n {
				op = o
				return fault
			}
			return nil
		})
		if op == "" {
			if err != nil || n < 5 {
				t.Errorf("%d steps, %v", n-1, err)
			}
			return
		}
		if !errors.Is(err, fault) {
			t.Errorf("%s failed, and Save says %v", op, err)
		}
		data, rerr := os.ReadFile(name)
		if whole := bytes.HasSuffix(data, []byte("</html>\n")); rerr != nil || !whole && string(data) != "old" {
			t.Errorf("%s: half a report of %d bytes, %v", op, len(data), rerr)
		}
		list, rerr := os.ReadDir(dir)
		if rerr != nil || len(list) != 1 {
			t.Errorf("%s: %v is left, %v", op, list, rerr)
		}
	}
}

func ExampleWriteText() {
	r := &Report{
		Program: "mbox2maildir", Command: "run", Outcome: Partial,
		Source:    Place{"mbox", "inbox"},
		Target:    Place{"Maildir", "Maildir"},
		Mailboxes: []Mailbox{{Messages: 3, Bytes: 4096, Delivered: 3, DeliveredBytes: 4096}},
		NotCarried: []Item{FromProblem(qmailkit.Problem{
			Code: "mbox.truncated", Severity: qmailkit.Error, Path: "inbox", Line: 90, Err: errors.New("message ends in its header"),
		})},
	}
	r.Sum()
	WriteText(os.Stdout, r)
	// Output:
	// mbox2maildir run: Done, but not all of it; 1 thing was not carried.
	//   from          mbox inbox
	//   to            Maildir Maildir
	//   mailboxes     1
	//   messages      3, 4.0 KiB
	//                 3 delivered now (4.0 KiB), 0 already there
	//   time          0.0 s
	//
	// Not carried:
	//   mbox.truncated (1)
	//     inbox:90: message ends in its header
}

// A line is the file on one line: the same keys, the version, no null lists.
func TestWriteLine(t *testing.T) {
	r := sample()
	var file, line, flat bytes.Buffer
	if err := WriteJSON(&file, r); err != nil {
		t.Fatal(err)
	}
	if err := WriteLine(&line, r); err != nil {
		t.Fatal(err)
	}
	if err := json.Compact(&flat, file.Bytes()); err != nil {
		t.Fatal(err)
	}
	if line.String() != flat.String()+"\n" {
		t.Errorf("%s\nis not\n%s", &line, &flat)
	}
}
