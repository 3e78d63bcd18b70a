//go:build unix

package vpopmail

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/mariadbtest"
)

// sqlJobs are those jobs of the file form that mean something for a database.
func sqlJobs() []job {
	var out []job
	for _, j := range slices.Concat(allJobs(), domainJobs) {
		if slices.Contains([]string{"AddDomain first", "PutUsers", "PutUsers over a hundred", "PutUsers changing", "Prepare, users, GoLive",
			"DeleteUser", "DeleteUser in a hash directory", "ModifyUser for a domain", "DeleteDomain"}, j.name) {
			out = append(out, j)
		}
	}
	return out
}

func allTables54() Profile {
	p := DefaultProfile54()
	p.SQLAliases, p.SQLLimits, p.SQLLog = true, true, true
	return p
}

// sqlEnd is how a job ends without trouble: files, rows, and the steps on the
// way.
type sqlEnd struct {
	files map[string]seen
	rows  map[string][]string
	steps []string
}

func (j *job) sqlClean(t *testing.T, params []string) sqlEnd {
	t.Helper()
	h, db := sqlHost(t, allTables54(), params...)
	j.before(t, h)
	var end sqlEnd
	h.opts.hook = func(op, name string) error {
		end.steps = append(end.steps, op+" "+name)
		return nil
	}
	if err := j.run(t.Context(), h.open()); err != nil {
		t.Fatal(err)
	}
	h.opts.hook = nil
	end.files, end.rows = h.snapshot(), rowsOf(t, db)
	for name := range end.files {
		if strings.Contains(name, "qmailkit") {
			t.Errorf("%s is left behind", name)
		}
	}
	return end
}

// cuts are the steps at which a job is stopped: those that concern notes, syncs
// and removals, and some of the many others.
func (e *sqlEnd) cuts(short bool) (at []int) {
	every, other := 16, 0
	if os.Getenv("QMAILKIT_LONG") == "1" {
		every = 1
	}
	for i, s := range e.steps {
		marked := strings.Contains(s, intentName) || strings.Contains(s, afterName) || strings.HasPrefix(s, "syncfs")
		if other++; marked || other%every == 0 || i == len(e.steps)-1 {
			at = append(at, i+1)
		}
	}
	if short && len(at) > 0 {
		at = at[len(at)/2 : len(at)/2+1]
	}
	return at
}

// compare asserts that a host and its database are where the job should have
// brought them.
func (e *sqlEnd) compare(t *testing.T, what string, h *host, db *sql.DB) {
	t.Helper()
	compareTrees(t, what, e.files, h.snapshot())
	for _, line := range diffRows(rowsOf(t, db), e.rows) {
		t.Errorf("%s: %s", what, line)
	}
}

// TestSQLFaults lets steps fail once, and in a second round for good, as kill
// -9 does: the rerun completes the job, on engines with and without
// transactions.
func TestSQLFaults(t *testing.T) {
	for engine, params := range map[string][]string{"InnoDB": nil, "MyISAM": {"default_storage_engine=MyISAM", "sql_mode=''"}} {
		for _, j := range sqlJobs() {
			t.Run(engine+"/"+j.name, func(t *testing.T) {
				end := j.sqlClean(t, params)
				for n, at := range end.cuts(testing.Short()) {
					kill := n%2 == 1
					what := fmt.Sprintf("step %d of %d, %s, kill %v", at, len(end.steps), end.steps[at-1], kill)
					h, db := sqlHost(t, allTables54(), params...)
					j.before(t, h)
					if err := cutAt(t, h, &j, at, kill); err != nil && !errors.Is(err, errCut) {
						t.Errorf("%s: %v", what, err)
					}
					if err := j.run(t.Context(), h.open()); err != nil {
						t.Fatalf("%s: rerun: %v", what, err)
					}
					end.compare(t, what, h, db)
					db.Close()
					if t.Failed() {
						return
					}
				}
			})
		}
	}
}

// cutAt runs a job and stops it at a step.
func cutAt(t *testing.T, h *host, j *job, at int, kill bool) (err error) {
	n := 0
	h.opts.hook = func(op, name string) error {
		n++
		switch {
		case kill && n >= at:
			panic(errCut)
		case n == at:
			return errCut
		}
		return nil
	}
	defer func() {
		h.opts.hook = nil
		if r := recover(); r != nil {
			err = errCut
		}
	}()
	return j.run(t.Context(), h.open())
}

