//go:build unix

// Package mariadbtest starts a private MariaDB for tests.
//
// The server is Debian's mariadb-server: its programs are taken from the path,
// none of the host's configuration is read, nothing of it is touched. It speaks
// on a socket in a temporary directory only. Tests are skipped where it is not
// installed, and fail where QMAILKIT_REQUIRE_PEERS is set.
package mariadbtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// A Server is a running mariadbd. Its user root has no password.
type Server struct {
	dir    string // holds the data, the socket and the server's messages
	keeper *exec.Cmd
	hold   *os.File // the keeper ends when this is closed
}

// starting is how long a server may take until it answers.
const starting = time.Minute

// maxSocket is the longest path of a socket that every system takes
// (sun_path, less a margin).
const maxSocket = 100

var shared struct {
	sync.Mutex
	server *Server
}

// Start returns the server of this test process, which the first call starts.
// It ends with the process, however that ends, and takes its directory along.
func Start(t testing.TB) *Server {
	t.Helper()
	need(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		s, err := launch()
		if err != nil {
			t.Fatalf("mariadbtest: %v", err)
		}
		shared.server = s
	}
	return shared.server
}

// StartOwn starts a server that only this test has, so that it may Kill it. It
// ends with the test.
func StartOwn(t testing.TB) *Server {
	t.Helper()
	need(t)
	s, err := launch()
	if err != nil {
		t.Fatalf("mariadbtest: %v", err)
	}
	t.Cleanup(s.stop)
	return s
}

// need skips the test where the programs are missing.
func need(t testing.TB) {
	t.Helper()
	for _, name := range []string{"mariadbd", "mariadb-install-db"} {
		if program(name) != "" {
			continue
		}
		if os.Getenv("QMAILKIT_REQUIRE_PEERS") == "1" {
			t.Fatalf("%s is missing: install Debian's mariadb-server", name)
		}
		t.Skipf("%s is missing: Debian's mariadb-server has it", name)
	}
}

// program finds a program in the path, or where Debian has the server's.
func program(name string) string {
	for _, try := range []string{name, "/usr/sbin/" + name, "/usr/bin/" + name} {
		if p, err := exec.LookPath(try); err == nil {
			return p
		}
	}
	return ""
}

// baseDir is a directory for the server: in memory where that is possible, and
// with a name short enough for a socket.
func baseDir() (string, error) {
	for _, parent := range []string{"/dev/shm", os.TempDir(), "/tmp"} {
		dir, err := os.MkdirTemp(parent, "mariadb")
		if err != nil {
			continue
		}
		if len(dir)+len("/socket") <= maxSocket {
			return dir, nil
		}
		os.RemoveAll(dir)
	}
	return "", errors.New("no temporary directory whose name is short enough for a socket")
}

// keeperScript runs the server until its own standard input ends, which the
// death of the test process does in any case, and cleans up.
const keeperScript = `dir=$1; shift
( /bin/sh -c 'echo $$ >"$0/pid"; exec "$@"' "$dir" "$@" </dev/null; : >"$dir/ended" ) &
read -r _
kill -9 $(cat "$dir/pid")
wait
[ -e "$dir/keep" ] || rm -rf "$dir"`

