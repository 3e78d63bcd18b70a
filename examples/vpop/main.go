//go:build unix

// Vpop does the jobs of vpopmail's programs on vpopmail's files or in its
// database. vpopmail's own programs need not be there, and may run beside it.
//
//	vadddomain              adddomain
//	  -q -e -d -i -g -O -u    the same letters
//	  -r[LEN]                 -r[=LEN]
//	  password                standard input, -password-file, -hash-file, -locked
//	vaddaliasdomain         addalias
//	vdeldomain              deldomain
//	  -f                      the same letter
//	vadduser                adduser; any number of accounts: -batch
//	  -q -c                   the same letters
//	  -r[LEN]                 -r[=LEN]
//	  -e HASH                 -e FILE, -hash-file FILE
//	  -n                      -no-password
//	  -s                      not there: vadduser does not look at it either
//	  password                standard input, -password-file
//	vdeluser                deluser
//	vmoduser                moduser
//	  -q -c -D -x and flags   the same letters
//	  -e HASH, -C PASSWORD    -e FILE, -C FILE
//	  -n                      not there: an old vpasswd.cdb would go on counting
//	vpasswd, vchangepw      passwd, passwd -old
//	  -r                      -r[=LEN]
//	  -p                      not there: see -password-file
//	vsetuserquota           setquota
//	vuserinfo               userinfo
//	  -n -p -C -u -g -c -d    the same letters
//	  -q -Q -l -D
//	vdominfo                dominfo
//	  -n -u -g -d -t -r       the same letters
//	vchkpw                  check
//	valias                  alias
//	  -i -d -s                the same letters
//	  -n                      -names
//	vmoddomlimits           limits
//	  all                     the same letters
//	vipmap                  ipmap
//	  -a -d -p                the same letters
//	vmkpasswd               rebuild
//	vconvert                convert
//	  -c -m, -m -c            -to mysql, -to cdb
//	  -e -p                   see sendmail2vpopmail; adduser -batch
//
// verify, which looks for what is wrong with an installation, and commands, which
// prints a script of vpopmail's own programs, have no counterpart. A flag stands
// alone (-p -w, not -pw) and before the arguments. What vpopmail's programs print
// is printed byte for byte where it is their result; defects by which mail is lost
// or somebody is let in are left out (see package vpopmail). What an installation
// was configured for and no file tells is said with -configured.
package main

import (
	"context"
	"flag"
	"io"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
)

func main() { cli.Main(run) }

const long = `The jobs of vpopmail's programs, on its files or in its database. vpopmail's own
programs need not be there, and may run beside this one. Letters are theirs:

  vadddomain       adddomain    vmoduser        moduser     vdominfo        dominfo
  vaddaliasdomain  addalias     vpasswd         passwd      vchkpw          check
  vdeldomain       deldomain    vchangepw       passwd -old valias          alias
  vadduser         adduser      vsetuserquota   setquota    vmoddomlimits   limits
  vdeluser         deluser      vuserinfo       userinfo    vmkpasswd       rebuild
                                vipmap          ipmap       vconvert        convert

What is different:
  -n changes nothing and says what would be done; in userinfo and dominfo, which
     change nothing, it is the name. vadduser -n is -no-password, valias -n is
     -names, and vmoduser -n, which leaves an old vpasswd.cdb, is not there.
  -e and -C are followed by a FILE with a hash or a password, or by -: secrets
     are never arguments, which any user of the machine can read. A password for
     which no flag is given is the first line of standard input, asked for twice
     on a terminal. -r prints the password that it made, once.
  -secrets shows hashes and clear passwords, which else stand as [redacted].
  Flags stand alone, as -p -w, and before the arguments.

The database is named by -dsn, by the environment variable QMAILKIT_DSN, or by
vpopmail's own etc/vpopmail.mysql.`

func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := cli.App{
		Name: "vpop", Short: "the jobs of vpopmail's programs", Long: long,
		Commands: []*cli.Command{
			addDomainCommand(),
			delDomainCommand(),
			addAliasCommand(),
			addUserCommand(),
			delUserCommand(),
			modUserCommand(),
			passwdCommand(),
			setQuotaCommand(),
			userInfoCommand(),
			domInfoCommand(),
			checkCommand(),
			convertCommand(),
			aliasCommand(),
			limitsCommand(),
			rebuildCommand(),
			ipMapCommand(),
			verifyCommand(),
			commandsCommand(),
		},
		Common: func(fs *flag.FlagSet) { new(job).changes(fs) },
	}
	return app.Run(ctx, args, stdin, stdout, stderr)
}
