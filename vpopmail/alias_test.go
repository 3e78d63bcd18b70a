package vpopmail

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestAliasProblems has what qmail-local makes of odd files.
func TestAliasProblems(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // codes with their lines
	}{
		{"joe@example.com\n&jim@example.com\n", ""},
		{"|prog\n\n# note\n./Maildir/", ""},
		{"", "alias.empty:0"},
		{"# gone\n#\n", "alias.discards:0"},
		{"\njoe@example.com\n", "alias.blank-first-line:1"},
		{" \t\njoe@example.com\n", "alias.blank-first-line:1"},
		{"joe@example.com\n jim@example.com\n", "alias.leading-blank:2"},
		{"joe@example.com\x00\n", "alias.nul:1"},
		{strings.Repeat("a", 160) + "\n" + strings.Repeat("b", 159), "alias.long-line:1"},
	} {
		a := Alias{"team", ParseAliasLines([]byte(c.text))}
		var got []string
		for _, p := range a.Problems(".qmail-team") {
			got = append(got, p.Code+":"+string(rune('0'+p.Line)))
			if p.Path != ".qmail-team" || p.Err == nil {
				t.Errorf("%+v", p)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

// FuzzAliasLines holds that the lines are the file, and that what AddAlias
// takes is one line of it and no trouble.
func FuzzAliasLines(f *testing.F) {
	for _, seed := range []string{"", "\n", "a\nb", "a\n\n#b\n", "&joe@example.com\n|prog arg\n/dir/\n", "\x00\r\n \n"} {
		f.Add([]byte(seed), "joe@example.com")
	}
	f.Fuzz(func(t *testing.T, b []byte, line string) {
		lines := ParseAliasLines(b)
		whole := strings.Join(append(slices.Clone(lines), ""), "\n")
		if len(b) > 0 && b[len(b)-1] != '\n' {
			whole = strings.TrimSuffix(whole, "\n")
		}
		if whole != string(b) {
			t.Errorf("%q: %q", b, lines)
		}
		a := Alias{"x", lines}
		a.Problems("")
		if checkAliasLine("x", line, maxAliasLine) != nil {
			return
		}
		again := ParseAliasLines(append(bytes.Clone(b), line+"\n"...))
		if len(b) == 0 || b[len(b)-1] == '\n' {
			if len(again) != len(lines)+1 || again[len(lines)] != line {
				t.Errorf("%q and %q: %q", b, line, again)
			}
		}
		one := Alias{"x", []string{line}}
		for _, p := range one.Problems("") {
			if p.Code != "alias.discards" {
				t.Errorf("%q: %v", line, p)
			}
		}
	})
}
