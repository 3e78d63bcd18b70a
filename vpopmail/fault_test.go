//go:build unix

package vpopmail

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
)

// A job is something that can be cut short and run again: rerunning a job that
// is done changes nothing.
type job struct {
	name string
	// before brings the host to where the job starts.
	before func(t *testing.T, h *host)
	run    func(ctx context.Context, s *Store) error
}

var errCut = errors.New("cut")

func testSpec(name string) DomainSpec {
	return DomainSpec{Name: name, Postmaster: NewUser{Hash: "$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs."}}
}

func addDomainOnce(ctx context.Context, s *Store, name string) error {
	_, err := s.AddDomain(ctx, testSpec(name), func(context.Context) error { return nil })
	if errors.Is(err, ErrDomainExists) {
		return nil
	}
	return err
}

func manyUsers(n int) []Put {
	var puts []Put
	for i := range n {
		u := NewUser{Name: fmt.Sprintf("user%03d", (i*37)%n), Hash: qmailkit.Secret(fmt.Sprintf("$1$abcdefgh$%022d", i))}
		if i%10 == 3 {
			u.Quota = "10M"
		}
		puts = append(puts, Put{NewUser: u})
	}
	return puts
}

func putAll(ctx context.Context, s *Store, domain string, puts []Put) error {
	res, err := s.PutUsers(ctx, domain, puts)
	if err != nil {
		return err
	}
	for _, u := range res.Users {
		if u.Err != nil {
			return u.Err
		}
	}
	return nil
}

func withDomain(t *testing.T, h *host) {
	if err := addDomainOnce(t.Context(), h.open(), "example.com"); err != nil {
		t.Fatal(err)
	}
}

var jobs = []job{
	{"AddDomain first", func(*testing.T, *host) {}, func(ctx context.Context, s *Store) error {
		return addDomainOnce(ctx, s, "example.com")
	}},
	{"AddDomain hashed", func(t *testing.T, h *host) {
		withDomain(t, h)
		c := NewDirControl()
		c.Users = 99
		h.write("VPOPMAIL/domains/.dir-control", string(c.Bytes()))
		h.chmod("VPOPMAIL/domains/.dir-control", 0o600)
		h.write("QMAIL/control/rcpthosts", strings.Repeat("a.example.net\n", 50))
	}, func(ctx context.Context, s *Store) error {
		return addDomainOnce(ctx, s, "example.org")
	}},
	{"AddDomain with lines there", func(t *testing.T, h *host) {
		h.write("QMAIL/control/rcpthosts", "localhost\nexample.com\nexample.com\n")
		h.write("QMAIL/control/virtualdomains", "example.com:example.com\nx.example.com:alias\n")
	}, func(ctx context.Context, s *Store) error {
		return addDomainOnce(ctx, s, "example.com")
	}},
	{"AddAliasDomain", withDomain, func(ctx context.Context, s *Store) error {
		_, err := s.AddAliasDomain(ctx, "example.com", "example.net", func(context.Context) error { return nil })
		if errors.Is(err, ErrDomainExists) {
			return nil
		}
		return err
	}},
	{"GoLive with an alias", withDomain, func(ctx context.Context, s *Store) error {
		_, err := s.GoLive(ctx, []Live{{Name: "example.net", AliasOf: "example.com"}}, func(context.Context) error { return nil })
		return err
	}},
	{"PutUsers", withDomain, func(ctx context.Context, s *Store) error {
		return putAll(ctx, s, "example.com", manyUsers(12))
	}},
	{"PutUsers over a hundred", func(t *testing.T, h *host) {
		withDomain(t, h)
		if err := putAll(t.Context(), h.open(), "example.com", manyUsers(97)); err != nil {
			t.Fatal(err)
		}
		h.write("VPOPMAIL/domains/example.com/.dir_control_free", "# free\n3/x\n")
	}, func(ctx context.Context, s *Store) error {
		return putAll(ctx, s, "example.com", []Put{
			{NewUser: NewUser{Name: "more1", Hash: "*", Quota: "5C"}}, {NewUser: NewUser{Name: "more2", Hash: "*"}},
			{NewUser: NewUser{Name: "more3", Hash: "*"}}})
	}},
	{"PutUsers changing", func(t *testing.T, h *host) {
		withDomain(t, h)
		if err := putAll(t.Context(), h.open(), "example.com", manyUsers(4)); err != nil {
			t.Fatal(err)
		}
	}, func(ctx context.Context, s *Store) error {
		old, err := s.User(ctx, "user003@example.com")
		if err != nil {
			return err
		}
		old.Hash, old.Quota = "$1$abcdefgh$0000000000000000000003", "10485760S"
		return putAll(ctx, s, "example.com", []Put{{NewUser: NewUser{Name: "user003", Hash: "$1$new$hash", Quota: "20M"}, Base: &old}})
	}},
	{"Prepare, users, GoLive", func(*testing.T, *host) {}, migrate},
}

// migrate is what a migration does, in its order, for three domains.
func migrate(ctx context.Context, s *Store) error {
	var live []Live
	for _, name := range []string{"example.com", "b.example.com", "mail.example.com"} {
		if _, err := s.PrepareDomain(ctx, testSpec(name)); err != nil {
			return err
		}
		if err := putAll(ctx, s, name, manyUsers(3)); err != nil {
			return err
		}
		live = append(live, Live{Name: name})
	}
	live = append(live, Live{Name: "alias.example.net", AliasOf: "b.example.com"})
	_, err := s.GoLive(ctx, live, func(context.Context) error { return nil })
	return err
}

