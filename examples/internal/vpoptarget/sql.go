//go:build unix

package vpoptarget

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// sqlFlags say where the accounts are.
type sqlFlags struct {
	backend      string
	dsn          string
	passwordFile string
	tables       string
}

// The backends.
const (
	Files = "cdb"   // vpasswd and vpasswd.cdb
	SQL   = "mysql" // tables

	auto = "auto"
)

func (s *sqlFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&s.backend, "backend", auto, "where the accounts are: `auto|cdb|mysql`; auto is mysql with -dsn, or where etc/vpopmail.mysql is and no domain has a vpasswd, else cdb")
	fs.StringVar(&s.dsn, "dsn", "", "`DSN` of the database without its password, USER@unix(/SOCKET)/DATABASE or USER@tcp(HOST:PORT)/DATABASE; @FILE reads it from a file; default: the environment variable "+DSNVariable+", else etc/vpopmail.mysql")
	fs.StringVar(&s.passwordFile, "dsn-password", "", "`FILE` whose first line is the database's password")
	fs.StringVar(&s.tables, "sql-tables", auto, "how vpopmail was configured, `LIST` of per-domain, valias, limits, vlog, aliasdomains, or none; auto looks which tables there are")
}

func (s *sqlFlags) check() error {
	switch s.backend {
	case "", auto, Files, SQL:
	default:
		return cli.Usagef("-backend %q is none of auto, cdb, mysql", s.backend)
	}
	if s.backend == Files && (s.dsn != "" || s.passwordFile != "") {
		return cli.Usagef("-backend cdb has no -dsn")
	}
	if _, err := s.listed(); err != nil {
		return err
	}
	_, err := s.argument()
	return err
}

// listed is the list of -sql-tables; nil is auto.
func (s *sqlFlags) listed() ([]string, error) {
	switch s.tables {
	case "", auto:
		return nil, nil
	case "none":
		return []string{}, nil
	}
	list := strings.Split(s.tables, ",")
	for _, w := range list {
		if !slices.Contains([]string{"per-domain", "valias", "limits", "vlog", "aliasdomains"}, w) {
			return nil, cli.Usagef("-sql-tables: %q is none of per-domain, valias, limits, vlog, aliasdomains", w)
		}
	}
	return list, nil
}

// connect connects to the database; nil is the file form. What is known of the
// installation grows by what the tables tell.
func (s *sqlFlags) connect(ctx context.Context, home *os.Root, d *vpopmail.Detection) (*sql.DB, error) {
	conf, err := s.source(home, d)
	if conf == nil || err != nil {
		return nil, err
	}
	conf, err = settle(conf)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(conf)
	if err != nil {
		return nil, fmt.Errorf("database %s: %w", conf.DBName, err)
	}
	db := sql.OpenDB(connector)
	db.SetConnMaxIdleTime(time.Minute)
	if err = db.PingContext(ctx); err == nil {
		err = s.learn(ctx, db, d)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", conf.DBName, err), db.Close())
	}
	return db, nil
}

// learn brings the profile to what the database, or -sql-tables, says.
func (s *sqlFlags) learn(ctx context.Context, db *sql.DB, d *vpopmail.Detection) error {
	if err := vpopmail.NewSQL(db, nil).Detect(ctx, d); err != nil {
		return err
	}
	p := &d.Profile
	if list, err := s.listed(); err != nil {
		return err
	} else if list != nil {
		for word, to := range map[string]*bool{
			"per-domain": &p.TablePerDomain, "valias": &p.SQLAliases, "limits": &p.SQLLimits, "vlog": &p.SQLLog, "aliasdomains": &p.SQLAliasDomains,
		} {
			*to = slices.Contains(list, word)
		}
	}
	if !told(d, "layout") && p.Release == vpopmail.Release54 {
		// The table that the first domain makes has columns of these widths
		// (vmysql.h), which are less than what a vpasswd holds.
		p.MaxHash, p.MaxClear = min(p.MaxHash, 40), min(p.MaxClear, 16)
	}
	return nil
}

// settle decides what the data source leaves open. The character set is that of
// the client library that vpopmail is linked with, in which each byte is a
// character, so that no byte is refused or changed.
func settle(conf *mysql.Config) (*mysql.Config, error) {
	conf = conf.Clone()
	conf.Logger = &mysql.NopLogger{} // what it would log, it returns as well
	if text := conf.FormatDSN(); strings.Contains(text, "charset=") || strings.Contains(text, "collation=") {
		return conf, nil
	}
	return conf, conf.Apply(mysql.Charset("latin1", ""))
}

// source finds the data source; nil is the file form.
func (s *sqlFlags) source(home *os.Root, d *vpopmail.Detection) (*mysql.Config, error) {
	if s.backend == Files {
		return nil, nil
	}
	conf, err := s.config(os.Getenv)
	if err != nil || conf != nil {
		return conf, err
	}
	if s.backend != SQL && !d.SQL {
		return nil, nil
	}
	c, err := vpopmail.ReadSQLConfig(home)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cli.Usagef("-backend mysql: neither -dsn nor %s nor etc/vpopmail.mysql says where the database is", DSNVariable)
	}
	if err != nil {
		return nil, err
	}
	conf = serverConfig(&c.Update)
	if s.passwordFile != "" {
		pw, err := FirstLine(s.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("-dsn-password: %w", err)
		}
		conf.Passwd = string(pw)
	}
	return conf, nil
}

// serverConfig is the data source that a line of etc/vpopmail.mysql means.
func serverConfig(c *vpopmail.SQLServer) *mysql.Config {
	conf := mysql.NewConfig()
	conf.User, conf.Passwd, conf.DBName = c.User, string(c.Password), c.Database
	port := c.Port
	if port == 0 {
		port = 3306
	}
	switch {
	case c.Socket != "":
		conf.Net, conf.Addr = "unix", c.Socket
	case c.Host == "localhost":
		// The client library takes the socket for this name, whatever the port.
		conf.Net, conf.Addr = "unix", socket(os.Getenv("MYSQL_UNIX_PORT"))
	default:
		conf.Net, conf.Addr = "tcp", net.JoinHostPort(c.Host, strconv.Itoa(port))
	}
	return conf
}

// sockets are where servers listen: Debian's, Red Hat's, as built by default.
var sockets = [...]string{"/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock", "/tmp/mysql.sock"}

// socket is the one that is told, or the first that there is.
func socket(given string) string {
	if given != "" {
		return given
	}
	for _, s := range sockets {
		if fi, err := os.Stat(s); err == nil && fi.Mode().Type() == fs.ModeSocket {
			return s
		}
	}
	return sockets[0]
}
