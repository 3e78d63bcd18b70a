package sendmail

import (
	"slices"
	"testing"
)

// A featureCase is a host whose verdicts the real program has given.
type featureCase struct {
	name   string // of the verdicts
	config string
	host   func(sampleTree) []string // fills the host and gives the addresses
}

// featureCases are configurations with the FEATUREs and options that decide
// about addresses.
func featureCases() []featureCase {
	var cases []featureCase
	for _, name := range []string{"redhat", "freebsd", "sticky", "luser", "luser2", "bitnet", "localrules"} {
		cases = append(cases, featureCase{name, name, func(t sampleTree) []string { featureHost(t); return featureAddresses() }})
	}
	for _, name := range []string{"opts1", "blame2", "maps"} {
		cases = append(cases, featureCase{name, name, func(t sampleTree) []string { modesHost(t); return modesAddresses() }})
	}
	return append(cases, featureCase{"mangled", "redhat", mangledHost})
}

// make gives the host and its addresses, each once.
func (c featureCase) make(t *testing.T) (sampleTree, []string) {
	host := newSampleHost(t, c.config)
	var addresses []string
	for _, a := range c.host(host) {
		if !slices.Contains(addresses, a) {
			addresses = append(addresses, a)
		}
	}
	return host, addresses
}

// TestFeatures compares Expand with the verdicts that the real program gave
// (TestPeerFeatures).
func TestFeatures(t *testing.T) {
	all := 0
	for _, c := range featureCases() {
		t.Run(c.name, func(t *testing.T) {
			host, addresses := c.make(t)
			want := readVerdicts(t, c.name)
			if len(want) != len(addresses) || len(want) < 500 {
				t.Fatalf("%d addresses and %d verdicts", len(addresses), len(want))
			}
			compareVerdicts(t, host.expander(t), addresses, want)
			all += len(want)
		})
	}
	t.Logf("%d verdicts", all)
}
