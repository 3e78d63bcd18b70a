//go:build unix

package qmailcontrol

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit"
)

func TestConfigRefuses(t *testing.T) {
	dir, root := control(t, site)
	for _, name := range []string{"big", "locals"} {
		if err := os.Truncate(filepath.Join(dir, "locals"), 0); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), "")
	}
	if err := os.Truncate(filepath.Join(dir, "big"), 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "badmailfrom")); err != nil {
		t.Fatal(err)
	}
	c := config(t, root)
	for name, want := range map[string]error{"big": ErrTooBig, "fifo": qmailkit.ErrNotPlain, "badmailfrom": qmailkit.ErrLink} {
		if e, found := c.Entry(name); !found || !errors.Is(e.Err, want) || e.Text != "" {
			t.Errorf("%s: %v", name, e.Err)
		}
		if err := c.SetText(name, ""); !errors.Is(err, want) {
			t.Errorf("%s set: %v", name, err)
		}
		if _, err := c.Remove(name); !errors.Is(err, want) {
			t.Errorf("%s removed: %v", name, err)
		}
	}
	if _, err := c.SMTPD(nil); !errors.Is(err, ErrControls) || !errors.Is(err, qmailkit.ErrLink) {
		t.Errorf("a link out of the tree passes: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "a\x00", "a\n"} {
		if err := c.SetText(name, ""); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := (Plan{{Name: name, New: State{Exists: true}}}).Apply(t.Context(), root, nil); err == nil {
			t.Errorf("%q: applied", name)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := LoadConfig(ctx, root); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A whole host's file system: control is a link, as on many systems.
func TestReadConfigBehindLinks(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"var/qmail", "etc/qmail"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"var/qmail/control": "/etc/qmail", "etc/qmail/helohost": "../hostname", "etc/qmail/idhost": "/gone/away"} {
		if err := os.Symlink(to, filepath.Join(top, name)); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(top, "etc/hostname"), "mx.example.com\n")
	write(t, filepath.Join(top, "etc/qmail/me"), "me.example.com\n")
	root, err := os.OpenRoot(top)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c, err := ReadConfig(t.Context(), qmailkit.NewTree(root), "var/qmail/control")
	if err != nil {
		t.Fatal(err)
	}
	s := c.Settings()
	if s.HeloHost.Value != "mx.example.com" || s.Me.Value != "me.example.com" {
		t.Errorf("%+v %+v", s.HeloHost, s.Me)
	}
	if e, _ := c.Entry("helohost"); e.Link != "etc/hostname" {
		t.Errorf("%+v", e)
	}
	// qmail on that host may find it: it is not missing, me does not stand in.
	if !errors.Is(s.IDHost.Err, qmailkit.ErrLink) || s.IDHost.Value != "" {
		t.Errorf("%+v", s.IDHost)
	}
	if _, err := ReadConfig(t.Context(), qmailkit.NewTree(root), "no/control"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestConfigBounds(t *testing.T) {
	c := NewConfig()
	text := strings.Repeat("x", MaxSize)
	for i := range MaxConfig / MaxSize {
		if err := c.SetText(string(rune('a'+i)), text); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.SetText("a", text); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if err := c.SetText("z", "x"); !errors.Is(err, ErrTooBig) {
		t.Errorf("one byte more: %v", err)
	}
	if ok, err := c.Remove("a"); !ok || err != nil {
		t.Error(ok, err)
	}
	if err := c.SetText("z", "x"); err != nil {
		t.Errorf("after Remove: %v", err)
	}
	if ok, err := c.Remove("a"); ok || err != nil {
		t.Error(ok, err)
	}
	if err := c.NewMRH(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no morercpthosts: %v", err)
	}
}