// TestSQLConnectionDies kills the connections of a change after its directories
// are made. Nothing of it stays, and it succeeds when it is tried again.
func TestSQLConnectionDies(t *testing.T) {
	h, db := sqlHost(t, allTables54())
	withDomain(t, h)
	before, rows := h.snapshot(), rowsOf(t, db)
	h.opts.hook = func(op, name string) error {
		if op == "syncfs" {
			killConnections(t, db)
		}
		return nil
	}
	_, err := h.open().AddUsers(t.Context(), "example.com", []NewUser{{Name: "ann", Hash: "*"}, {Name: "bob", Hash: "*"}})
	if err == nil || !strings.Contains(err.Error(), "vpopmail: database: ") {
		t.Errorf("error %v", err)
	}
	h.opts.hook = nil
	compareTrees(t, "after the error", before, h.snapshot())
	for _, line := range diffRows(rowsOf(t, db), rows) {
		t.Error(line)
	}
	if _, err := h.open().AddUsers(t.Context(), "example.com", []NewUser{{Name: "ann", Hash: "*"}}); err != nil {
		t.Error(err)
	}
}

// killConnections ends all connections to the database of db but its own.
func killConnections(t *testing.T, db *sql.DB) {
	t.Helper()
	var name string
	if err := db.QueryRow("select database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	admin := mariadbtest.Start(t).Open(t, "mysql")
	rows, err := admin.Query("select id from information_schema.processlist where db = ?", name)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	rows.Close()
	if len(ids) == 0 {
		t.Error("no connection to kill")
	}
	for _, id := range ids {
		if _, err := admin.Exec(fmt.Sprintf("kill %d", id)); err != nil {
			t.Error(err)
		}
	}
}

// TestSQLServerDies kills the server in the middle of a change, which cannot
// tell then what became of it. When the server is back the next call repairs
// what was left.
func TestSQLServerDies(t *testing.T) {
	srv := mariadbtest.StartOwn(t)
	name := srv.NewDatabase(t)
	db := srv.Open(t, name)
	if _, err := db.Exec("set global innodb_flush_log_at_trx_commit = 1"); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, allTables54(), controlBefore)
	h.opts.Backend = NewSQL(db, nil)
	withDomain(t, h)
	before := h.snapshot()
	h.opts.hook = func(op, name string) error {
		if op == "syncfs" {
			srv.Kill(t)
		}
		return nil
	}
	if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "ann", Hash: "*"}); err == nil {
		t.Error("no error")
	}
	h.opts.hook = nil
	if _, ok := h.snapshot()["VPOPMAIL/domains/example.com/"+intentName]; !ok {
		t.Error("the note is gone before anybody knows what became of the change")
	}
	if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "bob", Hash: "*"}); err == nil {
		t.Error("no error without a server")
	}
	srv.Restart(t)
	s := h.open()
	if _, err := s.DeleteUser(t.Context(), "ann@example.com"); !errors.Is(err, ErrNoUser) {
		t.Errorf("%v, want ErrNoUser", err)
	}
	compareTrees(t, "repaired", before, h.snapshot())
	if _, err := s.AddUser(t.Context(), "example.com", NewUser{Name: "ann", Hash: "*"}); err != nil {
		t.Error(err)
	}
}

// TestSQLFailsInBatch has the server refuse one row in the middle of a batch of
// additions and changes, and give back others than it was given.
func TestSQLFailsInBatch(t *testing.T) {
	for _, engine := range []string{"InnoDB", "MyISAM"} {
		for _, trigger := range []string{
			"create trigger x before insert on vpopmail for each row begin if new.pw_name = 'n5' then signal sqlstate '45000'; end if; end",
			"create trigger x before insert on vpopmail for each row begin if new.pw_name = 'n5' then set new.pw_gecos = 'other'; end if; end",
			"create trigger x before update on vpopmail for each row begin if new.pw_gecos = 'Changed' then set new.pw_passwd = left(new.pw_passwd, 9); end if; end",
			"create trigger x before insert on vpopmail for each row begin if new.pw_name = 'n7' then set new.pw_name = 'm7'; end if; end",
		} {
			h, db := sqlHost(t, allTables54(), "default_storage_engine="+engine, "sql_mode=''")
			withDomain(t, h)
			if _, err := h.open().AddUser(t.Context(), "example.com", NewUser{Name: "joe", Hash: "$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs.", Quota: "5M"}); err != nil {
				t.Fatal(err)
			}
			before, rows := h.snapshot(), rowsOf(t, db)
			if _, err := db.Exec(trigger); err != nil {
				t.Fatal(err)
			}
			joe, err := h.open().User(t.Context(), "joe@example.com")
			if err != nil {
				t.Fatal(err)
			}
			puts := []Put{{NewUser: NewUser{Name: "joe", Hash: joe.Hash, Gecos: "Changed", Quota: "5M"}, Base: &joe}}
			for n := range 10 {
				puts = append(puts, Put{NewUser: NewUser{Name: fmt.Sprintf("n%d", n), Hash: "*"}})
			}
			_, err = h.open().PutUsers(t.Context(), "example.com", puts)
			if err == nil {
				t.Errorf("%s: %s: no error", engine, trigger)
			}
			if _, err := db.Exec("drop trigger x"); err != nil {
				t.Fatal(err)
			}
			compareTrees(t, engine, before, h.snapshot())
			got := rowsOf(t, db)
			if engine == "MyISAM" {
				// The row that the trigger has renamed belongs to nobody known.
				got[usersTable] = slices.DeleteFunc(got[usersTable], func(r string) bool { return strings.Contains(r, `"m7"`) })
			}
			for _, line := range diffRows(got, rows) {
				t.Errorf("%s: %s: %s", engine, trigger, line)
			}
			if res, err := h.open().PutUsers(t.Context(), "example.com", puts); err != nil || res.Users[5].Outcome != Added || res.Users[0].Outcome != Updated {
				t.Errorf("%s: %s: afterwards: %+v, %v", engine, trigger, res, err)
			}
		}
	}
}

