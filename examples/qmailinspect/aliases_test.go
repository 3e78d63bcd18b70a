package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAliases(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good", "# c\nlist: bob, \\alice,\n \"|/bin/p -x, y\", /var/f, :include:/l, J\xf6@b.example\n")
	const want = `{"name":"list","line":2,"lines":2,"offset":4,"values":[{"type":"local","value":"bob","raw":"bob"},` +
		`{"type":"backslash","value":"alice","raw":"\\alice"},{"type":"program","value":"/bin/p -x, y","raw":"\"|/bin/p -x, y\""},` +
		`{"type":"file","value":"/var/f","raw":"/var/f"},{"type":"include","value":"/l","raw":":include:/l"},` +
		`{"type":"address","value":"Jö@b.example","raw":"Jö@b.example"}],` +
		`"raw":"list: bob, \\alice,\n \"|/bin/p -x, y\", /var/f, :include:/l, Jö@b.example\n"}` + "\n"
	if code, out, words := inspect("", "aliases", good); code != 0 || out != want || words != "" {
		t.Errorf("exit code %d\n%s%s", code, out, words)
	}
	odd := write("odd", "a: b\nA: c\nno colon\n stray\nlong: "+strings.Repeat("x", 10<<20)+"\nlast: d")
	code, out, words := inspect("", "aliases", odd)
	if code != 3 || strings.Count(out, "\n") != 3 || !strings.Contains(out, `"name":"last"`) {
		t.Errorf("exit code %d\n%s", code, out)
	}
	for _, c := range []string{"alias-duplicate", "alias-no-colon", "alias-long-line"} {
		if !strings.Contains(words, "sendmail."+c) {
			t.Errorf("no word of %s in\n%s", c, words)
		}
	}
	fwd := write("fwd", "\\bob, \"|vacation bob\"\n# c\n\"open\n")
	code, out, words = inspect("", "aliases", "-forward", fwd)
	if code != 3 || out != `{"line":1,"type":"backslash","value":"bob","raw":"\\bob"}`+"\n"+
		`{"line":1,"type":"program","value":"vacation bob","raw":"\"|vacation bob\""}`+"\n" || !strings.Contains(words, "list-malformed") {
		t.Errorf("exit code %d\n%s%s", code, out, words)
	}
	if code, _, _ := inspect("", "aliases", dir); code != 1 {
		t.Errorf("a directory: exit code %d", code)
	}
}
