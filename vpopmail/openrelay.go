//go:build unix

package vpopmail

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// A RelayKeeper is a Backend that keeps the addresses of roaming users in a
// table (relay) instead of etc/open-smtp.
type RelayKeeper interface {
	// OpenRelay notes the address and says whether it is new.
	OpenRelay(ctx context.Context, ip string, at time.Time) (isNew bool, err error)
}

const (
	relayName = "open-smtp"
	relayLock = "open-smtp.lock"
)

// openRelay notes that somebody has logged in from an address, which may send
// mail to anywhere now (vpopmail.c:open_smtp_relay). What is no IPv4 address
// opens nothing: the colons of others part the fields of a rule.
func (s *Store) openRelay(ctx context.Context, ip string) (isNew bool, err error) {
	if a, err := netip.ParseAddr(ip); err != nil || !a.Is4() {
		return false, nil
	}
	now := s.o.Now()
	if k, ok := s.backend.(RelayKeeper); ok {
		return k.OpenRelay(ctx, ip, now)
	}
	etc, err := s.openPath(s.p.Home + "/etc")
	if err != nil {
		return false, err
	}
	defer etc.Close()
	unlock, err := s.lock(ctx, etc, relayLock, safefs.Keep)
	if err != nil {
		return false, err
	}
	defer unlock()
	old, _, err := readFile(etc, relayName)
	if err != nil {
		return false, err
	}
	text, isNew := relayText(string(old), ip, now)
	return isNew, etc.WriteFile(relayName, safefs.Replacement{Mode: 0o644, Owner: safefs.Keep, Temp: tempPrefix + "_relay"}, []byte(text))
}

// relayText moves the line of an address to the end, with a new time.
func relayText(old, ip string, now time.Time) (text string, isNew bool) {
	var b strings.Builder
	isNew = true
	for line := range strings.Lines(old) {
		if strings.HasPrefix(line, ip+":") {
			isNew = false
			continue
		}
		b.WriteString(line)
	}
	if s := b.String(); s != "" && !strings.HasSuffix(s, "\n") {
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%s:allow,RELAYCLIENT=\"\",RBLSMTPD=\"\"\t%d\n", ip, now.Unix())
	return b.String(), isNew
}
