//go:build unix

package vpoptarget

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit/vpopmail"
)

// TestConfigured names switches on the command line, each alone and some
// together, for an installation that tells nothing itself.
func TestConfigured(t *testing.T) {
	for list, want := range map[string]func(p *vpopmail.Profile){
		"no-auth-logging":  func(p *vpopmail.Profile) { p.AuthLogging = false },
		"no-clear-passwd":  func(p *vpopmail.Profile) { p.ClearPasswords = false },
		"learn-passwords":  func(p *vpopmail.Profile) { p.LearnPasswords = true },
		"qmail-ext":        func(p *vpopmail.Profile) { p.AddressExtensions = true },
		"roaming-users":    func(p *vpopmail.Profile) { p.RoamingUsers = true },
		"sqwebmail-pass":   func(p *vpopmail.Profile) { p.SqwebmailPass = true },
		"no-users-big-dir": func(p *vpopmail.Profile) { p.BigDir = false },
		"sha512-passwords": func(p *vpopmail.Profile) { p.Hash = vpopmail.HashSHA512 },
		// 5.4 has no sha512-passwords: off is what it is already.
		"no-sha512-passwords": func(*vpopmail.Profile) {},
		"no-clear-passwd,no-md5-passwords": func(p *vpopmail.Profile) {
			p.ClearPasswords, p.Hash = false, vpopmail.HashDES
		},
	} {
		f := site(t, "-configured", list)
		o := open(t, f, Options{}).Store.Profile()
		p := vpopmail.DefaultProfile54()
		p.Home = f.Home
		want(&p)
		if diff := cmp.Diff(p, o); diff != "" {
			t.Errorf("%s: want - got +:\n%s", list, diff)
		}
		if planned, there, err := f.Plan(t.Context()); err != nil || !there || planned != p {
			t.Errorf("%s: the plan has %+v, %v", list, planned, err)
		}
	}
	f := site(t, "-profile", "5.6", "-configured", "clear-passwd,no-sha512-passwords")
	if p := open(t, f, Options{}).Store.Profile(); !p.ClearPasswords || p.Hash != vpopmail.HashMD5 {
		t.Errorf("5.6: %+v", p)
	}
}
