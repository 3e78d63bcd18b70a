package maildir

import (
	"context"
	"errors"
	"hash/maphash"
	"io/fs"
	"slices"

	"github.com/qmailkit/qmailkit"
)

// A met is what a Transfer has handed over, by hashes of the bases. A message
// that is moved, or gets other flags, while its folders are read is met twice,
// and must not come twice.
type met struct {
	seed  maphash.Seed
	times map[uint64]uint32 // how often it was handed over
	there map[uint64]uint32 // how often it stands in to and the folders before it
	to    string            // the folder for which there was counted
}

// again says whether the message with this base in a folder was handed over
// before, from where it was then. Of true twins, with the same base in two
// places, both are there now.
func (m *met) again(ctx context.Context, t *transfer, folder, base string) (bool, error) {
	if m.times == nil {
		m.seed, m.times = maphash.MakeSeed(), map[uint64]uint32{}
	}
	key := maphash.String(m.seed, base)
	n := m.times[key]
	if n > 0 {
		if m.to != folder {
			if err := m.count(ctx, t, folder); err != nil {
				return false, err
			}
		}
		if m.there[key] <= n {
			t.res.Moved++
			return true, nil
		}
	}
	m.times[key]++
	return false, nil
}

// count counts what stands in a folder and those before it. It goes backwards,
// so that what is moved on meanwhile does not count twice.
func (m *met) count(ctx context.Context, t *transfer, to string) error {
	m.there, m.to = map[uint64]uint32{}, to
	for _, dir := range slices.Backward(t.res.Folders[:slices.Index(t.res.Folders, to)+1]) {
		for _, sub := range []string{"cur", "new"} {
			for e, err := range t.from.ReadDir(ctx, t.path(dir)+"/"+sub) {
				if errors.Is(err, fs.ErrNotExist) {
					break // gone, with all that was in it
				}
				if err != nil {
					return qmailkit.Incomplete(err)
				}
				if n, err := ParseName(e.Name); err == nil {
					m.there[maphash.String(m.seed, n.Base())]++
				}
			}
		}
	}
	return nil
}
