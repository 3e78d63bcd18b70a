package safefs

import "errors"

// mkfifoat: macOS has no such call in golang.org/x/sys, and by a path it would
// not be safe.
func mkfifoat(int, string, uint32) error { return errors.ErrUnsupported }
