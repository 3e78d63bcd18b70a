package sendmail

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// BenchmarkHost reads a host of 1,000 accounts, each with a spool and a home
// directory with one folder: the cost of finding mail, without reading it.
func BenchmarkHost(b *testing.B) {
	const accounts = 1000
	f := &fixture{t: b, dir: b.TempDir()}
	passwd := ""
	for i := range accounts {
		name := fmt.Sprintf("user%d", i)
		passwd += fmt.Sprintf("%s:%s:%d:100::/home/%s:/bin/sh\n", name, md5Hash, os.Getuid(), name)
		f.write("var/mail/"+name, oneMessage)
		f.write("home/"+name+"/mail/sent", oneMessage)
	}
	f.write("etc/passwd", passwd)
	f.write("var/spool/mail", "->../mail")
	h := f.open()
	b.ResetTimer()
	for b.Loop() {
		n := 0
		for a, err := range h.Accounts(context.Background()) {
			if err != nil {
				b.Fatal(err)
			}
			for _, err := range h.Mailboxes(context.Background(), a) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
			if _, _, err := h.Subscriptions(context.Background(), a); err != nil {
				b.Fatal(err)
			}
		}
		if n != 2*accounts {
			b.Fatalf("%d mailboxes", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*accounts), "µs/account")
}
