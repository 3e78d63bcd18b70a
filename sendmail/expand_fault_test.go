package sendmail

import (
	"context"
	"fmt"
	"slices"
	"testing"
)

// expandAll expands a few addresses: what comes of it, and what is reported.
func expandAll(host *faultTree) (found, reported []string) {
	h, err := Open(host, nil)
	if err != nil {
		return nil, []string{err.Error()}
	}
	x, err := h.Expander(context.Background())
	if err != nil {
		return nil, []string{err.Error()}
	}
	for _, p := range x.Problems() {
		reported = append(reported, p.String())
	}
	for _, a := range []string{"list-a", "dave", "zoe+work", "any@v.example", "bob@route.example", "norm", "bob@third.example"} {
		e, err := x.Expand(context.Background(), a)
		if err != nil {
			reported = append(reported, err.Error())
			continue
		}
		for _, p := range e.Problems {
			reported = append(reported, p.String())
		}
		for _, d := range e.Deliveries {
			found = append(found, fmt.Sprint(a, d.Kind, d.Target(), d.Sender))
		}
	}
	return found, reported
}

// TestExpandFaults fails each call to the file system once: another answer must
// come with a report of its own.
func TestExpandFaults(t *testing.T) {
	host := newSampleHost(t, "")
	corpusHost(host)
	clean := &faultTree{Tree: host}
	want, before := expandAll(clean)
	if len(want) < 10 || clean.calls < 50 {
		t.Fatalf("%d calls for %q", clean.calls, want)
	}
	for n := 1; n <= clean.calls; n++ {
		tree := &faultTree{Tree: host, fail: n}
		found, reported := expandAll(tree)
		more := slices.ContainsFunc(reported, func(r string) bool { return !slices.Contains(before, r) })
		if !more && !slices.Equal(found, want) {
			t.Errorf("call %d, %s: in silence\n got %q\nwant %q", n, tree.what, found, want)
		}
	}
	t.Logf("%d calls failed, one at a time", clean.calls)
}
