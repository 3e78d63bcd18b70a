//go:build unix

package vpopmail_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/go-sql-driver/mysql"

	"github.com/qmailkit/qmailkit/vpopmail"
)

// An installation with a database says where that is. The library takes any
// *sql.DB; this is how one is opened with the driver of go-sql-driver/mysql.
func ExampleReadSQLConfig() {
	home, err := os.OpenRoot("/home/vpopmail")
	if err != nil {
		fmt.Println("no vpopmail here")
		return
	}
	defer home.Close()
	c, err := vpopmail.ReadSQLConfig(home)
	if err != nil {
		log.Fatal(err)
	}
	db, err := openSQL(c.Update)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store, err := openWithSQL(context.Background(), "/home/vpopmail", "/var/qmail", db)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Profile().TablePerDomain)
}

// openSQL connects as vpopmail does.
func openSQL(s vpopmail.SQLServer) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = s.User, string(s.Password), s.Database
	switch {
	case s.Socket != "":
		c.Net, c.Addr = "unix", s.Socket
	case s.Port != 0:
		c.Net, c.Addr = "tcp", s.Host+":"+strconv.Itoa(s.Port)
	default:
		c.Net, c.Addr = "tcp", s.Host
	}
	conn, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(conn), nil
}

// openWithSQL lets the files and then the tables say what the installation is.
func openWithSQL(ctx context.Context, home, qmail string, db *sql.DB) (*vpopmail.Store, error) {
	homeRoot, err := os.OpenRoot(home)
	if err != nil {
		return nil, err
	}
	qmailRoot, err := os.OpenRoot(qmail)
	if err != nil {
		return nil, err
	}
	d, err := vpopmail.DetectProfile(homeRoot, qmailRoot)
	if err != nil {
		return nil, err
	}
	backend := vpopmail.NewSQL(db, nil)
	if err := backend.Detect(ctx, d); err != nil {
		return nil, err
	}
	return vpopmail.Open(homeRoot, qmailRoot, &vpopmail.Options{Profile: &d.Profile, Backend: backend})
}

// Where the database is, as vpopmail reads it.
func ExampleParseSQLConfig() {
	c, err := vpopmail.ParseSQLConfig([]byte("# read|update\nlocalhost|/run/mysqld/mysqld.sock|vpopmail|secret|mail\n"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Update.Socket, c.Update.User, c.Update.Password, c.Update.Database)
	// Output:
	// /run/mysqld/mysqld.sock vpopmail [redacted] mail
}

// All domains of an installation move from their vpasswd files into its
// database. Run again it writes nothing.
func ExampleStore_Convert() {
	var files, tables *vpopmail.Store // two Stores of one installation: see ExampleReadSQLConfig
	if files == nil {
		return
	}
	o := &vpopmail.ConvertOptions{Aliases: true, Limits: true}
	for c, err := range files.Convert(context.Background(), tables, o) {
		if err != nil {
			log.Print(err) // names the accounts that do not fit; the domain is as it was
			continue
		}
		fmt.Println(c.Domain.Name, c.Users, c.Written)
	}
}
