//go:build unix

package vpoptarget

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// hush is the secret of these tests: no error may hold it.
const hush = "h0Sh-h0Sh"

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDataSource(t *testing.T) {
	withPassword := write(t, "dsn", "vp:"+hush+"@tcp(db.example.com:3307)/mail\nignored\n")
	bad := write(t, "bad", "vp:"+hush+"@nowhere\n")
	pw := write(t, "pw", hush+"\n")
	for _, tc := range []struct {
		name  string
		flags sqlFlags
		env   string
		want  string // as the driver writes it; empty: no data source
		code  int    // of the error
		words string // in the error
	}{
		{name: "none"},
		{name: "socket", flags: sqlFlags{dsn: "vp@unix(/run/s)/mail"}, want: "vp@unix(/run/s)/mail"},
		{name: "password in a file", flags: sqlFlags{dsn: "vp@unix(/run/s)/mail", passwordFile: pw}, want: "vp:" + hush + "@unix(/run/s)/mail"},
		{name: "all in a file", flags: sqlFlags{dsn: "@" + withPassword}, want: "vp:" + hush + "@tcp(db.example.com:3307)/mail"},
		{name: "environment", env: "vp:" + hush + "@unix(/run/s)/mail", want: "vp:" + hush + "@unix(/run/s)/mail"},
		{name: "argument before environment", flags: sqlFlags{dsn: "a@unix(/s)/b"}, env: "vp:x@unix(/run/s)/mail", want: "a@unix(/s)/b"},
		{name: "password as an argument", flags: sqlFlags{dsn: "vp:" + hush + "@unix(/run/s)/mail"}, code: cli.Usage, words: "the password stands in it"},
		{name: "not a source", flags: sqlFlags{dsn: "vp:" + hush + "@mail"}, code: cli.Usage, words: "-dsn: not USER@unix"},
		{name: "no database", flags: sqlFlags{dsn: "vp@unix(/run/s)/"}, code: cli.Usage, words: "name of the database is missing"},
		{name: "bad in a file", flags: sqlFlags{dsn: "@" + bad}, code: cli.Stopped, words: "-dsn @FILE: not USER@unix"},
		{name: "bad in the environment", env: hush, code: cli.Stopped, words: DSNVariable + ": not USER@unix"},
		{name: "missing file", flags: sqlFlags{dsn: "@" + hush}, code: cli.Stopped, words: "-dsn @FILE: no such file"},
		{name: "missing password file", flags: sqlFlags{dsn: "vp@unix(/s)/m", passwordFile: "/nowhere/" + hush}, code: cli.Stopped, words: "-dsn-password: no such file"},
		{name: "empty password file", flags: sqlFlags{dsn: "vp@unix(/s)/m", passwordFile: write(t, "e", "\nx\n")}, code: cli.Stopped, words: "first line is empty"},
		{name: "long password file", flags: sqlFlags{dsn: "vp@unix(/s)/m", passwordFile: write(t, "l", strings.Repeat("x", maxSecret+1))}, code: cli.Stopped, words: "first line is too long"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := tc.flags.config(func(string) string { return tc.env })
			if cli.Code(err) != tc.code {
				t.Fatalf("exit code %d, want %d: %v", cli.Code(err), tc.code, err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), tc.words) || strings.Contains(err.Error(), hush) {
					t.Errorf("error %q, want %q and no secret", err, tc.words)
				}
				return
			}
			got := ""
			if c != nil {
				got = c.FormatDSN()
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestServerConfig(t *testing.T) {
	t.Setenv("MYSQL_UNIX_PORT", "/given/socket")
	for _, tc := range []struct{ line, want string }{
		{"localhost|0|vp|" + hush + "|mail", "vp:" + hush + "@unix(/given/socket)/mail"},
		{"db.example.com|0|vp|" + hush + "|mail", "vp:" + hush + "@tcp(db.example.com:3306)/mail"},
		{"db.example.com|3307|vp|" + hush + "|mail", "vp:" + hush + "@tcp(db.example.com:3307)/mail"},
		{"2001:db8::1|0|vp|" + hush + "|mail", "vp:" + hush + "@tcp([2001:db8::1]:3306)/mail"},
		{"localhost|/run/s|vp|" + hush + "|mail", "vp:" + hush + "@unix(/run/s)/mail"},
	} {
		c, err := vpopmail.ParseSQLConfig([]byte(tc.line + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := serverConfig(&c.Update).FormatDSN(); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.line, got, tc.want)
		}
	}
}

func TestCharacterSet(t *testing.T) {
	for dsn, want := range map[string]string{
		"vp@unix(/s)/m":                 "charset=latin1",
		"vp@unix(/s)/m?charset=utf8mb4": "charset=utf8mb4",
	} {
		c, err := parseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		c, err = settle(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.FormatDSN(); !strings.Contains(got, want) {
			t.Errorf("%s became %s, which lacks %s", dsn, got, want)
		}
	}
}
