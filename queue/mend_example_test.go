//go:build unix

package queue_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/qmailkit/qmailkit/queue"
)

// newQueue makes an empty queue and a quarantine beside it.
func newQueue() (q *queue.Queue, z *queue.Quarantine, dir string, done func()) {
	dir, err := os.MkdirTemp("", "queue")
	if err != nil {
		log.Fatal(err)
	}
	var roots []*os.Root
	for _, name := range []string{"queue", "quarantine"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			log.Fatal(err)
		}
		root, err := os.OpenRoot(filepath.Join(dir, name))
		if err != nil {
			log.Fatal(err)
		}
		roots = append(roots, root)
	}
	if err := queue.Create(context.Background(), roots[0], nil); err != nil {
		log.Fatal(err)
	}
	if q, err = queue.Open(roots[0], nil); err != nil {
		log.Fatal(err)
	}
	if z, err = queue.OpenQuarantine(roots[1], nil); err != nil {
		log.Fatal(err)
	}
	return q, z, filepath.Join(dir, "queue"), func() {
		q.Close()
		z.Close()
		for _, r := range roots {
			r.Close()
		}
		os.RemoveAll(dir)
	}
}

func ExampleSubmit() {
	q, _, _, done := newQueue()
	defer done()
	// With os/exec the Runner would start qmail-queue.
	message := strings.NewReader("Subject: hello\n\nworld\n")
	err := queue.Submit(context.Background(), q.Runner(nil), message, queue.Envelope{
		Sender: "joe@example.com", Recipients: []string{"ann@example.org"},
	})
	fmt.Println(err)
	for m, err := range q.Messages(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.State, m.Sender)
	}
	// Output:
	// <nil>
	// S4 joe@example.com
}

func ExampleCreate() {
	dir, err := os.MkdirTemp("", "queue")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		log.Fatal(err)
	}
	defer root.Close()
	ctx := context.Background()
	if err := queue.Create(ctx, root, &queue.CreateOptions{Layout: queue.Layout{Split: 211, BigTodo: true}}); err != nil {
		log.Fatal(err)
	}
	q, err := queue.Open(root, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	fmt.Printf("%+v\n", q.Layout())
	// Output: {Split:211 BigTodo:true}
}

func ExampleQueue_PlanRepair() {
	q, z, dir, done := newQueue()
	defer done()
	// Something is wrong with it.
	if err := os.WriteFile(filepath.Join(dir, "mess", "README"), nil, 0o600); err != nil {
		log.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "info", "5")); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	plan, err := q.PlanRepair(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range plan.Actions {
		fmt.Println(a.Op, a.Path)
	}
	lock, err := q.Lock(ctx) // fails while qmail-send runs
	if err != nil {
		log.Fatal(err)
	}
	defer lock.Close()
	if err := lock.Apply(ctx, plan, &queue.ApplyOptions{Quarantine: z}); err != nil {
		log.Fatal(err)
	}
	plan, err = q.PlanRepair(ctx)
	fmt.Println("nothing left:", plan.Empty(), err)
	// Output:
	// quarantine mess/README
	// make info/5
	// nothing left: true <nil>
}

func ExampleLock_Quarantine() {
	q, z, _, done := newQueue()
	defer done()
	ctx := context.Background()
	spam := queue.Envelope{Sender: "offer@example.net", Recipients: []string{"ann@example.org"}}
	if err := queue.Submit(ctx, q.Runner(nil), strings.NewReader("Subject: offer\n\n"), spam); err != nil {
		log.Fatal(err)
	}
	lock, err := q.Lock(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for m, err := range q.Messages(ctx) {
		if err == nil && m.Sender == "offer@example.net" {
			err = lock.Quarantine(ctx, z, "spam", m.ID)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	lock.Close()
	for it, err := range z.Items(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("kept:", it.Reason)
		// It was none: back it goes, for those who do not have it yet.
		fmt.Println(z.Restore(ctx, q, it.Name, nil))
	}
	// Output:
	// kept: spam
	// <nil>
}
