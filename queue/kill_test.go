//go:build unix

package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// childVar tells the test binary, run once more, what it is to do: a job, the
// directory of the queue, that of the quarantine, and the step at which it kills
// itself.
const childVar = "QUEUE_TEST_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVar); job != "" {
		if err := child(strings.Split(job, "\n")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child repairs or converts a queue.
func child(job []string) error {
	step, err := strconv.Atoi(job[3])
	if err != nil {
		return err
	}
	hook := func(op, name string) error {
		if step--; step == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		}
		return nil
	}
	root, err := os.OpenRoot(job[1])
	if err != nil {
		return err
	}
	zroot, err := os.OpenRoot(job[2])
	if err != nil {
		return err
	}
	q, err := Open(root, &Options{hook: hook})
	if err != nil {
		return err
	}
	z, err := OpenQuarantine(zroot, &QuarantineOptions{hook: hook})
	if err != nil {
		return err
	}
	ctx := context.Background()
	l, err := q.Lock(ctx)
	if err != nil {
		return err
	}
	if job[0] == "hold" {
		fmt.Println("held")
		io.ReadAll(os.Stdin)
		return l.Close()
	}
	p, err := q.PlanRepair(ctx)
	if job[0] == "convert" {
		p, err = q.PlanConvert(ctx, Layout{Split: 7, BigTodo: true})
	}
	if err != nil {
		return err
	}
	if err := l.Apply(ctx, p, &ApplyOptions{Quarantine: z}); err != nil {
		return err
	}
	fmt.Printf("%d\n", -step)
	return nil
}

// run runs a child and returns what it says and whether it was killed.
func (m *mended) run(t *testing.T, job string, step int) (said string, killed bool) {
	t.Helper()
	os.Mkdir(m.zdir, 0o700)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+strings.Join([]string{job, m.dir, m.zdir, strconv.Itoa(step)}, "\n"))
	out, err := cmd.CombinedOutput()
	if err == nil {
		return strings.TrimSpace(string(out)), false
	}
	if st := cmd.ProcessState.Sys().(syscall.WaitStatus); st.Signaled() && st.Signal() == syscall.SIGKILL {
		return "", true
	}
	t.Fatalf("%v: %s", err, out)
	return "", false
}

// TestKill kills a repair and a conversion with SIGKILL at random moments, of a
// queue restored from a copy, and lets the next one finish.
func TestKill(t *testing.T) {
	kills := 5
	if os.Getenv("QMAILKIT_LONG") != "" {
		kills = 50
	}
	damaged := makeQueue(t, small)
	damaged.damage(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, job := range []string{"repair", "convert"} {
		said, _ := damaged.copyQueue(t).run(t, job, -1)
		steps, err := strconv.Atoi(said)
		if err != nil || steps < 100 {
			t.Fatalf("%s: %q", job, said)
		}
		for range kills {
			m := damaged.copyQueue(t)
			before, whole := m.contents(t), m.whole(t)
			// Killed again and again, until it is through.
			for killed := true; killed; {
				step := 1 + rnd.IntN(steps)
				if _, killed = m.run(t, job, step); killed {
					sameCounts(t, "killed: files", m.contents(t), before)
				}
			}
			if err := m.mend(t, 3); err != nil {
				t.Error(err)
			}
			m.clean(t)
			sameCounts(t, "files", m.contents(t), before)
			sameCounts(t, "messages", m.whole(t), whole)
			if t.Failed() {
				t.Fatalf("%s, seed %d", job, seed)
			}
		}
	}
}

// TestRepairArriving has mail arrive all the time while a queue is mended. A
// qmail-queue may be refused for the moment; what was taken stays.
func TestRepairArriving(t *testing.T) {
	m := makeQueue(t, small)
	m.scramble(t)
	whole := m.whole(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	taken := make([]int, 3)
	for w := range taken {
		q := m.open(t)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				e := Envelope{Sender: fmt.Sprintf("w%d.%d@example.net", w, taken[w]), Recipients: []string{"x@example.com"}}
				if _, err := q.Enqueue(t.Context(), strings.NewReader("new\n"), e.reader(), nil); err == nil {
					taken[w]++
				} else if !refusedName(err) {
					t.Errorf("enqueue: %v", err)
					return
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	err := m.mend(t, 5)
	time.Sleep(20 * time.Millisecond)
	close(stop)
	wg.Wait()
	if err != nil {
		t.Error(err)
	}
	m.clean(t)
	after := m.whole(t)
	for k, n := range whole {
		if after[k] < n {
			t.Errorf("lost: %s", k)
		}
	}
	have := map[string]bool{}
	for msg, err := range m.open(t).Messages(t.Context()) {
		if err != nil {
			t.Error(err)
		}
		have[msg.Sender] = true
	}
	n := 0
	for w := range taken {
		for i := range taken[w] {
			n++
			if sender := fmt.Sprintf("w%d.%d@example.net", w, i); !have[sender] {
				t.Errorf("message of %s was taken, and is gone", sender)
			}
		}
	}
	if n == 0 {
		t.Error("nothing arrived")
	}
	t.Logf("%d messages arrived", n)
}

// refusedName says that a name was taken, for which a caller tries again.
func refusedName(err error) bool {
	var e *SubmitError
	return errors.As(err, &e) && (e.Code == ExitMess || e.Code == ExitIntd || e.Code == ExitTodo)
}
