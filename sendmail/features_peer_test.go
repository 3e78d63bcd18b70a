//go:build linux

package sendmail

import (
	"os"
	"slices"
	"testing"
)

// TestPeerFeatures asks the real program about some addresses of one of the
// hosts, or about all where QMAILKIT_LONG is set. With QMAILKIT_UPDATE=1 it
// writes its verdicts down.
func TestPeerFeatures(t *testing.T) {
	needSendmail(t)
	all := os.Getenv("QMAILKIT_LONG") != "" || os.Getenv("QMAILKIT_UPDATE") != ""
	for _, c := range featureCases() {
		if c.name != "opts1" && !all {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			host, addresses := c.make(t)
			if !all {
				addresses = addresses[:100]
			}
			real := peerVerdicts(t, host, addresses)
			if os.Getenv("QMAILKIT_UPDATE") == "1" {
				writeVerdicts(t, c.name, addresses, real)
			}
			want := readVerdicts(t, c.name)
			for _, a := range addresses {
				if !slices.Equal(real[a], want[a]) {
					t.Errorf("%q: the real program says\n%q, and has said\n%q", a, real[a], want[a])
				}
			}
		})
	}
}
