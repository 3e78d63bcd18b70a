package qmailkit_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme holds README to code that runs: each of its Go blocks is, but for
// the indentation, a run of lines out of an Example function.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) == 0 {
		t.Fatal("README.md has no Go block")
	}
	var examples []string
	for _, s := range sources(t) {
		for name := range s.tests {
			if !strings.HasPrefix(name, "example") {
				continue
			}
			b, err := os.ReadFile(filepath.Join(s.dir, name))
			if err != nil {
				t.Fatal(err)
			}
			examples = append(examples, unindented(string(b)))
		}
	}
	all := strings.Join(examples, "\n")
	for _, b := range blocks {
		if !strings.Contains(all, unindented(string(b[1]))) {
			t.Errorf("in no Example function:\n%s", b[1])
		}
	}
}

// TestReadmePackages wants every package of the library in README's table.
func TestReadmePackages(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sources(t) {
		if s.library() && s.rel != "." && !strings.HasPrefix(s.rel, "internal/") && !s.forTests() && !strings.Contains(string(readme), "\n| `"+s.rel+"` |") {
			t.Errorf("README.md says nothing of package %s", s.rel)
		}
		// The programs are listed by their names.
		if name, ok := strings.CutPrefix(s.rel, "examples/"); ok && !strings.Contains(name, "/") && !strings.Contains(string(readme), "\n- `"+name+" ") {
			t.Errorf("README.md does not list the program %s", name)
		}
	}
}

// unindented takes the white space before each line away.
func unindented(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		b.WriteString(strings.TrimLeft(line, " \t"))
	}
	return b.String()
}
