//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/vpopmail"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Short: "decide on a login as vchkpw does: 0 let in, 1 refused, 4 cannot tell",
		Long: `Standard input, or with -fd3 descriptor 3, holds what vchkpw gets: the address, the
password and the timestamp or challenge, a NUL behind each; or the same three,
one a line. The challenge may be missing. The service is that of -service, else
what vchkpw takes TCPLOCALPORT for, and the client's address TCPREMOTEIP.
-apop and -cram say what the challenge is for: POP and SMTP.

The exit code is 0 for a login that is let in, 1 for one that is refused, 4 for
one that cannot be judged, because its hash is of a kind that is not known here
or something could not be read. vchkpw's own status is "status" of -json.
Nothing is changed unless -record is given: then a login that is let in is noted
as vchkpw notes it.`,
		Setup: judging(changing("check", "vchkpw", func(fs *flag.FlagSet) work {
			c := &loginCheck{}
			fs.BoolVar(&c.fd3, "fd3", false, "read descriptor 3, as vchkpw does")
			fs.StringVar(&c.service, "service", "", "`pop|smtp|imap|webmail`: what the login is for")
			fs.StringVar(&c.ip, "ip", "", "`ADDRESS` of the client (default: TCPREMOTEIP, else REMOTE_HOST)")
			fs.BoolVar(&c.apop, "apop", false, "the challenge is APOP's: -service pop, and no login without one")
			fs.BoolVar(&c.cram, "cram", false, "the challenge is CRAM-MD5's: -service smtp, and no login without one")
			fs.BoolVar(&c.record, "record", false, "note a login that is let in: lastauth, open-smtp, a learnt password, a missing directory")
			return c.run
		})),
	}
}

// judging makes every failure of an action one that cannot tell: a login must
// not look refused because a directory could not be read.
func judging(setup func(*flag.FlagSet) cli.Action) func(*flag.FlagSet) cli.Action {
	return func(fs *flag.FlagSet) cli.Action {
		act := setup(fs)
		return func(ctx context.Context, env *cli.Env, args []string) error {
			err := act(ctx, env, args)
			if exit := (*cli.Exit)(nil); err != nil && !errors.As(err, &exit) {
				return &cli.Exit{Code: cli.CannotTell, Err: err}
			}
			return err
		}
	}
}

// loginCheck is a call of check.
type loginCheck struct {
	fd3, apop, cram, record bool
	service, ip             string
}

// services are those of -service.
var services = []vpopmail.Service{vpopmail.ServicePOP, vpopmail.ServiceSMTP, vpopmail.ServiceIMAP, vpopmail.ServiceWebmail}

// verdictRow is the answer for programs.
type verdictRow struct {
	Address jsonl.Bytes `json:"address"`
	Verdict string      `json:"verdict"` // accepted, refused, cannot tell
	Status  int         `json:"status"`  // vchkpw's
	Service string      `json:"service"`
	Method  string      `json:"method,omitempty"`
	Reason  jsonl.Bytes `json:"reason,omitempty"`
	Dir     jsonl.Bytes `json:"dir,omitempty"`
	Learnt  bool        `json:"learnt,omitempty"`
	// NewRelay says that tcp.smtp.cdb has to be made anew.
	NewRelay bool `json:"new_relay,omitempty"`
}

