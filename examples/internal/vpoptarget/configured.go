//go:build unix

package vpoptarget

import (
	"strings"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/vpopmail"
)

// configureSwitches are those switches of vpopmail's configure that change
// what is stored, by the word behind --enable- or --disable-. Some are told by
// the accounts that are there; an installation without any, or that is all of
// them for others, has to be asked.
var configureSwitches = map[string]func(p *vpopmail.Profile, on bool){
	"auth-logging":    func(p *vpopmail.Profile, on bool) { p.AuthLogging = on },
	"clear-passwd":    func(p *vpopmail.Profile, on bool) { p.ClearPasswords = on },
	"learn-passwords": func(p *vpopmail.Profile, on bool) { p.LearnPasswords = on },
	"qmail-ext":       func(p *vpopmail.Profile, on bool) { p.AddressExtensions = on },
	"roaming-users":   func(p *vpopmail.Profile, on bool) { p.RoamingUsers = on },
	"sqwebmail-pass":  func(p *vpopmail.Profile, on bool) { p.SqwebmailPass = on },
	"users-big-dir":   func(p *vpopmail.Profile, on bool) { p.BigDir = on },
	"md5-passwords": func(p *vpopmail.Profile, on bool) {
		if p.Hash = vpopmail.HashDES; on {
			p.Hash = vpopmail.HashMD5
		}
	},
	"sha512-passwords": func(p *vpopmail.Profile, on bool) {
		if on {
			p.Hash = vpopmail.HashSHA512
		} else if p.Hash == vpopmail.HashSHA512 {
			p.Hash = vpopmail.HashMD5
		}
	},
}

const configuredUsage = "how vpopmail was configured where its files do not tell, `LIST` of auth-logging, clear-passwd, learn-passwords, " +
	"md5-passwords, qmail-ext, roaming-users, sha512-passwords, sqwebmail-pass, users-big-dir, each with no- before it where it is off"

// configure changes a profile to what -configured says.
func (f *Flags) configure(p *vpopmail.Profile) error {
	if f.Configured == "" {
		return nil
	}
	for word := range strings.SplitSeq(f.Configured, ",") {
		name, off := strings.CutPrefix(word, "no-")
		set := configureSwitches[name]
		if set == nil {
			return cli.Usagef("-configured: %q is no switch that is known", word)
		}
		set(p, !off)
	}
	return nil
}
