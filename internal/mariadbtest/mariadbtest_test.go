//go:build unix

package mariadbtest

import (
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"
)

func TestFresh(t *testing.T) {
	s := Start(t)
	if Start(t) != s {
		t.Error("a second server")
	}
	db := s.Fresh(t)
	if _, err := db.Exec("create table t (a char(3) not null)"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("insert into t values ('long')"); err == nil {
		t.Error("the default is not strict")
	}
	lax := s.Fresh(t, "sql_mode=''")
	if _, err := lax.Exec("create table t (a char(3) not null)"); err != nil {
		t.Fatalf("not a database of its own: %v", err)
	}
	if _, err := lax.Exec("insert into t values ('long')"); err != nil {
		t.Error(err)
	}
	var name, def string
	if err := db.QueryRow("show create table t").Scan(&name, &def); err != nil {
		t.Fatal(err)
	}
	const want = "CREATE TABLE `t` (\n  `a` char(3) NOT NULL\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci"
	if def != want {
		t.Errorf("%s\nwant\n%s", def, want)
	}
}

// TestKill has what was committed come back after a crash, and the directory go
// with the test.
func TestKill(t *testing.T) {
	var dir string
	t.Run("own", func(t *testing.T) {
		s := StartOwn(t)
		name := s.NewDatabase(t)
		db := s.Open(t, name)
		for _, q := range []string{"set global innodb_flush_log_at_trx_commit=1", "create table t (a int)", "insert into t values (7)"} {
			if _, err := db.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
		s.Kill(t)
		if err := db.Ping(); err == nil {
			t.Error("a killed server answers")
		}
		s.Restart(t)
		var n int
		if err := s.Open(t, name).QueryRow("select a from t").Scan(&n); err != nil || n != 7 {
			t.Errorf("%d, %v", n, err)
		}
		dir = s.dir
	})
	for range 100 {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s is left", dir)
}
