package sendmail

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/qmailkit/qmailkit"
)

func TestLongLine(t *testing.T) {
	f := newFixture(t, map[string]string{"etc/passwd": plainPasswd + "long:" + strings.Repeat("x", 1000) + "\n" + "bob:*:2:2:::\n"})
	f.opts.MaxLine = 100
	var errLong error
	names := ""
	for a, err := range f.open().Accounts(context.Background()) {
		if err != nil {
			errLong = err
			continue
		}
		names += a.Name + " "
	}
	if names != "alice bob " || !errors.Is(errLong, ErrLongLine) {
		t.Fatalf("%s%v", names, errLong)
	}
	p, _ := AsProblem(errLong)
	if p.Line != 2 || p.Offset != int64(len(plainPasswd)) || !strings.HasPrefix(errLong.Error(), "etc/passwd:2: line too long: 1006 bytes") {
		t.Errorf("%v", errLong)
	}
}

// TestLineLimits walks around the limit, with and without a newline.
func TestLineLimits(t *testing.T) {
	for _, max := range []int{1, 10, 32 << 10, 70_000} {
		for _, extra := range []int{-1, 0, 1, 2} {
			for _, end := range []string{"", "\n", "\nnext\n"} {
				text := strings.Repeat("a", max+extra) + end
				var got strings.Builder
				var n int
				for l, err := range readLines(context.Background(), iotest.HalfReader(strings.NewReader(text)), "f", max) {
					if err != nil {
						n++
						continue
					}
					got.WriteString(l.raw)
				}
				want, long := text, 0
				if extra > 0 {
					want, long = strings.TrimPrefix(end, "\n"), 1
				}
				if max == 1 && strings.HasPrefix(want, "next") {
					want, long = "", long+1
				} else if max == 1 && strings.HasSuffix(end, "next\n") {
					want, long = strings.TrimSuffix(want, "next\n"), long+1
				}
				if got.String() != want || n != long {
					t.Errorf("max %d, %d bytes, end %q: %d bytes and %d errors, want %d and %d", max, max+extra, end, got.Len(), n, len(want), long)
				}
			}
		}
	}
}

// TestHugeLine reads a line far larger than memory may grow.
func TestHugeLine(t *testing.T) {
	const size = 256 << 20
	r := io.MultiReader(strings.NewReader("a\n"), io.LimitReader(zeros{}, size), strings.NewReader("\nb\n"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var got []string
	for l, err := range readLines(context.Background(), r, "f", 64<<10) {
		if err != nil {
			got = append(got, "error at "+itoa(l.line))
			continue
		}
		got = append(got, l.raw+itoa(int(l.offset)))
	}
	runtime.ReadMemStats(&after)
	diff(t, []string{"a\n0", "error at 2", "b\n" + itoa(size+3)}, got)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes allocated", grown)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestReadError(t *testing.T) {
	broken := errors.New("disk broken")
	r := io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken))
	var got []string
	for l, err := range readLines(context.Background(), r, "f", 100) {
		if err != nil {
			if !errors.Is(err, qmailkit.ErrIncomplete) || !errors.Is(err, broken) || !strings.Contains(err.Error(), "f:2") {
				t.Errorf("error %v", err)
			}
			continue
		}
		got = append(got, l.raw)
	}
	diff(t, []string{"a\n"}, got)
}

// TestManyProblems bounds what is told of a file that is none.
func TestManyProblems(t *testing.T) {
	text := strings.Repeat("x\n", 2*maxFileProblems)
	_, table, err1 := ReadTable(t.Context(), strings.NewReader(text), nil)
	_, aliases, err2 := ReadAliases(t.Context(), strings.NewReader(text), nil)
	_, list, err3 := ReadList(t.Context(), strings.NewReader(strings.ReplaceAll(text, "x", "(")), nil)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for _, problems := range [][]qmailkit.Problem{table, aliases, list} {
		if len(problems) != maxFileProblems+1 || problems[maxFileProblems].Code != "sendmail.more-problems" {
			t.Errorf("%d problems", len(problems))
		}
	}
}
