//go:build freebsd || darwin

package progress

import (
	"os"
	"syscall"
)

// statusSignals ask for one line. SIGINFO is what control-T sends.
var statusSignals = []os.Signal{syscall.SIGUSR1, syscall.SIGINFO}