func launch() (*Server, error) {
	dir, err := baseDir()
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.install(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	if err := s.run(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// common are the options that both programs take.
func (s *Server) common() []string {
	args := []string{"--no-defaults", "--datadir=" + s.dir + "/data",
		"--innodb-log-file-size=4M", "--innodb-buffer-pool-size=16M"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	return args
}

// install makes the system tables.
func (s *Server) install() error {
	args := append(s.common(), "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	cmd := exec.Command(program("mariadb-install-db"), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "TMPDIR="+s.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("mariadb-install-db: %w\n%s", err, tail(out))
	}
	return nil
}

// run starts the server with the defaults of Debian's package, as far as they
// show in tables, and none of the durability that a test has no use for.
func (s *Server) run() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	log, err := os.OpenFile(s.dir+"/log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		w.Close()
		return err
	}
	defer log.Close()
	args := append([]string{"-c", keeperScript, "mariadbtest", s.dir, program("mariadbd")}, s.common()...)
	args = append(args, "--socket="+s.Socket(), "--skip-networking", "--pid-file="+s.dir+"/server.pid", "--tmpdir="+s.dir,
		"--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",
		"--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-use-native-aio=0", "--innodb-flush-method=fsync",
		"--skip-log-bin", "--performance-schema=0", "--innodb-lock-wait-timeout=20", "--max-connections=200")
	s.keeper = exec.Command("/bin/sh", args...)
	s.keeper.Dir = s.dir
	s.keeper.Stdin, s.keeper.Stdout, s.keeper.Stderr = r, log, log
	// Its own group: an interrupt from the keyboard is for the test process,
	// and the keeper must live to clean up.
	s.keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.keeper.Start(); err != nil {
		w.Close()
		return err
	}
	s.hold = w
	return s.wait()
}

// wait asks until the server answers.
func (s *Server) wait() error {
	db, err := s.open("")
	if err != nil {
		return err
	}
	defer db.Close()
	deadline := time.Now().Add(starting)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		err := db.PingContext(ctx)
		cancel()
		if err == nil {
			return nil
		}
		_, ended := os.Stat(s.dir + "/ended")
		if time.Now().After(deadline) || ended == nil {
			out, _ := os.ReadFile(s.dir + "/log")
			return fmt.Errorf("mariadbd does not answer: %w\n%s", err, tail(out))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// stop ends the server and removes its directory.
func (s *Server) stop() {
	if s.hold != nil {
		s.hold.Close()
		s.keeper.Wait()
	}
	os.RemoveAll(s.dir)
}

// Kill ends the server as a crash would. Restart brings it back.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(s.dir+"/keep", nil, 0o600); err != nil {
		t.Fatalf("mariadbtest: %v", err)
	}
	s.hold.Close()
	s.keeper.Wait()
	for _, name := range []string{"/keep", "/ended", "/pid"} {
		if err := os.Remove(s.dir + name); err != nil {
			t.Fatalf("mariadbtest: %v", err)
		}
	}
}

// Restart starts the server anew after Kill, on its old data and socket.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.run(); err != nil {
		t.Fatalf("mariadbtest: %v", err)
	}
}

// Socket is the path of the server's socket.
func (s *Server) Socket() string { return s.dir + "/socket" }

// DSN is the data source name of a database for the driver "mysql" of
// go-sql-driver/mysql. Each param is a session variable with its value as SQL,
// such as "sql_mode='ANSI'" (empty quotes for none), or an option of that driver.
func (s *Server) DSN(database string, params ...string) string {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.DBName = "unix", s.Socket(), "root", database
	dsn := c.FormatDSN()
	for i, p := range params {
		k, v, _ := strings.Cut(p, "=")
		sep := "&"
		if i == 0 && !strings.Contains(dsn, "?") {
			sep = "?"
		}
		dsn += sep + k + "=" + url.QueryEscape(v)
	}
	return dsn
}

// open is sql.Open without the driver's remarks on standard error.
func (s *Server) open(database string, params ...string) (*sql.DB, error) {
	c, err := mysql.ParseDSN(s.DSN(database, params...))
	if err != nil {
		return nil, err
	}
	c.Logger = &mysql.NopLogger{}
	conn, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(conn), nil
}

// NewDatabase makes an empty database that is dropped with the test, and
// returns its name.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	admin, err := s.open("")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	var n int
	if err := admin.QueryRow("select count(*) from information_schema.schemata").Scan(&n); err != nil {
		t.Fatal(err)
	}
	for {
		name := fmt.Sprintf("test%d", n)
		if _, err = admin.Exec("create database " + name); err == nil {
			t.Cleanup(func() { s.drop(name) })
			return name
		}
		var e *mysql.MySQLError
		if !errors.As(err, &e) || e.Number != 1007 { // exists
			t.Fatal(err)
		}
		n++
	}
}

// drop is best effort: the server may be gone by then.
func (s *Server) drop(name string) {
	admin, err := s.open("")
	if err != nil {
		return
	}
	defer admin.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	admin.ExecContext(ctx, "drop database if exists "+name)
}

// Open connects to a database. Params are as for DSN.
func (s *Server) Open(t testing.TB, database string, params ...string) *sql.DB {
	t.Helper()
	db, err := s.open(database, params...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Ping(); err != nil {
		t.Fatal(err)
	}
	return db
}

// Fresh is NewDatabase and Open.
func (s *Server) Fresh(t testing.TB, params ...string) *sql.DB {
	t.Helper()
	return s.Open(t, s.NewDatabase(t), params...)
}

// tail is the end of a program's messages.
func tail(b []byte) []byte {
	b = bytes.TrimSpace(b)
	if len(b) > 4000 {
		b = b[len(b)-4000:]
	}
	return b
}
