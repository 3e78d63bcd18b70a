package sendmail

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// A faultTree fails one of its calls, and counts them.
type faultTree struct {
	qmailkit.Tree
	fail  int // the call that fails, from 1
	calls int
	what  string // the call that has failed
}

func (f *faultTree) step(op, name string) error {
	f.calls++
	if f.calls != f.fail {
		return nil
	}
	f.what = op + " " + name
	return &fs.PathError{Op: op, Path: name, Err: syscall.EIO}
}

func (f *faultTree) Lstat(name string) (qmailkit.FileInfo, error) {
	if err := f.step("lstat", name); err != nil {
		return qmailkit.FileInfo{}, err
	}
	return f.Tree.Lstat(name)
}

func (f *faultTree) Readlink(name string) (string, error) {
	if err := f.step("readlink", name); err != nil {
		return "", err
	}
	return f.Tree.Readlink(name)
}

func (f *faultTree) Open(name string) (qmailkit.File, error) {
	if err := f.step("open", name); err != nil {
		return nil, err
	}
	file, err := f.Tree.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{file, f, name}, nil
}

// ReadDir can fail before the first name and behind each.
func (f *faultTree) ReadDir(ctx context.Context, dir string) iter.Seq2[qmailkit.DirEntry, error] {
	return func(yield func(qmailkit.DirEntry, error) bool) {
		if err := f.step("readdir", dir); err != nil {
			yield(qmailkit.DirEntry{}, qmailkit.Incomplete(err))
			return
		}
		for e, err := range f.Tree.ReadDir(ctx, dir) {
			if !yield(e, err) {
				return
			}
			if err := f.step("readdir", dir); err != nil {
				yield(qmailkit.DirEntry{}, qmailkit.Incomplete(err))
				return
			}
		}
	}
}

type faultFile struct {
	qmailkit.File
	tree *faultTree
	name string
}

func (f *faultFile) Read(p []byte) (int, error) {
	if err := f.tree.step("read", f.name); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

// readAll reads all of a host: what there is, and what is reported.
func readAll(t qmailkit.Tree) (found, reported []string) {
	ctx := context.Background()
	note := func(err error) { reported = append(reported, err.Error()) }
	h, err := Open(t, nil)
	if err != nil {
		note(err)
		return nil, reported
	}
	found = append(found, fmt.Sprint(h.Layout()))
	for a, err := range h.Accounts(ctx) {
		if err != nil {
			note(err)
			continue
		}
		found = append(found, fmt.Sprintf("account %s %v", a.Name, a.State))
		for _, p := range a.Problems {
			reported = append(reported, p.String())
		}
		for m, err := range h.Mailboxes(ctx, a) {
			if err != nil {
				note(err)
				continue
			}
			found = append(found, "mailbox "+m.Path)
		}
		names, problems, err := h.Subscriptions(ctx, a)
		if err != nil {
			note(err)
		}
		for _, n := range names {
			found = append(found, "subscription "+strings.Join(n, "/"))
		}
		for _, p := range problems {
			reported = append(reported, p.String())
		}
	}
	for d, err := range h.Domains(ctx) {
		if err != nil {
			note(err)
			continue
		}
		found = append(found, fmt.Sprint("domain ", d.Name, d.Host))
	}
	for p, err := range h.NotCarried(ctx) {
		if err != nil {
			note(err)
			continue
		}
		found = append(found, p.String())
	}
	return found, reported
}

// TestFaults fails each call to the file system once, or, unless QMAILKIT_LONG
// is set, one call in four. Whatever is then not
// found must have left an error: nothing is lost in silence.
func TestFaults(t *testing.T) {
	f := newFixture(t, map[string]string{
		"etc/passwd":                "root:*:0:0::/root:/bin/sh\nalice:x:" + itoa(os.Getuid()) + ":1::/home/alice:/bin/sh\n",
		"etc/shadow":                "root:*:1::::::\nalice:" + md5Hash + ":1::::::\n",
		"etc/hostname":              "mail.a.example\n",
		"etc/mail/local-host-names": "mail.a.example\na.example\n",
		"etc/mail/aliases":          "a: b\n", "etc/mail/virtusertable.db": "x", "etc/mail/sendmail.mc": "define(`a')\n",
		"etc/mail/sendmail.cf":       "Fw/etc/mail/more\nO AliasFile=/etc/lists\nKown hash /etc/own\n",
		"etc/mail/more":              "b.example\n",
		"etc/lists":                  "l: x\n",
		"etc/own":                    "k v\n",
		"root/.forward":              "alice\n",
		"var/spool/mail":             "->../mail",
		"var/mail/alice":             oneMessage,
		"var/mail/b/o/bob":           oneMessage,
		"var/mail/gone":              oneMessage,
		"var/spool/mqueue/q1/qfAAA":  "x",
		"var/lib/mailman/lists/one/": "",
		"home/alice":                 "->/data/alice",
		"data/alice/mbox":            oneMessage,
		"data/alice/sent":            oneMessage,
		"data/alice/mail/Work/2004":  oneMessage,
		"data/alice/mail/mh/1":       "no mbox",
		"data/alice/.mailboxlist":    "mail/Work/2004\n",
		"data/alice/.procmailrc":     ":0\n",
		"data/alice/.vacation.msg":   "x",
	})
	clean := &faultTree{Tree: f.tree()}
	want, before := readAll(clean)
	if len(want) < 15 || clean.calls < 100 {
		t.Fatalf("%d calls for %q", clean.calls, want)
	}
	stride := 4 // each call reads the whole host again
	if os.Getenv("QMAILKIT_LONG") != "" {
		stride = 1
	}
	for n := 1; n <= clean.calls; n += stride {
		tree := &faultTree{Tree: clean.Tree, fail: n}
		found, reported := readAll(tree)
		if strings.Contains(strings.Join(append(found, reported...), "\n"), syscall.EIO.Error()) {
			continue
		}
		for _, w := range append(slices.Clone(want), before...) {
			if !slices.Contains(found, w) && !slices.Contains(reported, w) {
				t.Errorf("call %d, %s: lost in silence: %s", n, tree.what, w)
			}
		}
	}
	t.Logf("of %d calls one in %d failed, one at a time", clean.calls, stride)
}