func (c *loginCheck) run(ctx context.Context, j *job, _ []string) error {
	a, err := c.attempt(j)
	if err != nil {
		return err
	}
	if a.Challenge == "" && (c.apop || c.cram) {
		return cli.Usagef("the challenge is missing: it is the third field")
	}
	// A password where a challenge was to be answered is refused here, so it is
	// not noted before that is known.
	record, asked := c.record && !j.plan, c.apop || c.cram
	v, err := j.store.Login(ctx, a, &vpopmail.LoginOptions{Record: record && !asked})
	if (c.apop && v.Method != vpopmail.MethodAPOP || c.cram && v.Method != vpopmail.MethodCRAM) && v.Status == vpopmail.LoginOK {
		v = vpopmail.Verdict{Status: vpopmail.LoginFailed, Name: v.Name, Service: v.Service, Reason: "not the answer to the challenge"}
	}
	if record && asked && err == nil && v.Status == vpopmail.LoginOK {
		v, err = j.store.Login(ctx, a, &vpopmail.LoginOptions{Record: true})
	}
	r := verdictRow{
		Address: jsonl.Bytes(v.Name), Status: int(v.Status), Service: v.Service.String(), Method: v.Method, Reason: jsonl.Bytes(v.Reason),
		Dir: jsonl.Bytes(v.User.Dir), Learnt: v.Learnt, NewRelay: v.NewRelay,
	}
	var exit error
	switch v.Status {
	case vpopmail.LoginOK:
		r.Verdict = "accepted"
	case vpopmail.LoginCannotTell:
		r.Verdict = "cannot tell"
		exit = &cli.Exit{Code: cli.CannotTell}
	default:
		r.Verdict = "refused"
		exit = &cli.Exit{Code: cli.Stopped}
	}
	words := fmt.Sprintf("%s: %s (%s): %v", cli.Name(v.Name), r.Verdict, r.Service, v.Status)
	if v.Reason != "" {
		words += ": " + cli.Name(v.Reason)
	}
	j.env.Printf("%s\n", words)
	if j.json {
		if err := j.enc.Encode(r); err != nil {
			return err
		}
	}
	if err != nil && v.Status == vpopmail.LoginOK {
		// It is let in; something of it could not be noted.
		j.env.Printf("%s: %v\n", cli.Name(v.Name), err)
		return nil
	}
	if err != nil {
		return &cli.Exit{Code: cli.CannotTell, Err: err}
	}
	return exit
}

// attempt is the login that the input and the flags speak of.
func (c *loginCheck) attempt(j *job) (vpopmail.Attempt, error) {
	var none vpopmail.Attempt
	cred, err := c.credentials(j)
	if err != nil {
		return none, err
	}
	a := vpopmail.NewAttempt(cred, "", os.LookupEnv)
	if c.ip != "" {
		a.ClientIP = vpopmail.CleanIP(c.ip)
	}
	word := c.service
	for _, m := range []struct {
		given bool
		word  string
	}{{c.apop, "pop"}, {c.cram, "smtp"}} {
		if m.given && word != "" && word != m.word {
			return none, cli.Usagef("-apop is for POP, -cram for SMTP")
		}
		if m.given {
			word = m.word
		}
	}
	if word == "" {
		return a, nil
	}
	i := slices.IndexFunc(services, func(s vpopmail.Service) bool { return s.String() == word })
	if i < 0 {
		return none, cli.Usagef("-service %q is none of pop, smtp, imap, webmail", word)
	}
	a.Service = services[i]
	return a, nil
}

func (c *loginCheck) credentials(j *job) (vpopmail.Credentials, error) {
	in := j.env.Stdin
	if c.fd3 {
		f := os.NewFile(3, "descriptor 3")
		if f == nil {
			return vpopmail.Credentials{}, cli.Usagef("-fd3: descriptor 3 is not open")
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxEntry))
	if err != nil {
		return vpopmail.Credentials{}, err
	}
	if !slices.Contains(b, 0) {
		f := append(strings.SplitN(strings.TrimSuffix(string(b), "\n"), "\n", 4), "", "")
		if len(f) > 5 {
			return vpopmail.Credentials{}, cli.Usagef("more than three lines")
		}
		return vpopmail.Credentials{Name: f[0], Password: qmailkit.Secret(f[1]), Challenge: f[2]}, nil
	}
	cred, err := vpopmail.ParseCredentials(b)
	if errors.Is(err, vpopmail.ErrTooLong) {
		return cred, cli.Usagef("%w", err)
	}
	return cred, err
}
