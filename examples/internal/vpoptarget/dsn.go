//go:build unix

package vpoptarget

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
)

// DSNVariable is the environment variable that may hold the data source name.
const DSNVariable = "QMAILKIT_DSN"

// maxSecret bounds a file that holds one line.
const maxSecret = 64 << 10

// FirstLine reads the first line of a file: a secret that may not stand among
// the arguments.
func FirstLine(path string) (qmailkit.Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		// Whoever gives the secret itself by mistake should not read it again.
		return "", errors.Unwrap(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", errors.Unwrap(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	switch {
	case len(line) > maxSecret:
		return "", errors.New("its first line is too long")
	case line == "":
		return "", errors.New("its first line is empty")
	}
	return qmailkit.Secret(line), nil
}

// errPassword refuses a secret among the arguments, which any user of the
// machine can read.
var errPassword = fmt.Errorf("the password stands in it, where every user of this machine can read it: "+
	"use -dsn @FILE, -dsn-password FILE or the environment variable %s", DSNVariable)

// parseDSN takes a data source name as go-sql-driver writes it,
// USER@unix(/SOCKET)/DATABASE or USER@tcp(HOST:PORT)/DATABASE. Its errors never
// show it, because a password may be in it.
func parseDSN(dsn string) (*mysql.Config, error) {
	c, err := mysql.ParseDSN(dsn)
	switch {
	case err != nil:
		return nil, errors.New("not USER@unix(/SOCKET)/DATABASE or USER@tcp(HOST:PORT)/DATABASE")
	case c.DBName == "":
		return nil, errors.New("the name of the database is missing behind the slash")
	}
	return c, nil
}

// argument takes the -dsn of the command line apart. A nil Config says that it
// names none, or a file.
func (s *sqlFlags) argument() (*mysql.Config, error) {
	if s.dsn == "" || strings.HasPrefix(s.dsn, "@") {
		return nil, nil
	}
	c, err := parseDSN(s.dsn)
	if err == nil && c.Passwd != "" {
		err = errPassword
	}
	if err != nil {
		return nil, cli.Usagef("-dsn: %w", err)
	}
	return c, nil
}

// config is the data source that flags and environment name; nil is none.
func (s *sqlFlags) config(getenv func(string) string) (*mysql.Config, error) {
	c, err := s.argument()
	if err != nil {
		return nil, err
	}
	from, text := "", ""
	if path, ok := strings.CutPrefix(s.dsn, "@"); ok {
		line, err := FirstLine(path)
		if err != nil {
			return nil, fmt.Errorf("-dsn @FILE: %w", err)
		}
		from, text = "-dsn @FILE", string(line)
	} else if s.dsn == "" {
		from, text = DSNVariable, getenv(DSNVariable)
	}
	if c == nil && text != "" {
		if c, err = parseDSN(text); err != nil {
			return nil, fmt.Errorf("%s: %w", from, err)
		}
	}
	if c != nil && s.passwordFile != "" {
		pw, err := FirstLine(s.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("-dsn-password: %w", err)
		}
		c.Passwd = string(pw)
	}
	return c, nil
}
