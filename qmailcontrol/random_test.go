package qmailcontrol_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// Directories made by chance, broken cdbs among them: every answer is that of
// the real code.
func TestRandomGolden(t *testing.T) {
	type record struct {
		Files map[string]latin1
		Asks  []struct {
			Kind    string
			In, Out latin1
		}
	}
	records := gzipLines[record](t, "testdata/random.jsonl.gz")
	seen := map[string]int{}
	for n, r := range records {
		c := qmailcontrol.NewConfig()
		for name, text := range r.Files {
			if err := c.SetText(name, string(text)); err != nil {
				t.Fatal(err)
			}
		}
		for _, ask := range r.Asks {
			seen[ask.Kind+" "+string(ask.Out[:min(len(ask.Out), 2)])]++
			if got := answer(c, ask.Kind, string(ask.In)); got != string(ask.Out) {
				t.Errorf("%d: %s %q: %q, want %q", n, ask.Kind, ask.In, got, ask.Out)
			}
		}
	}
	for _, kind := range []string{"send 1 ", "send 2 ", "send ST", "rcpt 0", "rcpt 1", "rcpt -1", "remote mx", "remote re", "remote ZU", "smtpd 25", "smtpd 55", "smtpd 42", "inject <j"} {
		if seen[kind] == 0 {
			t.Errorf("no %q among %v", kind, seen)
		}
	}
}

// answer has the form of the file.
func answer(c *qmailcontrol.Config, kind, in string) string {
	switch kind {
	case "send":
		s, err := c.Send()
		if err != nil {
			return "STOP\n"
		}
		target := s.Rewrite(in)
		channel := map[qmailcontrol.Channel]int{qmailcontrol.Local: 1, qmailcontrol.Remote: 2}
		record, _, _ := strings.Cut(target.To, "\x00")
		return fmt.Sprintf("%d %s\x01%s\n", channel[target.Channel], target.To, s.BounceName(record))
	case "rcpt":
		r, err := c.RcptHosts()
		if err != nil {
			return "INIT"
		}
		allowed, err := r.Allows(in)
		switch {
		case err != nil:
			return "-1"
		case allowed:
			return "1"
		}
		return "0"
	case "remote":
		r, err := c.Remote()
		if err != nil {
			return "ZUnable to read control files. (#4.3.0)\n\x00"
		}
		way, how := r.Route(in), "mx"
		if way.How == qmailcontrol.ByRelay {
			how = "relay"
		}
		return fmt.Sprintf("%s %d %s\n", how, way.Port, way.Host)
	case "smtpd":
		d, err := c.SMTPD(nil)
		if err != nil {
			return qmailcontrol.ReplyControls
		}
		mail, rcpt, _ := strings.Cut(in, "\n")
		reply, _ := d.Recipient(mail, rcpt)
		return reply
	}
	j, err := c.Inject(nil)
	if err != nil {
		return "refused"
	}
	text, _, err := j.Complete(in)
	if err != nil {
		text = in
	}
	return strings.TrimSpace(text)
}
