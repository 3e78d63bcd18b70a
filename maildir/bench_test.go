package maildir

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// BenchmarkImport brings 20,000 small messages, into one Maildir and into 800.
// The directory is on the disk of the system's temporary files, and a fresh one
// each time: reusing a deleted one makes ext4 many times slower.
func BenchmarkImport(b *testing.B) {
	const n = 20000
	body := strings.Repeat("Some text of a small message, as most are.\n", 100)
	for name, opts := range map[string]CommitOptions{"group": {}, "files": {NoSyncFS: true}, "none": {Sync: SyncNone}} {
		for _, boxes := range []int{1, 800} {
			b.Run(fmt.Sprintf("%s/%d", name, boxes), func(b *testing.B) {
				b.SetBytes(n * int64(len(body)+10))
				for range b.N {
					importSmall(b, n, boxes, body, opts)
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}

func importSmall(b *testing.B, n, boxes int, body string, opts CommitOptions) {
	b.StopTimer()
	root, err := os.OpenRoot(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	b.StartTimer()
	c := NewCommitter(&opts)
	for box := range boxes {
		im, err := c.Import(root, fmt.Sprint("box", box), nil)
		if err != nil {
			b.Fatal(err)
		}
		for i := range n / boxes {
			text := fmt.Sprintf("X: %06d\n%s", i, body)
			m := &Message{Size: int64(len(text)), Time: time.Unix(1e9, 0), Body: func() io.Reader { return strings.NewReader(text) }}
			if err := im.Add(context.Background(), m); err != nil {
				b.Fatal(err)
			}
		}
		im.Close(nil)
	}
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkParseName(b *testing.B) {
	b.ReportAllocs()
	for range b.N {
		n, err := ParseName("1167609600.M1P2.host,S=1234,W=1300:2,FS")
		if size, ok := n.Size(); err != nil || !ok || size != 1234 || n.Flags() != Seen|Flagged {
			b.Fatal(n)
		}
	}
}

func BenchmarkContentOf(b *testing.B) {
	text := "Subject: x\nStatus: RO\n\n" + strings.Repeat("Some text of a small message.\n", 200)
	b.SetBytes(int64(len(text)))
	for range b.N {
		ContentOf(strings.NewReader(text))
	}
}
