//go:build unix

package vpopmail

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

func TestSQLConfig(t *testing.T) {
	one := SQLServer{Host: "localhost", User: "vpopmail", Password: "se", Database: "mail"}
	port, socket := one, one
	port.Port, port.Host = 3307, "db.example.com"
	socket.Socket = "/run/mysqld/mysqld.sock"
	for _, c := range []struct {
		text         string
		read, update SQLServer
	}{
		{"localhost|0|vpopmail|se|mail\n", one, one},
		{"# read\n\nlocalhost|0|vpopmail|se|mail\n#update\ndb.example.com|3307|vpopmail|se|mail", one, port},
		{"localhost|/run/mysqld/mysqld.sock|vpopmail|se|mail|more|\nlocalhost|0|vpopmail|se|mail\nnot looked at\n", socket, one},
	} {
		got, err := ParseSQLConfig([]byte(c.text))
		if err != nil || got.Read != c.read || got.Update != c.update {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
	}
	for _, text := range []string{
		"", "#\n", "localhost|0|vpopmail|secret\n", "localhost||vpopmail|secret|mail\n", "localhost|0|vpopmail||secret\n",
		"localhost|x|vpopmail|secret|mail\n", "localhost|65536|vpopmail|secret|mail\n", "localhost|-1|vpopmail|secret|mail\n",
		"localhost|0|vpopmail|secret|" + strings.Repeat("m", 255) + "\n", "localhost|0|vpopmail|secret|ma\x00il\n",
		"localhost|0|vpopmail|secret|mail\nsecret\n",
	} {
		_, err := ParseSQLConfig([]byte(text))
		if !errors.Is(err, ErrSQLConfig) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestReadSQLConfig(t *testing.T) {
	h := newHost(t, DefaultProfile54(), controlBefore)
	if _, err := ReadSQLConfig(h.root("VPOPMAIL")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want fs.ErrNotExist", err)
	}
	h.write("VPOPMAIL/etc/vpopmail.mysql", "localhost|0|root|secret|vpopmail\n")
	c, err := ReadSQLConfig(h.root("VPOPMAIL"))
	if err != nil || c.Read.User != "root" || c.Update.Password != "secret" {
		t.Errorf("%+v, %v", c, err)
	}
	d, err := DetectProfile(h.root("VPOPMAIL"), h.root("QMAIL"))
	if err != nil || !d.SQL || len(d.Told) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	withDomain(t, h)
	if d, err = DetectProfile(h.root("VPOPMAIL"), h.root("QMAIL")); err != nil || d.SQL {
		t.Errorf("with a vpasswd: %+v, %v", d, err)
	}
}

func FuzzSQLConfig(f *testing.F) {
	for _, s := range []string{"localhost|0|root|secret|vpopmail\n", "#x\n\na|/s|c|d|e\nb|1|c|d|e\n", "a||b|c|d|e", "|||||", "\x00\n|"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseSQLConfig(b)
		if err != nil {
			if !errors.Is(err, ErrSQLConfig) {
				t.Fatal(err)
			}
			return
		}
		for _, s := range []SQLServer{c.Read, c.Update} {
			// Written down again it means the same.
			port := s.Socket
			if port == "" {
				port = "0"
				if s.Port != 0 {
					return
				}
			}
			line := strings.Join([]string{s.Host, port, s.User, string(s.Password), s.Database}, "|")
			if strings.HasPrefix(line, "#") {
				t.Fatalf("a comment is taken for a line: %q", b)
			}
			again, err := ParseSQLConfig([]byte(line + "\n"))
			if err != nil || again.Read != s {
				t.Fatalf("%q: %+v, %v; want %+v", line, again, err, s)
			}
		}
	})
}
