//go:build unix

package vpopmail

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// sqlConfigName is the file in vpopmail's etc that says where the database is.
const sqlConfigName = "vpopmail.mysql"

// sqlConfigLine is the longest line, with its LF, that vpopmail reads in one
// piece (vmysql.c:load_connection_info).
const sqlConfigLine = 255

// ErrSQLConfig says that a line of etc/vpopmail.mysql cannot be read.
var ErrSQLConfig = errors.New("not a line of vpopmail.mysql")

// An SQLServer is one line of etc/vpopmail.mysql: host|port|user|password|database.
type SQLServer struct {
	Host string
	// Port is 0 for the default. Where the field is a path, Port is 0 and
	// Socket is that path.
	Port     int
	Socket   string
	User     string
	Password qmailkit.Secret
	Database string
}

// SQLConfig is what etc/vpopmail.mysql says: where vpopmail reads, and where it
// writes. An installation without replication has one line, for both.
type SQLConfig struct {
	Read, Update SQLServer
}

// ReadSQLConfig reads etc/vpopmail.mysql below vpopmail's home. A missing file
// is fs.ErrNotExist.
func ReadSQLConfig(home *os.Root) (SQLConfig, error) {
	etc, err := safefs.OpenDir(home, "etc", nil)
	if err != nil {
		return SQLConfig{}, err
	}
	defer etc.Close()
	b, ok, err := readFile(etc, sqlConfigName)
	if err == nil && !ok {
		err = &fs.PathError{Op: "open", Path: "etc/" + sqlConfigName, Err: fs.ErrNotExist}
	}
	if err != nil {
		return SQLConfig{}, err
	}
	return ParseSQLConfig(b)
}

// ParseSQLConfig reads the content of etc/vpopmail.mysql as vpopmail does
// (vmysql.c:load_connection_info): empty lines and those that begin with '#'
// are passed over, the first other line is for reading, the second for
// updates; without a second the first is for both, and further ones are not
// looked at. vpopmail takes the fields apart with strtok(3), to which an empty
// field does not exist: such a line is refused here with ErrSQLConfig and its
// number, as is one of more than 255 bytes, which vpopmail cuts.
func ParseSQLConfig(b []byte) (SQLConfig, error) {
	var found []SQLServer
	n := 0
	for line := range bytes.Lines(b) {
		n++
		if line[0] == '#' || line[0] == '\n' {
			continue
		}
		s, err := parseSQLServer(line)
		if err != nil {
			return SQLConfig{}, fmt.Errorf("%s: line %d: %w", sqlConfigName, n, err)
		}
		if found = append(found, s); len(found) == 2 {
			break
		}
	}
	switch len(found) {
	case 0:
		return SQLConfig{}, fmt.Errorf("%s: %w: there is none", sqlConfigName, ErrSQLConfig)
	case 1:
		found = append(found, found[0])
	}
	return SQLConfig{Read: found[0], Update: found[1]}, nil
}

// parseSQLServer reads one line. The words of an error never hold its text: it
// has the password.
func parseSQLServer(line []byte) (SQLServer, error) {
	var s SQLServer
	fail := func(why string) (SQLServer, error) { return s, fmt.Errorf("%w: %s", ErrSQLConfig, why) }
	if len(line) > sqlConfigLine {
		return fail(fmt.Sprintf("%d bytes, vpopmail reads %d", len(line), sqlConfigLine))
	}
	text := strings.TrimSuffix(string(line), "\n")
	if strings.IndexByte(text, 0) >= 0 {
		return fail("NUL")
	}
	f := strings.Split(text, "|")
	if len(f) < 5 {
		return fail(fmt.Sprintf("%d fields of 5", len(f)))
	}
	for i, word := range f[:5] {
		if word == "" {
			return fail(fmt.Sprintf("field %d is empty, and vpopmail would take the next for it", i+1))
		}
	}
	s = SQLServer{Host: f[0], User: f[2], Password: qmailkit.Secret(f[3]), Database: f[4]}
	if strings.HasPrefix(f[1], "/") {
		s.Socket = f[1]
		return s, nil
	}
	port, err := strconv.ParseUint(f[1], 10, 16)
	if err != nil {
		return fail("the port is neither a number up to 65535 nor the path of a socket")
	}
	s.Port = int(port)
	return s, nil
}
