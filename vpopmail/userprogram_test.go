//go:build unix

package vpopmail

import (
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
)

// userProgram is program for the jobs that concern users.
func userProgram(name string) func(h *host, st *step) result {
	switch name {
	case "vmoduser":
		return (*host).vmoduser
	case "vdeluser":
		return (*host).vdeluser
	case "vpasswd":
		return (*host).vpasswd
	case "vsetuserquota":
		return (*host).vsetuserquota
	case "vmkpasswd":
		return (*host).vmkpasswd
	case "vuserinfo":
		return (*host).vuserinfo
	case "vdominfo":
		return (*host).vdominfo
	}
	return nil
}

func (h *host) vmoduser(st *step) result {
	opt, args := getopt(st.Argv[1:], "qceCD")
	user, _, _ := strings.Cut(args[0], "@")
	m := Modify{Hash: qmailkit.Secret(opt["e"]), Clear: qmailkit.Secret(opt["C"]), Gecos: opt["c"], Dir: opt["D"], Quota: opt["q"]}
	_, m.ClearFlags = opt["x"]
	for i := range len(flagLetters) {
		if _, ok := opt[flagLetters[i:i+1]]; ok {
			m.SetFlags |= 1 << i
		}
	}
	_, err := h.store(st, lower(user)).ModifyUser(h.t.Context(), args[0], m)
	return result{err: err}
}

func (h *host) vdeluser(st *step) result {
	_, args := getopt(st.Argv[1:], "")
	_, err := h.store(st, "").DeleteUser(h.t.Context(), args[0])
	return result{err: err}
}

func (h *host) vpasswd(st *step) result {
	_, args := getopt(st.Argv[1:], "")
	user, _, _ := strings.Cut(args[0], "@")
	return result{err: h.store(st, lower(user)).SetPassword(h.t.Context(), args[0], qmailkit.Secret(args[1]))}
}

func (h *host) vsetuserquota(st *step) result {
	_, args := getopt(st.Argv[1:], "")
	_, err := h.store(st, "").SetQuota(h.t.Context(), args[0], args[1])
	return result{err: err}
}

func (h *host) vmkpasswd(st *step) result {
	return result{err: h.store(st, "").RebuildCDB(h.t.Context(), st.Argv[1])}
}

// letters are the options that were given, without those in but.
func letters(opt map[string]string, but string) string {
	var b strings.Builder
	for o := range opt {
		if !strings.Contains(but, o) {
			b.WriteString(o)
		}
	}
	return b.String()
}

// vuserinfo prints the time of the day of the test where the recorded run
// printed its own, so that the recorded lines are put there.
func (h *host) vuserinfo(st *step) result {
	opt, args := getopt(st.Argv[1:], "")
	var b strings.Builder
	s := h.store(st, "")
	var err error
	if _, all := opt["D"]; all {
		err = s.WriteUsersInfo(h.t.Context(), &b, args[0], letters(opt, "DZ"), time.UTC)
	} else {
		err = s.WriteUserInfo(h.t.Context(), &b, args[0], letters(opt, "DZ"), time.UTC)
	}
	want := strings.Split(st.Stdout, "\n")
	got := strings.Split(b.String(), "\n")
	for i := range got {
		if i < len(want) && strings.HasPrefix(got[i], "account created: ") && strings.HasPrefix(want[i], "account created: ") {
			got[i] = want[i]
		}
	}
	return result{stdout: strings.Join(got, "\n"), err: err}
}

func (h *host) vdominfo(st *step) result {
	opt, args := getopt(st.Argv[1:], "")
	var b strings.Builder
	err := h.store(st, "").WriteDomainInfo(h.t.Context(), &b, strings.Join(args, ""), letters(opt, ""))
	return result{stdout: b.String(), err: err}
}
