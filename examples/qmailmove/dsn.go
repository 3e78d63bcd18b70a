//go:build unix

package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/vpoptarget"
	"github.com/qmailkit/qmailkit/plesk"
)

// psaFlags say where one host's psa is.
type psaFlags struct {
	side         string // "source" or "target"
	db, dump     string
	passwordFile string
	keyFile      string
}

func (p *psaFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&p.db, p.side+"-db", "", fmt.Sprintf("`DSN` of the %s's psa: USER@unix(/SOCKET)/psa or USER@tcp(HOST:PORT)/psa, or @FILE whose first line it is (default: the environment variable %s)", p.side, p.variable()))
	fs.StringVar(&p.passwordFile, p.side+"-db-password", "", "`FILE` whose first line is the password for it")
	fs.StringVar(&p.dump, p.side+"-dump", "", fmt.Sprintf("`FILE` that mysqldump or mariadb-dump wrote of the %s's psa, in place of a database", p.side))
	name := "secret-key"
	if p.side == "target" {
		name = "target-secret-key"
	}
	fs.StringVar(&p.keyFile, name, "", fmt.Sprintf("`FILE` with the %s's key, /etc/psa/private/secret_key", p.side))
}

// variable is the environment variable that may hold the data source name.
func (p *psaFlags) variable() string {
	return "QMAILKIT_" + strings.ToUpper(p.side) + "_DSN"
}

// given says whether there is a psa to read.
func (p *psaFlags) given() bool { return p.db != "" || p.dump != "" || os.Getenv(p.variable()) != "" }

func (p *psaFlags) check() error {
	if p.db != "" && p.dump != "" {
		return cli.Usagef("-%s-db and -%s-dump exclude each other", p.side, p.side)
	}
	if p.db == "" || strings.HasPrefix(p.db, "@") {
		return nil
	}
	c, err := parseDSN(p.db)
	if err == nil && c.Passwd != "" {
		err = fmt.Errorf("the password stands in it, where every user of this machine can read it: use @FILE, -%s-db-password FILE or the environment variable %s", p.side, p.variable())
	}
	if err != nil {
		return cli.Usagef("-%s-db: %w", p.side, err)
	}
	return nil
}

// parseDSN takes a data source name. Its errors never show it, because a
// password may be in it.
func parseDSN(text string) (*mysql.Config, error) {
	c, err := mysql.ParseDSN(text)
	switch {
	case err != nil:
		return nil, errors.New("not USER@unix(/SOCKET)/DATABASE or USER@tcp(HOST:PORT)/DATABASE")
	case c.DBName == "":
		return nil, errors.New("the name of the database is missing behind the slash")
	}
	return c, nil
}

// connect opens the database; nil where none is named.
func (p *psaFlags) connect(ctx context.Context) (*sql.DB, error) {
	text := p.db
	if path, ok := strings.CutPrefix(text, "@"); ok {
		line, err := vpoptarget.FirstLine(path)
		if err != nil {
			return nil, fmt.Errorf("-%s-db @FILE: %w", p.side, err)
		}
		text = string(line)
	} else if text == "" && p.dump == "" {
		text = os.Getenv(p.variable())
	}
	if text == "" {
		return nil, nil
	}
	c, err := parseDSN(text)
	if err != nil {
		return nil, fmt.Errorf("the %s's data source name: %w", p.side, err)
	}
	if p.passwordFile != "" {
		pw, err := vpoptarget.FirstLine(p.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("-%s-db-password: %w", p.side, err)
		}
		c.Passwd = string(pw)
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("the %s's psa: %w", p.side, err)
	}
	return db, nil
}

// read reads psa; nil where none is named.
func (p *psaFlags) read(ctx context.Context) (*plesk.Server, error) {
	if p.dump != "" {
		f, err := os.Open(p.dump)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		s, err := plesk.ReadDump(ctx, f, &plesk.Options{Name: p.dump})
		if err != nil {
			return nil, fmt.Errorf("the %s's psa: %w", p.side, err)
		}
		return s, nil
	}
	db, err := p.connect(ctx)
	if db == nil || err != nil {
		return nil, err
	}
	defer db.Close()
	s, err := plesk.ReadDB(ctx, db, nil)
	if err != nil {
		return nil, fmt.Errorf("the %s's psa: %w", p.side, err)
	}
	return s, nil
}

// key reads the host's secret key; nil where none is named.
func (p *psaFlags) key() (*plesk.SecretKey, error) {
	if p.keyFile == "" {
		return nil, nil
	}
	b, err := os.ReadFile(p.keyFile)
	if err != nil {
		return nil, fmt.Errorf("the %s's secret key: %w", p.side, err)
	}
	k, err := plesk.NewSecretKey(b)
	if err != nil {
		return nil, fmt.Errorf("the %s's secret key, %s: %w", p.side, p.keyFile, err)
	}
	return k, nil
}