// TestSQLNarrowed has a column become narrower than a Store knows. A server
// that is not strict cuts what it is given: that is not committed.
func TestSQLNarrowed(t *testing.T) {
	for _, mode := range []string{"sql_mode=''", "sql_mode='STRICT_ALL_TABLES'"} {
		h, db := sqlHost(t, allTables54(), mode)
		withDomain(t, h)
		s := h.open()
		if _, err := s.AddUser(t.Context(), "example.com", NewUser{Name: "ann", Hash: "*"}); err != nil {
			t.Fatal(err)
		}
		for _, q := range []string{"update vpopmail set pw_passwd = '*'", "alter table vpopmail modify pw_passwd char(30)"} {
			if _, err := db.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
		before := rowsOf(t, db)
		n := NewUser{Name: "bob", Hash: qmailkit.Secret("$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs.")}
		if _, err := s.AddUser(t.Context(), "example.com", n); err == nil {
			t.Errorf("%s: no error", mode)
		}
		for _, line := range diffRows(rowsOf(t, db), before) {
			t.Error(line)
		}
		if _, err := h.open().AddUser(t.Context(), "example.com", n); !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: %v, want ErrTooLong", mode, err)
		}
	}
}

// TestSQLProcesses is TestProcesses on a database.
func TestSQLProcesses(t *testing.T) {
	workers, users := 8, 20
	if os.Getenv("QMAILKIT_LONG") == "1" {
		users = 250
	}
	if testing.Short() {
		workers, users = 3, 6
	}
	srv := mariadbtest.Start(t)
	name := srv.NewDatabase(t)
	db := srv.Open(t, name)
	h := newHost(t, allTables54(), controlBefore)
	h.opts.Backend = NewSQL(db, nil)
	withDomain(t, h)
	var cmds []*exec.Cmd
	for id := range workers {
		c := exec.CommandContext(t.Context(), os.Args[0])
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %t %s", workerEnv, id, users, false, h.dir), workerDSN+"="+srv.DSN(name))
		c.Stderr = os.Stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, c)
	}
	s := h.open()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		if _, err := s.User(t.Context(), "postmaster@example.com"); err != nil {
			t.Fatal("reader:", err)
		}
	}
	for _, c := range cmds {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	n := 0
	in := map[string]int{}
	for u, err := range s.Users(t.Context(), "example.com") {
		if err != nil {
			t.Fatal(err)
		}
		n++
		in[strings.TrimSuffix(u.Dir, u.Name)]++
		if _, err := os.Stat(h.dir + "/VPOPMAIL" + strings.TrimPrefix(u.Dir, "/home/vpopmail") + "/Maildir/new"); err != nil {
			t.Error(err)
		}
	}
	if n != workers*users+1 {
		t.Errorf("%d users, want %d", n, workers*users+1)
	}
	for dir, n := range in {
		if n > perDir {
			t.Errorf("%d users in %s", n, dir)
		}
	}
	for row, want := range map[string]int{"example.com": workers*users + 1, "dom_89": workers + 1} {
		if c, err := readCounter(t.Context(), db, row); err != nil || c.Users != uint64(want) {
			t.Errorf("%s: %d, %v; want %d", row, c.Users, err, want)
		}
	}
}

// workerDSN is where a worker keeps its records.
const workerDSN = "QMAILKIT_VPOPMAIL_DSN"

// workerBackend is the Backend and Profile of a worker of TestSQLProcesses, nil
// of another.
func workerBackend() (Backend, Profile, error) {
	dsn := os.Getenv(workerDSN)
	if dsn == "" {
		return nil, DefaultProfile54(), nil
	}
	db, err := sql.Open("mysql", dsn)
	if err == nil {
		err = db.PingContext(context.Background())
	}
	return NewSQL(db, nil), allTables54(), err
}
