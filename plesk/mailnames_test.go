package plesk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// hostTree makes a host in a directory. A name that ends in "/" is a directory,
// a text that begins with "->" a link.
func hostTree(t testing.TB, files map[string]string) (string, qmailkit.Tree) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(at, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if to, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(to, at)
		} else {
			err = os.WriteFile(at, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return dir, qmailkit.NewTree(root)
}

func TestPsaConf(t *testing.T) {
	const text = "# Plesk\n\n  PRODUCT_ROOT_D\t/opt/psa/\r\nPLESK_MAILNAMES_D /old\nPLESK_MAILNAMES_D  /data/mail names\nEMPTY\nX='a b'\nlast \xff"
	c, err := ParsePsaConf(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, value := range c.All() {
		got = append(got, name+"="+value)
	}
	if d := cmp.Diff([]string{"PRODUCT_ROOT_D=/opt/psa/", "PLESK_MAILNAMES_D=/old", "PLESK_MAILNAMES_D=/data/mail names", "EMPTY=", "X=a b", "last=\xff"}, got); d != "" {
		t.Error(d)
	}
	if string(c.Bytes()) != text {
		t.Errorf("%q", c.Bytes())
	}
	for want, f := range map[string]func() (string, error){"/data/mail names": c.Mailnames, "/opt/psa": c.ProductRoot, "/var/qmail": c.QmailRoot} {
		if got, err := f(); err != nil || got != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	probs := slices.Collect(c.Check())
	if d := cmp.Diff([]string{"plesk.conf-empty", "plesk.conf-twice"}, codes(probs)); d != "" || probs[0].Line != 5 {
		t.Error(d, probs)
	}
	for _, bad := range []string{"relative/path", "/a\x00b", ""} {
		c, err := ParsePsaConf(strings.NewReader("PLESK_MAILNAMES_D " + bad))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Mailnames(); !errors.Is(err, ErrConf) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := ParsePsaConf(strings.NewReader(strings.Repeat("x", maxConf+1))); !errors.Is(err, ErrConf) {
		t.Error(err)
	}
}

func TestLocateMailnames(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no psa.conf": {map[string]string{"var/qmail/mailnames/": ""}, "var/qmail/mailnames"},
		"psa.conf":    {map[string]string{PsaConfName: "PLESK_MAILNAMES_D /data/m\n", "data/m/": ""}, "data/m"},
		"links":       {map[string]string{"etc/psa": "->/opt/etc", "opt/etc/psa.conf": "PLESK_MAILNAMES_D /var/m\n", "var/m": "->/data/m", "data/m/": ""}, "data/m"},
	} {
		_, tree := hostTree(t, c.files)
		if got, err := LocateMailnames(tree); err != nil || got != c.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	_, tree := hostTree(t, map[string]string{PsaConfName: "PLESK_MAILNAMES_D mail\n"})
	if _, err := LocateMailnames(tree); !errors.Is(err, ErrConf) {
		t.Error(err)
	}
	_, tree = hostTree(t, map[string]string{PsaConfName + "/": ""})
	if _, err := LocateMailnames(tree); !errors.Is(err, qmailkit.ErrNotPlain) {
		t.Error(err)
	}
}

func TestParseMailboxDot(t *testing.T) {
	for text, want := range map[string]MailboxDot{
		"| true\n| /usr/bin/deliverquota ./Maildir\n":               {True: true, Maildir: true, Quota: true},
		"| true\n&a@x.org\n&b@x.org\n":                              {True: true, Forwards: []string{"a@x.org", "b@x.org"}},
		"| true\n| /usr/bin/deliverquota ./Maildir\n&a@x.org\n":     {True: true, Maildir: true, Quota: true, Forwards: []string{"a@x.org"}},
		"|true\n|deliverquota -c -w 90 Maildir/\na@x.org\n# note\n": {True: true, Maildir: true, Quota: true, Forwards: []string{"a@x.org"}},
		"./Maildir/\n": {Maildir: true},
		"":             {},
		"| true\n":     {True: true},
		"| deliverquota ./Maildir; id\n| deliverquota\n./other/\n./mbox": {Other: make([]qmailcontrol.DotLine, 4)},
		"| preline procmail\n| true\n":                                   {Other: make([]qmailcontrol.DotLine, 2)},
		"| deliverquota /home/x/Maildir\n./Maildir\n":                    {Other: make([]qmailcontrol.DotLine, 2)},
	} {
		got, err := ParseMailboxDot(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if string(got.File.Bytes()) != text {
			t.Errorf("%q becomes %q", text, got.File.Bytes())
		}
		if got.True != want.True || got.Maildir != want.Maildir || got.Quota != want.Quota || !slices.Equal(got.Forwards, want.Forwards) || len(got.Other) != len(want.Other) {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestNewMailboxDot(t *testing.T) {
	for want, m := range map[string]*Mailname{
		"| true\n| /usr/bin/deliverquota ./Maildir\n":           {Mailbox: true},
		"| true\n&a@x.org\n":                                    {Forwards: []string{"a@x.org"}},
		"| true\n| /usr/bin/deliverquota ./Maildir\n&a@x.org\n": {Mailbox: true, Forwards: []string{"a@x.org"}},
		"| true\n": {Mailbox: true, NoDelivery: true},
	} {
		q, err := NewMailboxDot(m)
		if err != nil || string(q.Bytes()) != want {
			t.Errorf("%v, %q, want %q", err, q.Bytes(), want)
		}
		d, err := ParseMailboxDot(strings.NewReader(want))
		if err != nil || len(d.differs(m)) > 0 {
			t.Errorf("%q: %v, %q", want, err, d.differs(m))
		}
	}
	if _, err := NewMailboxDot(&Mailname{Forwards: []string{"a@x.org\n| id"}}); err == nil {
		t.Error("a newline in an address makes a second line")
	}
}

func TestDefaultDot(t *testing.T) {
	for text, want := range map[string]DefaultDot{
		"| /var/qmail/bin/bouncesaying 'This address no longer accepts mail.'\n": {Bounce: true, Text: "This address no longer accepts mail."},
		"|bouncesaying \"no such\"' user, it'\\''s gone'\n":                      {Bounce: true, Text: "no such user, it's gone"},
		"| true\n&all@x.org\n":                    {Catch: []string{"all@x.org"}},
		"| bouncesaying text test -e x\n":         {Other: make([]qmailcontrol.DotLine, 1)},
		"| bouncesaying 'open\n":                  {Other: make([]qmailcontrol.DotLine, 1)},
		"| bouncesaying \"$TEXT\"\n":              {Other: make([]qmailcontrol.DotLine, 1)},
		"| bouncesaying text; id\n":               {Other: make([]qmailcontrol.DotLine, 1)},
		"|bouncesaying a\n|bouncesaying b\n# x\n": {Bounce: true, Text: "a", Other: make([]qmailcontrol.DotLine, 1)},
		"| /usr/bin/deliverquota ./Maildir\n":     {Other: make([]qmailcontrol.DotLine, 1)},
	} {
		got, err := ParseDefaultDot(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if string(got.File.Bytes()) != text || got.Bounce != want.Bounce || got.Text != want.Text || !slices.Equal(got.Catch, want.Catch) || len(got.Other) != len(want.Other) {
			t.Errorf("%q: %+v", text, got)
		}
	}
	for _, u := range []Unknown{{}, {Action: "bounce", Text: "it's \"gone\" $HOME `id`\nreally \xff"}, {Action: "reject"}, {Action: "catch", Address: "all@x.org"}} {
		q, err := NewDefaultDot(u)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseDefaultDot(strings.NewReader(string(q.Bytes())))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(u.Text, "\n", " ")
		if text == "" {
			text = bounceDefault
		}
		if u.Action == "catch" && !slices.Equal(got.Catch, []string{u.Address}) || u.Action != "catch" && (!got.Bounce || got.Text != text) || q.Len() != 1 {
			t.Errorf("%+v: %q, %+v", u, q.Bytes(), got)
		}
	}
	for _, u := range []Unknown{{Action: "catch"}, {Action: "discard"}} {
		if _, err := NewDefaultDot(u); !errors.Is(err, ErrUnknownAction) {
			t.Errorf("%+v: %v", u, err)
		}
	}
}

// sound is a tree in which CheckTree finds nothing.
func sound() (map[string]string, *Server) {
	files := map[string]string{
		"m/example.com/.qmail-default":              "| bouncesaying 'gone'\n",
		"m/example.com/anna/.qmail":                 "| true\n| /usr/bin/deliverquota ./Maildir\n",
		"m/example.com/anna/Maildir/cur/1.host:2,S": "hello\n",
		"m/example.com/anna/Maildir/new/":           "",
		"m/example.com/anna/Maildir/tmp/":           "",
		"m/example.com/anna/@attachments/a.pdf":     "x",
		"m/example.com/anna/.spamassassin/prefs":    "x",
		"m/example.com/anna/@mbox.usage":            "17",
		"m/example.com/team/.qmail":                 "| true\n&a@x.org\n",
	}
	s := &Server{Domains: []*Domain{{ID: 1, Name: "Example.com", Unknown: Unknown{Action: "bounce"}, Mailnames: []*Mailname{
		{Name: "Anna", Mailbox: true}, {Name: "team", Group: true, Forwards: []string{"a@x.org"}}}}}}
	return files, s
}

func checkTree(t *testing.T, tree qmailkit.Tree, s *Server) (probs []qmailkit.Problem) {
	t.Helper()
	for p, err := range CheckTree(t.Context(), tree, "m", s, &qmailcontrol.Owner{UID: os.Geteuid(), GID: os.Getegid()}) {
		if err != nil {
			t.Fatal(err)
		}
		probs = append(probs, p)
	}
	return probs
}

func TestReadMailnames(t *testing.T) {
	files, s := sound()
	_, tree := hostTree(t, files)
	if probs := checkTree(t, tree, s); len(probs) > 0 {
		t.Errorf("%v", probs)
	}
	var all []*DomainDir
	for d, err := range ReadMailnames(t.Context(), tree, "m") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	if len(all) != 1 || all[0].Default == nil || all[0].Default.Text != "gone" || len(all[0].Mailboxes) != 2 {
		t.Fatalf("%+v", all)
	}
	anna := all[0].Mailbox("ANNA")
	got := map[string]Fate{}
	for _, it := range anna.Items {
		got[it.Info.Name] = it.Fate
	}
	want := map[string]Fate{MaildirName: FateMessages, AttachmentsName: FateCarry, SpamName: FateOptional, UsageName: FateDrop, DotQmailName: FateMake}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if at, ok := anna.Maildir(); !ok || at != "m/example.com/anna/Maildir" || !anna.Dot.Quota {
		t.Errorf("%q, %+v", at, anna.Dot)
	}
}

// TestCheckTree breaks the sound tree in one way at a time.
func TestCheckTree(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(files map[string]string, s *Server)
		after  func(dir string) error
		want   []string
	}{
		{"no .qmail-default", func(f map[string]string, _ *Server) { delete(f, "m/example.com/.qmail-default") }, nil, []string{"plesk.no-default"}},
		{"catch-all", func(_ map[string]string, s *Server) {
			s.Domains[0].Unknown = Unknown{Action: "catch", Address: "a@x.org"}
		}, nil, []string{"plesk.default-differs"}},
		{"no bounce", func(f map[string]string, _ *Server) { f["m/example.com/.qmail-default"] = "&a@x.org\n" }, nil, []string{"plesk.default-differs"}},
		{"a catch-all of its own", func(f map[string]string, s *Server) {
			f["m/example.com/.qmail-default"], s.Domains[0].Unknown = "&a@x.org\n", Unknown{}
		}, nil, []string{"plesk.default-differs"}},
		{"orphans in the tree", func(f map[string]string, _ *Server) {
			f["m/example.com/ghost/"], f["m/old.org/x/"], f["m/file"] = "", "", ""
		}, nil,
			[]string{"plesk.orphan-domain", "plesk.orphan-mailbox", "plesk.tree-entry"}},
		{"orphans in psa", func(_ map[string]string, s *Server) {
			s.Domains[0].Mailnames = append(s.Domains[0].Mailnames, &Mailname{Name: "away"})
			s.Domains = append(s.Domains, &Domain{Name: "gone.org", Mailnames: []*Mailname{{Name: "x"}}}, &Domain{Name: "empty.org"})
		}, nil, []string{"plesk.no-domain-dir", "plesk.no-mailbox-dir"}},
		{"no Maildir", func(_ map[string]string, s *Server) { s.Domains[0].Mailnames[1].Mailbox = true }, nil, []string{"plesk.dotqmail-differs", "plesk.no-maildir"}},
		{"no .qmail", func(f map[string]string, _ *Server) { delete(f, "m/example.com/anna/.qmail") }, nil, []string{"plesk.no-dotqmail"}},
		{"another .qmail", func(f map[string]string, _ *Server) { f["m/example.com/team/.qmail"] = "| true\n&b@x.org\n| id\n" }, nil, []string{"plesk.dotqmail-differs"}},
		{"own files", func(f map[string]string, _ *Server) {
			f["m/example.com/anna/.mailfilter"], f["m/example.com/anna/notes"], f["m/example.com/anna/.qmail-x"], f["m/example.com/motd"] = "", "", "", ""
		}, nil, []string{"plesk.domain-entry", "plesk.entry"}},
		{"a link for a Maildir", func(f map[string]string, _ *Server) { f["m/example.com/anna/link"] = "->/etc/passwd" }, nil, []string{"plesk.entry"}},
		{"x-bit", nil, func(dir string) error { return os.Chmod(dir+"/m/example.com/anna/.qmail", 0o700) }, []string{"dotqmail.not-forward", "dotqmail.x-bit"}},
		{"sticky", nil, func(dir string) error { return os.Chmod(dir+"/m/example.com/anna", 0o700|fs.ModeSticky) }, []string{"dotqmail.home-sticky"}},
		{"a directory for .qmail", func(f map[string]string, _ *Server) {
			delete(f, "m/example.com/team/.qmail")
			f["m/example.com/team/.qmail/"] = ""
		}, nil, []string{"dotqmail.type", "plesk.entry", "plesk.no-dotqmail"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, s := sound()
			if c.change != nil {
				c.change(files, s)
			}
			dir, tree := hostTree(t, files)
			if c.after != nil {
				if err := c.after(dir); err != nil {
					t.Fatal(err)
				}
			}
			probs := checkTree(t, tree, s)
			if d := cmp.Diff(c.want, codes(probs)); d != "" {
				t.Errorf("%s%v", d, probs)
			}
			// Stopping at any Problem stops.
			for n := range probs {
				seen := 0
				for range CheckTree(t.Context(), tree, "m", s, nil) {
					if seen++; seen > n {
						break
					}
				}
			}
		})
	}
}

func TestCheckTreeErrors(t *testing.T) {
	files, s := sound()
	_, tree := hostTree(t, files)
	for _, err := range CheckTree(t.Context(), tree, "nowhere", s, nil) {
		if !errors.Is(err, qmailkit.ErrIncomplete) || !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := false
	for _, err := range ReadMailnames(ctx, tree, "m") {
		ended = errors.Is(err, context.Canceled) && errors.Is(err, qmailkit.ErrIncomplete)
	}
	if !ended {
		t.Error("not stopped")
	}
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	dir, tree := hostTree(t, files)
	if err := os.Chmod(filepath.Join(dir, "m/example.com"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "m/example.com"), 0o700) })
	n := 0
	for _, err := range CheckTree(t.Context(), tree, "m", s, nil) {
		if n++; !errors.Is(err, fs.ErrPermission) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors", n)
	}
}

func TestFindArrival(t *testing.T) {
	uid, gid := max(os.Geteuid(), 1), max(os.Getegid(), 1)
	passwd := fmt.Sprintf("root:x:0:0:::\npopuser:x:%d:%d:POP3:/var/qmail/popuser:/bin/false\n", uid, gid)
	files, _ := sound()
	files["etc/passwd"] = passwd
	files["m/example.com/anna/Maildir/new/2.host"] = "new\n"
	dir, tree := hostTree(t, files)
	if err := os.Chown(filepath.Join(dir, "m/example.com/anna/Maildir/new/2.host"), uid, gid); err != nil {
		t.Skip(err)
	}
	a, probs, err := FindArrival(t.Context(), tree, "m")
	if d := cmp.Diff(Arrival{"popuser", uid, gid, 0o600, 0o700, 0o644}, a); err != nil || len(probs) > 0 || d != "" {
		t.Errorf("%v, %v %s", err, probs, d)
	}
	if err := os.Chmod(filepath.Join(dir, "m/example.com/anna/Maildir/new/2.host"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, probs, err = FindArrival(t.Context(), tree, "m"); err != nil || !slices.Equal(codes(probs), []string{"plesk.arrival"}) {
		t.Errorf("%v, %v", err, probs)
	}
	if _, probs, err = FindArrival(t.Context(), tree, "nowhere"); err != nil || len(probs) > 0 {
		t.Errorf("no mailbox yet: %v, %v", err, probs)
	}
	for text, want := range map[string]error{"root:x:0:0:::\n": ErrNoPopUser, "popuser:x:0:31::/:\n": ErrOwner, "popuser:x:110:0::/:\n": ErrOwner} {
		_, tree := hostTree(t, map[string]string{"etc/passwd": text})
		if _, _, err := FindArrival(t.Context(), tree, "m"); !errors.Is(err, want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	_, tree = hostTree(t, map[string]string{"etc/": ""})
	if _, _, err := FindPopUser(tree); !errors.Is(err, ErrNoPopUser) {
		t.Error(err)
	}
}
