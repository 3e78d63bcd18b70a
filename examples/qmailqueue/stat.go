//go:build unix

package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/queue"
)

// totals is what stat -long and -json tell.
type totals struct {
	Messages    int64            `json:"messages"`
	Unprocessed int64            `json:"unprocessed"`
	States      map[string]int64 `json:"states"`
	Local       int64            `json:"local"`  // messages with a local recipient that is not done
	Remote      int64            `json:"remote"` // the same for remote ones
	Bouncing    int64            `json:"bouncing"`
	FromNobody  int64            `json:"from_nobody"` // bounces: an empty sender
	Bytes       int64            `json:"bytes"`
	Recipients  int64            `json:"recipients"` // not done
	Split       int              `json:"split"`
	BigTodo     bool             `json:"big_todo"`
	Running     *bool            `json:"running,omitempty"`
}

func statCommand() *cli.Command {
	j := &job{}
	return &cli.Command{
		Name:  "stat",
		Short: "count the messages, as qmail-qstat does",
		Long: `Without flags the output is that of qmail-qstat, byte for byte. -long counts
messages by what they wait for; a message with local and remote recipients counts
for both.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			j.flags(fs)
			long := fs.Bool("long", false, "tell more")
			return j.action(func(ctx context.Context, args []string) error {
				if !*long && !j.json {
					return j.q.WriteQstat(ctx, j.out)
				}
				return j.totals(ctx)
			})
		},
	}
}

func (j *job) totals(ctx context.Context) error {
	st, err := j.q.Qstat(ctx)
	if err != nil {
		return err
	}
	l := j.q.Layout()
	t := totals{Messages: st.Messages, Unprocessed: st.Unprocessed, States: map[string]int64{}, Split: l.Split, BigTodo: l.BigTodo}
	err = j.each(ctx, &selection{}, func(m *queue.Message) error {
		t.States[m.State.String()]++
		t.Bytes += max(m.Size, 0)
		if m.BounceSize >= 0 {
			t.Bouncing++
		}
		if m.HasSender && m.Sender == "" {
			t.FromNobody++
		}
		waits := map[queue.Channel]bool{}
		for r, err := range m.Recipients() {
			if err == nil && !r.Done {
				waits[r.Channel] = true
				t.Recipients++
			}
		}
		if waits[queue.ToLocal] {
			t.Local++
		}
		if waits[queue.ToRemote] {
			t.Remote++
		}
		return nil
	})
	if err != nil {
		return err
	}
	if on, err := j.q.Running(ctx); err == nil {
		t.Running = &on
	}
	if j.json {
		return j.enc.Encode(t)
	}
	fmt.Fprintf(j.out, "messages in queue: %d\nmessages in queue but not yet preprocessed: %d\n", t.Messages, t.Unprocessed)
	fmt.Fprintf(j.out, "messages with local recipients: %d\nmessages with remote recipients: %d\n", t.Local, t.Remote)
	fmt.Fprintf(j.out, "messages with bounces: %d\nmessages that are bounces: %d\n", t.Bouncing, t.FromNobody)
	fmt.Fprintf(j.out, "recipients to be reached: %d\nbytes of messages: %d\n", t.Recipients, t.Bytes)
	if n := t.States[queue.Illegal.String()]; n > 0 {
		fmt.Fprintf(j.out, "messages in a state that qmail does not leave: %d (see check)\n", n)
	}
	fmt.Fprintf(j.out, "conf-split: %d, todo split: %s\n", t.Split, yesNo(t.BigTodo))
	if t.Running != nil {
		fmt.Fprintf(j.out, "qmail-send runs: %s\n", yesNo(*t.Running))
	}
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
