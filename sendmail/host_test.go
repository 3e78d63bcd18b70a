package sendmail

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
)

// testNow is the time at which the hosts of these tests are read.
var testNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testDay is its day since 1970, as shadow counts.
const testDay = 20513

// A fixture is a host in a temporary directory.
type fixture struct {
	t    testing.TB
	dir  string
	opts Options
}

// newFixture makes a host of these files. A name that ends in "/" is a
// directory, and contents that begin with "->" are a symbolic link.
func newFixture(t *testing.T, files map[string]string) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir()}
	f.opts.Now = func() time.Time { return testNow }
	for name, text := range files {
		f.write(name, text)
	}
	return f
}

func (f *fixture) path(name string) string { return filepath.Join(f.dir, name) }

func (f *fixture) write(name, text string) {
	f.t.Helper()
	path := f.path(name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	switch {
	case err != nil:
	case strings.HasSuffix(name, "/"):
		err = os.MkdirAll(path, 0o755)
	case strings.HasPrefix(text, "->"):
		err = os.Symlink(text[2:], path)
	default:
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) tree() qmailkit.Tree {
	f.t.Helper()
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { root.Close() })
	return qmailkit.NewTree(root)
}

func (f *fixture) open() *Host {
	f.t.Helper()
	h, err := Open(f.tree(), &f.opts)
	if err != nil {
		f.t.Fatal(err)
	}
	return h
}

// show is a Problem as tests compare it: place, code and severity.
func show(p qmailkit.Problem) string {
	s := p.Path
	if p.Line > 0 {
		s += ":" + itoa(p.Line)
	}
	return strings.TrimPrefix(s+" "+strings.TrimPrefix(p.Code, codePrefix)+" "+p.Severity.String(), " ")
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

// accounts reads all accounts, and the errors as show gives them.
func (f *fixture) accounts() (list []*Account, errs []string) {
	f.t.Helper()
	for a, err := range f.open().Accounts(context.Background()) {
		if p, ok := AsProblem(err); ok {
			errs = append(errs, show(p))
			continue
		}
		if err != nil {
			f.t.Fatal(err)
		}
		list = append(list, a)
	}
	return list, errs
}

func diff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("want - got +:\n%s", d)
	}
}

const plainPasswd = "alice:x:1000:1000:Alice &,Room 1:/home/alice:/bin/sh\n"

func TestOpenLayout(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  Layout
	}{
		{"linux", map[string]string{"etc/passwd": "", "etc/shadow": "", "var/mail/": "", "var/spool/mail": "->../mail", "etc/mail/sendmail.cf": ""},
			Layout{Passwd: "etc/passwd", Shadow: "etc/shadow", Spools: []string{"var/mail"}, Config: "etc/mail/sendmail.cf"}},
		{"red hat", map[string]string{"etc/passwd": "", "etc/shadow": "", "var/spool/mail/": "", "var/mail": "->spool/mail", "etc/sendmail.cf": ""},
			Layout{Passwd: "etc/passwd", Shadow: "etc/shadow", Spools: []string{"var/spool/mail"}, Config: "etc/sendmail.cf"}},
		{"bsd", map[string]string{"etc/passwd": "", "etc/master.passwd": "", "var/mail/": ""},
			Layout{Passwd: "etc/master.passwd", Master: true, Spools: []string{"var/mail"}}},
		{"both", map[string]string{"etc/passwd": "", "etc/shadow": "", "etc/master.passwd": ""},
			Layout{Passwd: "etc/passwd", Shadow: "etc/shadow"}},
		{"old", map[string]string{"etc/passwd": "", "usr/spool/mail/": "", "var/mail/": "", "var/spool/mail/": ""},
			Layout{Passwd: "etc/passwd", Spools: []string{"var/mail", "var/spool/mail", "usr/spool/mail"}}},
		{"absolute links stay inside", map[string]string{"data/etc/passwd": "", "etc": "->/data/etc", "data/mail/": "", "var/mail": "->/data/mail"},
			Layout{Passwd: "data/etc/passwd", Spools: []string{"data/mail"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, tt.files)
			diff(t, tt.want, f.open().Layout())
		})
	}
}

func TestOpenFails(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/hosts": ""})
	if _, err := Open(f.tree(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without passwd: %v", err)
	}
	f.write("etc/passwd", plainPasswd)
	for _, opts := range []Options{{Passwd: "etc/other"}, {Shadow: "etc/other"}, {Spools: []string{"etc/passwd"}}, {Spools: []string{"none"}}} {
		if _, err := Open(f.tree(), &opts); err == nil {
			t.Errorf("%+v: no error", opts)
		}
	}
	f.write("etc/shadow", "->shadow")
	if _, err := Open(f.tree(), nil); !errors.Is(err, qmailkit.ErrLink) {
		t.Errorf("shadow is a link to itself: %v", err)
	}
}

func TestShadowUnreadable(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/passwd": plainPasswd, "etc/shadow/": ""})
	var last error
	for a, err := range f.open().Accounts(context.Background()) {
		if a != nil {
			t.Errorf("account %s without a look at its hash", a.Name)
		}
		last = err
	}
	if !errors.Is(last, qmailkit.ErrIncomplete) || !errors.Is(last, qmailkit.ErrNotPlain) {
		t.Errorf("error %v", last)
	}
}
