//go:build unix

package qmailcontrol_test

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

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// Each hazard is told once, at its place.
func TestDotQmailHazards(t *testing.T) {
	dir := system(t, map[string]string{
		"h/.qmail": "./Maildir/\n", "h/.qmail-blank": "\n./x\n", "h/.qmail-cr": "./x\r\n&a@b\r\n#c\r\n", "h/.qmail-nul": "&a@b\x00c\n",
		"h/.qmail-UP": "&a@b\n", "h/.qmail-a.b": "&a@b\n", "h/.qmail-none": "# nothing\n", "h/.qmail-empty": "", "h/.qmail-list": "+list\n./x\n+lists\n",
		"h/.qmail-odd": "&\nJoe <a@b>\njoe\n", "h/.qmail-gone": "-> nowhere", "h/.qmail-link": "-> .qmail-none", "h/.qmail-d/x": "", "h/qmail": "",
		"h/.qmail-w": "&a@b\n", "h/.qmail-g": "&a@b\n", "h/.qmail-x": "|p\n", "h/.qmail-r": "&a@b\n", "h/M/tmp/x": "", "h/M/new/x": "", "h/.qmail-m": "./M/\n/h/M/\n/h/.qmail/\n",
	})
	for name, mode := range map[string]fs.FileMode{".": 0o777 | fs.ModeSticky, ".qmail-w": 0o646, ".qmail-g": 0o664, ".qmail-x": 0o755, ".qmail-r": 0o600} {
		if err := os.Chmod(filepath.Join(dir, "h", name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		for _, name := range []string{".", ".qmail-g"} {
			if err := os.Lchown(filepath.Join(dir, "h", name), 4242, 4242); err != nil {
				t.Fatal(err)
			}
		}
	}
	tree := treeOf(t, dir)
	var got []string
	for p, err := range qmailcontrol.CheckDotQmail(context.Background(), tree, "/h", user) {
		if err != nil {
			t.Fatal(err)
		}
		if p.Err == nil || !strings.HasPrefix(p.Path, "h") {
			t.Errorf("%+v", p)
		}
		got = append(got, fmt.Sprintf("%s:%d %s", strings.TrimPrefix(p.Path, "h/"), p.Line, strings.TrimPrefix(p.Code, "dotqmail.")))
	}
	want := []string{
		"h:0 home-writable", "h:0 home-sticky", "h:0 home-owner", ".qmail:1 no-maildir", ".qmail-UP:0 name", ".qmail-a.b:0 name", ".qmail-blank:1 blank-first",
		".qmail-cr:1 cr", ".qmail-cr:2 cr", ".qmail-d:0 type", ".qmail-g:0 group-writable", ".qmail-g:0 owner", ".qmail-gone:0 dangling",
		".qmail-link:0 link", ".qmail-link:0 nothing", ".qmail-list:2 not-forward", ".qmail-list:3 ignored", ".qmail-m:1 maildir-access", ".qmail-m:2 maildir-access",
		".qmail-m:3 no-maildir", ".qmail-none:0 nothing", ".qmail-nul:1 nul", ".qmail-odd:1 forward", ".qmail-odd:2 forward", ".qmail-odd:3 forward",
		".qmail-r:0 unreadable", ".qmail-w:0 writable", ".qmail-x:0 x-bit", ".qmail-x:1 not-forward",
	}
	if os.Geteuid() != 0 {
		// Everything belongs to one who counts as the user.
		want = slices.DeleteFunc(want, func(s string) bool {
			return strings.HasSuffix(s, "owner") || strings.HasSuffix(s, "unreadable") || strings.HasSuffix(s, "access")
		})
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for range qmailcontrol.CheckDotQmail(context.Background(), tree, "/h", user) {
		break
	}
	last := func(ctx context.Context, tree qmailkit.Tree, home string) (err error) {
		for _, err = range qmailcontrol.CheckDotQmail(ctx, tree, home, user) {
		}
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, err := range []error{last(ctx, tree, "/h"), last(context.Background(), tree, "/none"), last(context.Background(), tree, "/h/.qmail")} {
		if !errors.Is(err, qmailkit.ErrIncomplete) {
			t.Errorf("error %v", err)
		}
	}
}
