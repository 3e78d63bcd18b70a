//go:build unix

package vpopmailtest

import (
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/mariadbtest"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func noClear() vpopmail.Profile {
	p := vpopmail.DefaultProfile54()
	p.ClearPasswords, p.BigDir, p.NoPassword = false, false, false
	return p
}

func TestFiles(t *testing.T) {
	for name, p := range map[string]vpopmail.Profile{"5.4": vpopmail.DefaultProfile54(), "5.6": vpopmail.DefaultProfile56(), "flat": noClear()} {
		t.Run(name, func(t *testing.T) { Run(t, Config{Profile: p}) })
	}
}

// TestSQL runs the suite on both layouts and releases, on a server that is not
// strict and quotes otherwise, on an engine without transactions, and with
// placeholders filled in by the driver.
func TestSQL(t *testing.T) {
	one, all, each, p56 := vpopmail.DefaultProfile54(), vpopmail.DefaultProfile54(), vpopmail.DefaultProfile54(), vpopmail.DefaultProfile56()
	all.SQLAliases, all.SQLLimits, all.SQLLog = true, true, true
	each.TablePerDomain = true
	p56.SQLAliases, p56.SQLAliasDomains = true, true
	flat := noClear()
	flat.TablePerDomain, flat.SQLLimits = true, true
	long54 := qmailkit.Secret("$5$saltstring0123$" + strings.Repeat("x", 43))
	for _, c := range []struct {
		name   string
		p      vpopmail.Profile
		long   qmailkit.Secret
		params []string
	}{
		{"one table", one, long54, nil},
		{"all in tables", all, long54, []string{"interpolateParams=true"}},
		{"a table each", each, long54, nil},
		{"5.6", p56, "", nil},
		{"a table each, flat", flat, long54, nil},
		{"other quotes", all, long54, []string{"sql_mode='NO_BACKSLASH_ESCAPES,ANSI_QUOTES'", "interpolateParams=true"}},
		{"not strict", all, long54, []string{"sql_mode=''"}},
		{"latin1", one, long54, []string{"charset=latin1"}},
		{"MyISAM", all, long54, []string{"default_storage_engine=MyISAM", "sql_mode=''"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.name != "all in tables" {
				t.Skip("one of them is enough")
			}
			Run(t, Config{Profile: c.p, LongHash: c.long, Backend: func(t *testing.T) vpopmail.Backend {
				return vpopmail.NewSQL(mariadbtest.Start(t).Fresh(t, c.params...), nil)
			}})
		})
	}
}
