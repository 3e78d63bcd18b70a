//go:build linux

package sendmail

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestPeerMakemap compares random texts with what makemap stores of them, with
// each of its options about the text, and the lines it refuses with those that
// are Problems.
func TestPeerMakemap(t *testing.T) {
	needSendmail(t)
	for i, c := range []struct {
		flags []string
		opts  TableOptions
	}{
		{nil, TableOptions{}},
		{[]string{"-f"}, TableOptions{KeepCase: true}},
		{[]string{"-r"}, TableOptions{Last: true}},
		{[]string{"-e"}, TableOptions{Empty: true}},
		{[]string{"-t", ":", "-D", "%"}, TableOptions{Blank: ':', Comment: '%'}},
		{[]string{"-t", "=", "-e", "-r", "-f"}, TableOptions{Blank: '=', Empty: true, Last: true, KeepCase: true}},
	} {
		t.Run(strings.Join(c.flags, ""), func(t *testing.T) {
			text := randomTable(rand.New(rand.NewPCG(uint64(i), 1)))
			db := filepath.Join(t.TempDir(), "m")
			run := func(stdin string, args ...string) (string, string) {
				cmd := exec.Command("/usr/libexec/sendmail/makemap", append(args, "hash", db)...)
				cmd.Stdin = strings.NewReader(stdin)
				var out, errs bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &errs
				if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 65 {
					t.Fatalf("%v: %s", err, errs.String())
				}
				return out.String(), errs.String()
			}
			_, words := run(text, c.flags...)
			dump, _ := run("", "-u")
			table, problems, err := ReadTable(t.Context(), strings.NewReader(text), &c.opts)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []string
			for l := range strings.Lines(dump) {
				want = append(want, trimBlanks(l)) // the rules do not see blanks behind a value
			}
			for e := range table.Entries() {
				key := e.Key
				if !c.opts.KeepCase {
					key = lower(key)
				}
				if table.Lookup(e.Key) == e {
					got = append(got, trimBlanks(key+"\t"+e.Value))
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			diff(t, want, got)
			refused := strings.Count(words, "\n")
			for _, p := range problems {
				if p.Code == codePrefix+"map-duplicate" && c.opts.Last {
					refused++ // it tells of them only where they are lost
				}
			}
			if pieces := strings.Count(text, "y"); refused+pieces < len(problems) || len(problems) < 3 || len(want) < 20 {
				t.Errorf("%d problems, and makemap has %d\n%s", len(problems), refused, words)
			}
		})
	}
}

// randomTable makes lines of all kinds, some of them too long.
func randomTable(r *rand.Rand) string {
	var b strings.Builder
	for range 150 {
		key := fmt.Sprintf("%s%d@Ex.example", []string{"", "K", "k", "#", "%", " ", "\xe9"}[r.IntN(7)], r.IntN(60))
		sep := []string{"\t", " ", "  \t", ":", "=", "::", ""}[r.IntN(7)]
		value := []string{"v", "a b", "x:y=z", "", " ", "\xf6", "v\r", "trail  ", "nul\x00tail"}[r.IntN(9)]
		if r.IntN(12) == 0 {
			value += strings.Repeat("y", 990+r.IntN(60)) + " tail of it"
		}
		b.WriteString(key + sep + value + "\n")
	}
	return b.String() + "last v"
}
