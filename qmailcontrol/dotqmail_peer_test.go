//go:build unix

package qmailcontrol_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// TestDotQmailPeer compares random homes with a real qmail-local, which the
// environment variable QMAILKIT_QMAIL_LOCAL names. It needs root, to run that
// as somebody else.
func TestDotQmailPeer(t *testing.T) {
	real := os.Getenv("QMAILKIT_QMAIL_LOCAL")
	if real == "" || os.Geteuid() != 0 {
		t.Skip("QMAILKIT_QMAIL_LOCAL names no qmail-local, or this is not root")
	}
	r := rand.New(rand.NewPCG(1, 2))
	asked, codes := 0, map[int]int{}
	for n := range 100 {
		dir := t.TempDir()
		// The directories above are not part of the host.
		for up := dir; up != filepath.Dir(os.TempDir()) && up != "/"; up = filepath.Dir(up) {
			if err := os.Chmod(up, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		tree := randomHome(t, r, dir)
		for range 12 {
			l := qmailcontrol.LocalDelivery{
				User: "joe", Home: filepath.Join(dir, "home/joe"), Local: "joe", Dash: pick(r, "", "-", "-", "-", "-/", "x"), Ext: randomExt(r),
				Host: "example.com", Sender: pick(r, "", "#@[]", "a@b"), DefaultDelivery: pick(r, "./Mailbox", "", "|p\n&x", "# c\n"), Who: user,
			}
			cmd := exec.Command(real, "-n", "--", l.User, l.Home, l.Local, l.Dash, l.Ext, l.Host, l.Sender, l.DefaultDelivery)
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(user.UID), Gid: uint32(user.GID)}}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			l.Home = "/home/joe"
			p, err := l.Plan(context.Background(), tree)
			if err != nil {
				t.Fatalf("home %d, %+v: %v", n, l, err)
			}
			out, words, code := p.Trial()
			want := strings.ReplaceAll(stderr.String(), filepath.Join(dir, "home/joe"), "/home/joe")
			if out != stdout.String() || words != want || code != cmd.ProcessState.ExitCode() {
				t.Errorf("home %d, %+v: %d %q %q, want %d %q %q", n, l, code, out, words, cmd.ProcessState.ExitCode(), stdout.String(), want)
			}
			asked++
			codes[code]++
		}
	}
	t.Logf("%d runs, by exit code %v", asked, codes)
	if codes[0] == 0 || codes[100] == 0 || codes[111] == 0 {
		t.Errorf("some answers never came: %v", codes)
	}
}

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

func randomExt(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(5) {
		b.WriteString(pick(r, "a", "B", "-", "-", ".", "/", "default", "\xe9", "owner"))
	}
	return b.String()
}

// randomHome makes a home with a few .qmail files of all sorts.
func randomHome(t *testing.T, r *rand.Rand, dir string) qmailkit.Tree {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTDIR) && !errors.Is(err, syscall.EISDIR) && !errors.Is(err, syscall.ELOOP) && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	home := filepath.Join(dir, "home/joe")
	check(os.MkdirAll(home, 0o755))
	check(os.WriteFile(filepath.Join(dir, "home/secret"), []byte("./secret\n"), 0o600))
	check(os.WriteFile(filepath.Join(dir, "home/open"), []byte("./open\n"), 0o644))
	for range 2 + r.IntN(6) {
		name := filepath.Join(home, ".qmail"+pick(r, "", "-", "-", "-", "-/", "x")+strings.ReplaceAll(strings.ToLower(randomExt(r)), ".", ":")+pick(r, "", "default", "-default", "-owner"))
		check(os.MkdirAll(filepath.Dir(name), 0o755))
		if _, err := os.Lstat(name); err == nil {
			continue // a FIFO, say, which nobody would read
		}
		switch r.IntN(10) {
		case 0:
			check(os.Mkdir(name, 0o755))
		case 1:
			check(syscall.Mkfifo(name, 0o644))
		case 2:
			check(os.Symlink(pick(r, "../secret", "../open", "nowhere", ".qmail", ".qmail-a", "..", "../open/x", filepath.Base(name)), name))
			continue
		default:
			var text strings.Builder
			for range r.IntN(4) {
				fmt.Fprintf(&text, "%s%s%s", pick(r, "", "#", "./", "/", "|", "&", "+", "+list", " ", "\x00"), pick(r, "", "a", "b c", "d/", "\x00x", "list"), pick(r, "\n", " \t\n", "\r\n", "\n\n", ""))
			}
			check(os.WriteFile(name, []byte(text.String()), 0o644))
		}
		check(os.Lchown(name, pickInt(r, user.UID, user.UID, 0, 77), pickInt(r, user.GID, 0)))
		check(os.Chmod(name, fs.FileMode(pickInt(r, 0o644, 0o644, 0o600, 0o755, 0o040, 0o004, 0o646, 0o664, 0))))
	}
	check(os.Chown(home, pickInt(r, user.UID, 0), user.GID))
	check(os.Chmod(home, []fs.FileMode{0o755, 0o755, 0o755, 0o755, 0o757, 0o700, 0o770, 0o711, 0o755 | fs.ModeSticky}[r.IntN(9)]))
	return treeOf(t, dir)
}

func pickInt(r *rand.Rand, from ...int) int { return from[r.IntN(len(from))] }
