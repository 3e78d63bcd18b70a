//go:build unix

package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestQread has what no golden queue has. The wanted lines follow
// qmail-qread.c.
func TestQread(t *testing.T) {
	day := "21 Nov 2026 19:40:00 GMT  "
	head := func(id int, sender string) string { return fmt.Sprintf("%s#%d  2  <%s> \n", day, id, sender) }
	long := strings.Repeat("y", 3*keep)
	tests := []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"bytes", map[string]string{"info/2/5": "Fa\xe9\n\x7f\x00", "local/2/5": "T\xff \x00"}, head(5, "a___") + "\tlocal\t_ \n"},
		{"any letter", map[string]string{"info/2/5": "Gx\x00y"}, head(5, "x")},
		{"nothing", map[string]string{"info/2/5": "\x00", "local/2/5": "\x00"}, head(5, "Z")},
		{"behind the sender", map[string]string{"info/2/5": "Fx\x00Tq\x00t", "local/2/5": "Ty\x00Tz\x00"}, head(5, "x") + "\tlocal\tq\n\tlocal\tz\n"},
		{"behind the sender, without local", map[string]string{"info/2/5": "Fx\x00D", "remote/2/5": "Ty\x00" + strings.Repeat("Tz\x00", keep)},
			head(5, "x") + "  done\tremote\tTy\n" + strings.Repeat("\tremote\tz\n", keep)},
		{"leading zero", map[string]string{"info/2/05": "Fy\x00", "info/2/5": "Fx\x00"}, head(5, "x") + head(5, "x")},
		{"elsewhere", map[string]string{"info/1/5": "Fx\x00"}, "warning: trouble with #5: file does not exist\n"},
		{"wrapped", map[string]string{"info/0/18446744073709551621": "Fx\x00", "info/2/5": "Fy\x00"}, head(5, "y") + head(5, "y")},
		{"long list", map[string]string{"info/2/5": "Fx\x00", "remote/2/5": "Ta\x00X" + long + "\x00D" + long + "\x00Tb\x00T" + long},
			head(5, "x") + "\tremote\ta\n  done\tremote\t" + long + "\n\tremote\tb\n"},
		{"long list without NUL", map[string]string{"info/2/5": "Fx\x00", "remote/2/5": "T" + long}, head(5, "x")},
		{"long sender", map[string]string{"info/2/5": "F" + long + "\x00"}, head(5, long[:keep-1])},
		{"left in the buffer", map[string]string{"info/2/5": "Fabcdef\x00", "mess/2/8": "xx", "info/2/8": "Fx", "info/2/x": ""}, ""},
	}
	for _, tt := range tests {
		q, _ := newLab(t, Layout{Split: 3}, both(map[string]string{"mess/2/5": "xx"}, tt.files))
		var out bytes.Buffer
		if err := q.WriteQread(context.Background(), &out); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.want == "" {
			// The order of two files is that of the directory.
			other := head(5, "abcdef") + head(8, "xbcdef")
			if tt.want = head(8, "x") + head(5, "abcdef"); out.String() == other {
				tt.want = other
			}
		}
		if out.String() != tt.want {
			t.Errorf("%s: got %.300q, want %.300q", tt.name, out.String(), tt.want)
		}
	}
}

func TestQstat(t *testing.T) {
	q, dir := newLab(t, Layout{Split: 3}, map[string]string{
		"mess/2/5": "", "mess/.hidden": "", "mess/1/.hidden": "", "mess/README": "", "mess/1/a\nb": "", "todo/.x": "",
	})
	labDir(t, dir, "todo/deep", 0o700)
	labDir(t, dir, "todo/deep/er", 0o700)
	labFile(t, dir, "todo/deep/er/file", "", 0o600)
	fifo(t, filepath.Join(dir, "mess/2/fifo"))
	s, err := q.Qstat(context.Background())
	if want := (Qstat{Messages: 5, Unprocessed: 2}); s != want || err != nil {
		t.Errorf("%+v, %v, want %+v", s, err, want)
	}
}

// failWriter fails after some bytes.
type failWriter struct{ left int }

func (w *failWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, unix.ENOSPC
	}
	return len(b), nil
}

func TestWritersReportErrors(t *testing.T) {
	files := map[string]string{}
	for id := ID(1); id < 300; id++ {
		l := Layout{Split: 3}
		maps.Copy(files, map[string]string{l.Path(Mess, id): "", l.Path(Info, id): "Fx\x00", l.Path(Local, id): strings.Repeat("Ta@example.com\x00", 50)})
	}
	q, _ := newLab(t, Layout{Split: 3}, files)
	for _, left := range []int{0, 100, 100000} {
		if err := q.WriteQread(context.Background(), &failWriter{left}); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("qread, %d bytes: %v", left, err)
		}
	}
	if err := q.WriteQstat(context.Background(), &failWriter{}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("qstat: %v", err)
	}
}
