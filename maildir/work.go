package maildir

import "sync"

const (
	maxWork  = 64 // messages that wait for a writer, at most
	maxBatch = 16 // that a writer takes at once
)

// A work is what waits for the writers, first in first out. Most messages are
// small, so that waking a writer for each would cost as much as writing it.
type work struct {
	mu    sync.Mutex
	tasks []*task
	ended bool
	some  sync.Cond // there is something, or the end
	room  sync.Cond // half of it is free
}

func (w *work) init() { w.some.L, w.room.L = &w.mu, &w.mu }

func (w *work) put(t *task) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		panic("maildir: a message for a Committer that is closed")
	}
	for len(w.tasks) >= maxWork {
		w.room.Wait()
	}
	w.tasks = append(w.tasks, t)
	w.some.Signal()
}

// take waits for the next messages, and takes the share of one of n writers; the
// slice batch is used again. Nil is the end. A message whose turn has to come is
// taken alone: it waits for the one before it, which a writer has by then, and
// which must not stand behind others.
func (w *work) take(n int, batch []*task) []*task {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.tasks) == 0 {
		if w.ended {
			return nil
		}
		w.some.Wait()
	}
	most := min(max(len(w.tasks)/n, 1), maxBatch)
	k := 1
	for k < most && w.tasks[k-1].turn == nil && w.tasks[k].turn == nil {
		k++
	}
	batch = append(batch[:0], w.tasks[:k]...)
	rest := copy(w.tasks, w.tasks[k:])
	clear(w.tasks[rest:])
	w.tasks = w.tasks[:rest]
	if rest <= maxWork/2 {
		w.room.Broadcast()
	}
	return batch
}

// end says that nothing more comes.
func (w *work) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.some.Broadcast()
}
