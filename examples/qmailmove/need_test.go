//go:build unix

package main

import (
	"os"
	"testing"
)

// need skips a test for want of another program, unless peers are required.
func need(t *testing.T, why string, args ...any) {
	t.Helper()
	if os.Getenv("QMAILKIT_REQUIRE_PEERS") == "1" {
		t.Fatalf(why, args...)
	}
	t.Skipf(why, args...)
}
