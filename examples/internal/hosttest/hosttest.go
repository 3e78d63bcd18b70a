// Package hosttest is what the tests of the programs share: a chance that can
// be repeated, how often a program is killed, a disk that gets full, and a
// Dovecot that serves the mailboxes of a test's host.
package hosttest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Need skips a test for want of another program, and fails it where the
// programs are required (QMAILKIT_REQUIRE_PEERS=1).
func Need(t *testing.T, why string, args ...any) {
	t.Helper()
	if os.Getenv("QMAILKIT_REQUIRE_PEERS") == "1" {
		t.Fatalf(why, args...)
	}
	t.Skipf(why, args...)
}

// Kills is how often a test kills its program: 5 times, 50 with
// QMAILKIT_LONG=1, once where tests are to be short.
func Kills(t *testing.T) int {
	t.Helper()
	switch {
	case os.Getenv("QMAILKIT_LONG") == "1":
		return 50
	case testing.Short():
		return 1
	}
	return 5
}

// Seeded is a source of chance that can be repeated with QMAILKIT_SEED.
func Seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("QMAILKIT_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("QMAILKIT_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