// allJobs are the jobs of this file and of its neighbours.
func allJobs() []job { return slices.Concat(jobs, userJobs) }

// clean runs a job without trouble and returns the tree and the steps taken.
func (j *job) clean(t *testing.T) (want map[string]seen, steps int) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	j.before(t, h)
	h.opts.hook = func(string, string) error { steps++; return nil }
	if err := j.run(t.Context(), h.open()); err != nil {
		t.Fatal(err)
	}
	want = h.snapshot()
	h.opts.hook = nil
	if err := j.run(t.Context(), h.open()); err != nil {
		t.Fatalf("second run: %v", err)
	}
	compareTrees(t, "second run", want, h.snapshot())
	for name := range want {
		if strings.Contains(name, "qmailkit") {
			t.Errorf("%s is left behind", name)
		}
	}
	return want, steps
}

func compareTrees(t *testing.T, what string, want, got map[string]seen) {
	t.Helper()
	changed, removed := diff(want, got)
	for _, n := range changed {
		t.Errorf("%s: %s: %+.200v, want %+.200v", what, n, got[n], want[n])
	}
	if len(removed) > 0 {
		t.Errorf("%s: %q missing", what, removed)
	}
}

// everyStep runs a job once for each step that it takes, and calls cut there.
func everyStep(t *testing.T, j *job, cut func(h *host, at int) error) {
	want, steps := j.clean(t)
	if steps < 5 {
		t.Fatalf("%d steps", steps)
	}
	stride := 1
	if testing.Short() {
		stride = 7
	}
	for at := 1; at <= steps; at += stride {
		h := newHost(t, DefaultProfile54(), controlBefore)
		j.before(t, h)
		if err := cut(h, at); err == nil {
			t.Fatalf("step %d of %d: no error", at, steps)
		}
		h.opts.hook = nil
		if err := j.run(t.Context(), h.open()); err != nil {
			t.Fatalf("step %d of %d: rerun: %v", at, steps, err)
		}
		compareTrees(t, fmt.Sprintf("step %d of %d", at, steps), want, h.snapshot())
		if t.Failed() {
			return
		}
	}
}

// TestFaults lets every step fail once.
func TestFaults(t *testing.T) {
	for _, j := range slices.Concat(allJobs(), domainJobs) {
		t.Run(j.name, func(t *testing.T) {
			everyStep(t, &j, func(h *host, at int) error {
				n, what := 0, ""
				h.opts.hook = func(op, name string) error {
					if n++; n == at {
						what = op + " " + name
						return errCut
					}
					return nil
				}
				err := j.run(t.Context(), h.open())
				if err != nil && !errors.Is(err, errCut) {
					t.Errorf("step %d, %s: %v", at, what, err)
				}
				if err == nil && strings.HasPrefix(what, "remove ") {
					return errCut // a left-over that was gone already
				}
				return err
			})
		})
	}
}

// TestKill stops the job for good at every step, as kill -9 does: nothing that
// comes behind is carried out.
func TestKill(t *testing.T) {
	for _, j := range slices.Concat(allJobs(), domainJobs) {
		t.Run(j.name, func(t *testing.T) {
			everyStep(t, &j, func(h *host, at int) (err error) {
				n := 0
				h.opts.hook = func(op, name string) error {
					if n++; n >= at {
						panic(errCut)
					}
					return nil
				}
				defer func() {
					if r := recover(); r != nil {
						err = r.(error)
					}
				}()
				return j.run(t.Context(), h.open())
			})
		})
	}
}

// TestKillTwice kills the rerun as well.
func TestKillTwice(t *testing.T) {
	j := &jobs[len(jobs)-1]
	want, steps := j.clean(t)
	for at := 3; at < steps; at += steps / 9 {
		h := newHost(t, DefaultProfile54(), controlBefore)
		for _, stop := range []int{at, 1, 2, 3, 5, 8, 13, 21} {
			func() {
				defer func() { recover() }()
				n := 0
				h.opts.hook = func(string, string) error {
					if n++; n >= stop {
						panic(errCut)
					}
					return nil
				}
				j.run(t.Context(), h.open())
			}()
		}
		h.opts.hook = nil
		if err := j.run(t.Context(), h.open()); err != nil {
			t.Fatal(err)
		}
		compareTrees(t, fmt.Sprint("killed at ", at), want, h.snapshot())
	}
}

// TestBackup asserts that the old files of qmail are handed over before they
// are replaced, and that a refusal stops the change.
func TestBackup(t *testing.T) {
	h := newHost(t, DefaultProfile54(), map[string]string{"me": "mail.example.com\n", "locals": "example.com\n", "rcpthosts": "localhost\n"})
	kept := map[string]string{}
	h.opts.Backup = func(name string, old []byte) error {
		if h.read("QMAIL/"+name) != string(old) {
			t.Errorf("%s: the file has changed before its copy was kept", name)
		}
		kept[name] = string(old)
		return nil
	}
	if err := addDomainOnce(t.Context(), h.open(), "example.com"); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"control/locals": "example.com\n", "control/rcpthosts": "localhost\n"}
	if !maps.Equal(kept, want) {
		t.Errorf("kept %q, want %q", kept, want)
	}
	before := h.snapshot()
	h.opts.Backup = func(string, []byte) error { return os.ErrPermission }
	if _, err := h.open().AddAliasDomain(t.Context(), "example.com", "example.net", nil); !errors.Is(err, os.ErrPermission) {
		t.Errorf("%v, want the error of Backup", err)
	}
	compareTrees(t, "refused backup", before, h.snapshot())
}
