package plesk

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

func TestSetPop(t *testing.T) {
	for _, c := range []struct {
		c    Credential
		want string
		code []string
		err  error
	}{
		{Credential{Clear: "pass word"}, "a@x.org:pass word\n", nil, nil},
		{Credential{Clear: "c", Hash: "$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs."}, "a@x.org:c\n", nil, nil},
		{Credential{Hash: "$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs."}, "a@x.org:$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs.\n", []string{"plesk.pop-hash"}, nil},
		{Credential{Clear: "with:colon"}, "a@x.org:with:colon\n", []string{"plesk.pop-colon"}, nil},
		{Credential{Clear: "abcdefghijklm"}, "a@x.org:abcdefghijklm\n", []string{"plesk.pop-form"}, nil},
		{Credential{}, "", nil, ErrNoPassword},
		{Credential{Clear: "two\nlines"}, "", nil, users.ErrPop},
	} {
		p := &users.Poppasswd{}
		probs, err := SetPop(p, "x.org", "a", c.c)
		if !errors.Is(err, c.err) || string(p.Bytes()) != c.want || !slices.Equal(codes(probs), c.code) {
			t.Errorf("%q: %v, %q, %q", c.want, err, p.Bytes(), codes(probs))
		}
		if err != nil {
			continue
		}
		if len(c.code) > 0 && c.code[0] == "plesk.pop-form" { // and it is told on the way back
			for e := range p.Entries() {
				if got, probs := PopCredential(e); got.Hash != c.c.Clear || !slices.Equal(codes(probs), c.code) {
					t.Errorf("%q: %q", c.want, codes(probs))
				}
			}
			continue
		}
		for e := range p.Entries() { // and back
			got, _ := PopCredential(e)
			if want := (Credential{Clear: c.c.Clear}); c.c.Clear != "" && got != want || c.c.Clear == "" && got != c.c {
				t.Errorf("%q comes back as another", c.want)
			}
		}
	}
}

// BenchmarkSetPop writes the logins of a whole host. The time of each does not
// grow with their number.
func BenchmarkSetPop(b *testing.B) {
	for _, n := range []int{4_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p := &users.Poppasswd{}
				for i := range n {
					if _, err := SetPop(p, "example.com", fmt.Sprintf("user%06d", i), Credential{Clear: "pass word"}); err != nil {
						b.Fatal(err)
					}
				}
				if len(p.Bytes()) < 30*n {
					b.Fatal("it is cut")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/login")
		})
	}
}
