//go:build unix

package vpopmail

import "context"

// domainProgram is program for the jobs that concern domains.
func domainProgram(name string) func(h *host, st *step) result {
	switch name {
	case "vdeldomain":
		return (*host).vdeldomain
	}
	return nil
}

func told(context.Context) error { return nil }

func (h *host) vdeldomain(st *step) result {
	opt, args := getopt(st.Argv[1:], "")
	_, force := opt["f"]
	res, err := h.store(st, "").DeleteDomain(h.t.Context(), args[0], &DeleteDomainOptions{Force: force}, told)
	if err != nil {
		return result{err: err}
	}
	return result{stdout: res.Classic(), problems: res.Problems}
}
