package sendmail

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// corpora are the hosts whose verdicts the real program has given.
var corpora = []string{"plain", "relay"}

// goldenFile holds the real program's verdicts for a host.
func goldenFile(name string) string {
	file := "testdata/expand/" + name + ".txt"
	if !slices.Contains(corpora, name) {
		file += ".gz"
	}
	return file
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
		if !slices.Equal(got, want[a]) {
			t.Errorf("%q:\n got %q\nwant %q", a, got, want[a])
		}
	}
}

// readVerdicts reads a file of verdicts: an address in quotes, and behind tabs
// the lines of sendmail -bv without the address.
func readVerdicts(t *testing.T, name string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile(goldenFile(name))
	if err == nil && strings.HasSuffix(goldenFile(name), ".gz") {
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(b)); err == nil {
			b, err = io.ReadAll(z)
		}
	}
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
