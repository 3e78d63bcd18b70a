package maildir

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestWork shares out messages: several at a time where none waits for the one
// before it, and never more than a writer's share.
func TestWork(t *testing.T) {
	var w work
	w.init()
	turn := make(chan struct{})
	for i := range 40 {
		task := &task{result: Result{Size: int64(i)}}
		if i >= 20 && i < 23 {
			task.turn = turn
		}
		w.put(task)
	}
	w.end()
	var sizes, order []int
	for batch := w.take(2, nil); batch != nil; batch = w.take(2, batch) {
		sizes = append(sizes, len(batch))
		for _, task := range batch {
			order = append(order, int(task.result.Size))
		}
	}
	if !slices.Equal(sizes, []int{16, 4, 1, 1, 1, 8, 4, 2, 1, 1, 1}) {
		t.Errorf("batches of %v", sizes)
	}
	if len(order) != 40 || !slices.IsSorted(order) {
		t.Errorf("order %v", order)
	}
}

// TestFinishSynced looks that a sync covers what finishing a Maildir writes
// without one, before the Committer says that all is on the disk.
func TestFinishSynced(t *testing.T) {
	root, err := os.OpenRoot(fastDir(t))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, opts := range map[string]CommitOptions{"group": {}, "each": {Sync: SyncEach}, "files": {NoSyncFS: true}} {
		var steps []string
		opts.hook = func(op, name string) error {
			steps = append(steps, op+" "+name)
			return nil
		}
		c := NewCommitter(&opts)
		for i := range 3 {
			im, err := c.Import(root, fmt.Sprint(name, i), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := im.Close(func(d *Dir) error { return d.RebuildQuota(t.Context(), "10S") }); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			box := fmt.Sprint(name, i)
			at := slices.IndexFunc(steps, func(s string) bool { return strings.HasPrefix(s, "rename") && strings.Contains(s, box+"/") })
			synced := slices.ContainsFunc(steps[at+1:], func(s string) bool {
				return strings.HasPrefix(s, "syncfs") || strings.HasPrefix(s, "syncdir") && strings.Contains(s, box)
			})
			if at < 0 || !synced {
				t.Errorf("%s: maildirsize of %s is not durable: %q", name, box, steps)
			}
		}
	}
}
