package queue

import "iter"

// parallel yields f(in) for each input, in their order, while n goroutines work
// on it. At most 2n results are waiting. A caller who breaks early waits for
// the calls that have begun.
func parallel[In, Out any](n int, inputs iter.Seq[In], f func(In) Out) iter.Seq[Out] {
	type task struct {
		in  In
		out chan Out
	}
	return func(yield func(Out) bool) {
		tasks := make(chan task)
		waiting := make(chan chan Out, n)
		stop := make(chan struct{})
		done := make(chan struct{})
		for range n {
			go func() {
				for t := range tasks {
					t.out <- f(t.in)
				}
				done <- struct{}{}
			}()
		}
		go func() {
			defer close(waiting)
			defer close(tasks)
			for in := range inputs {
				t := task{in, make(chan Out, 1)}
				select {
				case <-stop:
					return
				case waiting <- t.out:
				}
				// Whoever has a place among the waiting is worked on, so that
				// the reader of waiting gets an answer.
				tasks <- t
			}
		}()
		defer func() {
			close(stop)
			for range waiting {
			}
			for range n {
				<-done
			}
		}()
		for out := range waiting {
			if !yield(<-out) {
				return
			}
		}
	}
}
