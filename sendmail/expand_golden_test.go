package sendmail

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// corpora are the hosts whose verdicts the real program has given.
var corpora = []string{"plain", "relay"}

// exceptions are addresses for which Expand deliberately differs, with the
// reason.
var exceptions = map[string]string{
	"latin":                "-bv prints seven bits",
	"latin@example.com":    "-bv prints seven bits",
	"tmp@example.com":      "-bv shows a temporary error twice",
	"tmp+d@example.com":    "-bv shows a temporary error twice",
	"vloop1@example.com":   "-bv tells about each ruleset of the loop",
	"vloop2@example.com":   "-bv tells about each ruleset of the loop",
	"vloop1+d@example.com": "-bv tells about each ruleset of the loop",
	"vloop2+d@example.com": "-bv tells about each ruleset of the loop",
}

// TestCorpus compares Expand with the verdicts that the real program gave
// (TestPeerCorpus).
func TestCorpus(t *testing.T) {
	for _, name := range corpora {
		t.Run(name, func(t *testing.T) {
			host := newSampleHost(t, name)
			corpusHost(host)
			x := host.expander(t)
			want := readVerdicts(t, name)
			addresses := corpusAddresses()
			if len(addresses) < 300 || len(want) != len(addresses) {
				t.Fatalf("%d addresses and %d verdicts", len(addresses), len(want))
			}
			compareVerdicts(t, x, addresses, want)
		})
	}
}

// compareVerdicts says where Expand and the real program differ.
func compareVerdicts(t *testing.T, x *Expander, addresses []string, want map[string][]string) {
	t.Helper()
	for _, a := range addresses {
		got := verdict(t, x, a)
		if reason, odd := exceptions[a]; odd {
			if slices.Equal(got, want[a]) {
				t.Errorf("%q is an exception (%s), but there is no difference", a, reason)
			}
			continue
		}
		if !slices.Equal(got, want[a]) {
			t.Errorf("%q:\n got %q\nwant %q", a, got, want[a])
		}
	}
}

// readVerdicts reads a file of verdicts: an address in quotes, and behind tabs
// the lines of sendmail -bv without the address.
func readVerdicts(t *testing.T, name string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/expand/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string][]string{}
	for l := range strings.Lines(string(b)) {
		fields := strings.Split(strings.TrimSuffix(l, "\n"), "\t")
		for i, f := range fields {
			if fields[i], err = strconv.Unquote(f); err != nil {
				t.Fatalf("%q: %v", l, err)
			}
		}
		verdicts[fields[0]] = fields[1:]
	}
	return verdicts
}
