package queue

import "iter"

// ahead is how many results a goroutine may have waiting, so that one slow file
// or a processor taken away does not stop the others.
const ahead = 4

// parallel yields f(in) for each input, in their order, while n goroutines work
// on it. Results of a few calls for each of them wait for their turn. A caller who breaks early waits for
// the calls that have begun.
func parallel[In, Out any](n int, inputs iter.Seq[In], f func(In) Out) iter.Seq[Out] {
	type task struct {
		in  In
		out chan Out
	}
	return func(yield func(Out) bool) {
		tasks := make(chan task)
		waiting := make(chan chan Out, ahead*n)
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
