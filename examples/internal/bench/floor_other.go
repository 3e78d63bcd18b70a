//go:build unix && !linux

package main

import (
	"context"
	"errors"
	"fmt"
)

// runFloor needs syncfs(2) and renameat2(2).
func runFloor(context.Context, string, string) error {
	return fmt.Errorf("the floor needs calls of Linux: %w", errors.ErrUnsupported)
}

func syncAll(string) error { return nil }

func fsName(string) string { return "file system" }
