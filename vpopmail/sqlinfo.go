//go:build unix

package vpopmail

import "context"

// Counter reads the counter of a domain's hash directories without a lock: see
// CounterReader.
func (b *SQL) Counter(ctx context.Context, d *Domain) (DirControl, error) {
	return readCounter(ctx, b.db, d.Real)
}
