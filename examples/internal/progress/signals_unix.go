//go:build unix && !freebsd && !darwin

package progress

import (
	"os"
	"syscall"
)

// statusSignals ask for one line.
var statusSignals = []os.Signal{syscall.SIGUSR1}
