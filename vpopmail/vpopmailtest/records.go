//go:build unix

package vpopmailtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// testRecords changes records without the Store.
func testRecords(t *testing.T, i *installation) {
	s := i.with()
	joe := i.user(s, "joe")
	r, _ := i.edit(t.Context(), s)
	if u, ok := r.Get("joe"); !ok || u != joe {
		t.Errorf("%+v, %v", u, ok)
	}
	if _, ok := r.Get("nobody"); ok {
		t.Error("nobody is there")
	}
	changed, added := joe, joe
	changed.Gecos = "Changed"
	added.Name, added.Dir = "added", joe.Dir+"2"
	for _, u := range []vpopmail.User{changed, added} {
		if err := r.Put(u); err != nil {
			t.Fatal(err)
		}
		if got, ok := r.Get(u.Name); !ok || got != u {
			t.Errorf("put: %+v, %v", got, ok)
		}
	}
	if !r.Remove("postmaster") || r.Remove("postmaster") || r.Remove("nobody") {
		t.Error("Remove says something else than what it did")
	}
	if _, ok := r.Get("postmaster"); ok {
		t.Error("removed, and there")
	}
	if got := i.get(s, "joe"); got != joe {
		t.Errorf("seen before Commit: %+v", got)
	}
	i.get(s, "postmaster")
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	i.get(s, "postmaster") // forgotten
	r, _ = i.edit(t.Context(), s)
	if u, ok := r.Get("joe"); !ok || u != joe {
		t.Errorf("after Close: %+v, %v", u, ok)
	}
	for _, u := range []vpopmail.User{added, changed} {
		if err := r.Put(u); err != nil {
			t.Fatal(err)
		}
	}
	// A record that comes and goes, and one that goes and comes.
	gone := added
	gone.Name = "gone"
	if err := r.Put(gone); err != nil {
		t.Fatal(err)
	}
	r.Remove("gone")
	r.Remove("postmaster")
	if err := r.Commit(t.Context(), vpopmail.CommitSteps{}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := i.get(s, "joe"); got != changed {
		t.Errorf("%+v, want %+v", got, changed)
	}
	if got := i.get(s, "added"); got != added {
		t.Errorf("%+v, want %+v", got, added)
	}
	for _, name := range []string{"postmaster", "gone"} {
		_, err := s.User(t.Context(), name+"@"+domain)
		i.is(name, err, vpopmail.ErrNoUser)
	}
}

// testLocks has a second Store wait for the first.
func testLocks(t *testing.T, i *installation) {
	s, other := i.with(), i.open()
	r, d := i.edit(t.Context(), s)
	for _, st := range []*vpopmail.Store{s, other} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if r2, err := st.Backend().Edit(ctx, d); err == nil {
			t.Error("two have the lock")
			r2.Close()
		}
		cancel()
	}
	i.get(other, "postmaster") // readers need no lock
	done := make(chan error)
	go func() {
		_, err := other.AddUser(t.Context(), domain, vpopmail.NewUser{Name: "waits", Hash: hash})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

var errCut = errors.New("cut short")

// testCutShort has the making of directories fail, and be killed: nothing is
// left of the change, and the next one succeeds.
func testCutShort(t *testing.T, i *installation) {
	s := i.with()
	model := i.user(s, "model")
	for _, kill := range []bool{false, true} {
		r, d := i.edit(t.Context(), s)
		before, _, err := r.Counter()
		if err != nil {
			t.Fatal(err)
		}
		u := model
		u.Name, u.Dir = "joe", strings.TrimSuffix(model.Dir, "model")+"joe"
		if err := r.Put(u); err != nil {
			t.Fatal(err)
		}
		next := before
		next.Next()
		r.SetCounter(next, 0)
		steps := vpopmail.CommitSteps{Made: []vpopmail.MadeUser{{Name: "joe", Dir: "joe"}}, Build: func(dir *safefs.Dir) error {
			sub, _, err := dir.Mkdir("joe", 0o700, safefs.Keep)
			if err != nil {
				return err
			}
			sub.Close()
			if kill {
				panic(errCut)
			}
			return errCut
		}}
		err = func() (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = errCut
				}
			}()
			return r.Commit(t.Context(), steps)
		}()
		i.is("commit", err, errCut)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		_, err = s.User(t.Context(), "joe@"+domain)
		i.is("cut short", err, vpopmail.ErrNoUser)
		r, err = i.open().Backend().Edit(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if after, _, err := r.Counter(); err != nil || after != before {
			t.Errorf("counter %+v, %v; want %+v", after, err, before)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if i.isDir(u.Dir) {
			t.Error("a directory without an account stays")
		}
	}
	i.user(s, "joe")
	entries, err := os.ReadDir(i.path(i.c.Profile.Home + "/" + i.c.Profile.DomainsDir + "/" + domain))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".qmailkit") {
			t.Errorf("%s is left", e.Name())
		}
	}
}

// testTooLong has nothing be made for a hash that is too long.
func testTooLong(t *testing.T, i *installation) {
	s := i.with()
	count := func() vpopmail.DirControl {
		r, _ := i.edit(t.Context(), s)
		defer r.Close()
		c, _, err := r.Counter()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := count()
	_, err := s.AddUser(t.Context(), domain, vpopmail.NewUser{Name: "joe", Hash: i.c.LongHash})
	i.is("long hash", err, vpopmail.ErrTooLong)
	if strings.Contains(fmt.Sprint(err), string(i.c.LongHash)) {
		t.Error("the error tells the hash")
	}
	_, err = s.User(t.Context(), "joe@"+domain)
	i.is("long hash", err, vpopmail.ErrNoUser)
	if after := count(); after != before {
		t.Errorf("counter %+v, want %+v", after, before)
	}
	if i.isDir(i.c.Profile.Home + "/" + i.c.Profile.DomainsDir + "/" + domain + "/joe") {
		t.Error("a directory was made")
	}
}

// testAdders has eight goroutines with Stores of their own add accounts at
// once.
func testAdders(t *testing.T, i *installation) {
	i.with()
	const adders, each = 8, 16
	stores := make([]*vpopmail.Store, adders)
	for n := range stores {
		stores[n] = i.open()
	}
	var wg sync.WaitGroup
	for n, s := range stores {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for k := range each {
				if _, err := s.AddUser(t.Context(), domain, vpopmail.NewUser{Name: fmt.Sprintf("w%d.%d", n, k), Hash: hash}); err != nil {
					t.Errorf("w%d.%d: %v", n, k, err)
					return
				}
			}
		}()
	}
	wg.Wait()
	s := i.open()
	if got := len(i.names(s)); got != adders*each+1 {
		t.Errorf("%d accounts, want %d", got, adders*each+1)
	}
	in := map[string]int{}
	for n := range adders {
		for k := range each {
			u := i.get(s, fmt.Sprintf("w%d.%d", n, k))
			if !i.isDir(u.Dir) {
				t.Errorf("%s has no directory", u.Name)
			}
			in[strings.TrimSuffix(u.Dir, u.Name)]++
		}
	}
	r, _ := i.edit(t.Context(), s)
	defer r.Close()
	if c, _, err := r.Counter(); err != nil || i.c.Profile.BigDir && (c.Users != adders*each+1 || len(in) != 2) {
		t.Errorf("counter %+v, %v, %d hash directories", c, err, len(in))
	}
}
