//go:build unix

package vpopmail

import (
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A result is what a command of the real programs came to here. ClassicStatus
// turns err into status and words; rc and stdout are what a program says of its
// own accord.
type result struct {
	rc       int
	stdout   string
	problems []qmailkit.Problem
	err      error
}

// program returns the function that does a real program's job with this
// package, nil if there is none. Each takes a whole command line apart, asks
// h.store for a Store, and makes its calls.
func program(name string) func(h *host, st *step) result {
	switch name {
	case "vadddomain":
		return (*host).vadddomain
	case "vaddaliasdomain":
		return (*host).vaddaliasdomain
	case "vadduser":
		return (*host).vadduser
	}
	for _, more := range []func(string) func(*host, *step) result{userProgram, domainProgram} {
		if run := more(name); run != nil {
			return run
		}
	}
	return nil
}

// carryOut runs one command of the real programs and returns what it said; the
// status and the words for an error are in rc and stdout too.
func (h *host) carryOut(st *step) result {
	h.t.Helper()
	run := program(st.Argv[0])
	if run == nil {
		h.t.Fatalf("step %d: %s", st.N, st.Argv[0])
	}
	res := run(h, st)
	if res.err != nil {
		var out string
		res.rc, out = ClassicStatus(st.Argv[0], res.err)
		res.stdout += out
	}
	return res
}

// store opens the Store for a step. New hashes get the salt that the step gave
// to the user, because the real programs' own is random.
func (h *host) store(st *step, user string) *Store {
	h.opts.Salt = func(n int) string {
		if salt := goldenSalt(st, user); salt != "" {
			return salt
		}
		return strings.Repeat("x", n)
	}
	return h.open()
}

// getopt takes options apart; those in with have an argument. What stands
// behind the first word that is no option is an argument of the program.
func getopt(argv []string, with string) (opt map[string]string, args []string) {
	opt = map[string]string{}
	for len(argv) > 0 && strings.HasPrefix(argv[0], "-") && argv[0] != "-" {
		a := argv[0]
		argv = argv[1:]
		if a == "--" {
			break
		}
		if strings.Contains(with, a[1:2]) && len(argv) > 0 {
			opt[a[1:2]], argv = argv[0], argv[1:]
		} else {
			opt[a[1:2]] = ""
		}
	}
	return opt, argv
}

// newUser is the account that vadddomain and vadduser are told to make.
func newUser(st *step, user string, opt map[string]string, args []string) (n NewUser, stdout string) {
	clear := ""
	if len(args) > 1 {
		clear = args[1]
	} else if st.Stdin != nil {
		clear, _, _ = strings.Cut(st.Stdin.Text, "\n")
	}
	if s, ok := strings.CutPrefix(st.Stdout, "Random password: "); ok {
		clear, stdout = strings.TrimSuffix(s, "\n"), st.Stdout
	}
	n = NewUser{Name: user, Gecos: opt["c"], Quota: opt["q"], Clear: qmailkit.Secret(clear)}
	if _, ok := opt["n"]; ok {
		n.NoPassword, n.Clear = true, ""
	}
	return n, stdout
}

func (h *host) vadddomain(st *step) result {
	opt, args := getopt(st.Argv[1:], "qceudig")
	n, stdout := newUser(st, "postmaster", opt, args)
	_, lazy := opt["O"]
	res, err := h.store(st, n.Name).AddDomain(h.t.Context(),
		DomainSpec{Name: args[0], Postmaster: n, CatchAll: opt["e"], Optimize: lazy}, nil)
	if err != nil {
		return result{err: err}
	}
	return result{stdout: stdout, problems: res.Problems}
}

func (h *host) vaddaliasdomain(st *step) result {
	_, args := getopt(st.Argv[1:], "")
	_, err := h.store(st, "").AddAliasDomain(h.t.Context(), args[0], args[1], nil)
	return result{err: err}
}

func (h *host) vadduser(st *step) result {
	opt, args := getopt(st.Argv[1:], "qce")
	user, domain, err := SplitAddress(args[0])
	n, stdout := newUser(st, user, opt, args)
	if opt["e"] != "" {
		n.Hash, n.Clear = qmailkit.Secret(opt["e"]), ""
	}
	if err == nil {
		_, err = h.store(st, user).AddUser(h.t.Context(), domain, n)
	}
	return result{stdout: stdout, err: err}
}
