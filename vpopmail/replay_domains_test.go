//go:build unix

package vpopmail

import (
	"context"
	"strings"
)

// domainProgram is program for the jobs that concern domains.
func domainProgram(name string) func(h *host, st *step) result {
	switch name {
	case "vdeldomain":
		return (*host).vdeldomain
	case "valias":
		return (*host).valias
	case "vipmap":
		return (*host).vipmap
	case "vmoddomlimits":
		return (*host).vmoddomlimits
	}
	return nil
}

func told(context.Context) error { return nil }

func (h *host) vdeldomain(st *step) result {
	opt, args := getopt(st.Argv[1:], "")
	if len(args) == 0 {
		return usage(st)
	}
	_, force := opt["f"]
	res, err := h.store(st, "").DeleteDomain(h.t.Context(), args[0], &DeleteDomainOptions{Force: force}, told)
	if err != nil {
		return result{err: err}
	}
	return result{stdout: res.Classic(), problems: res.Problems}
}

func (h *host) valias(st *step) result {
	ctx := h.t.Context()
	opt, args := getopt(st.Argv[1:], "i")
	if len(args) == 0 {
		return usage(st)
	}
	s := h.store(st, "")
	if line, ok := opt["i"]; ok {
		return result{err: s.AddAlias(ctx, args[0], line)}
	}
	if _, ok := opt["d"]; ok {
		_, err := s.RemoveAlias(ctx, args[0])
		return result{err: err}
	}
	if _, ok := opt["n"]; ok {
		names, err := s.AliasNames(ctx, args[0])
		return result{stdout: strings.Join(append(names, ""), "\n"), err: err}
	}
	out, err := s.ClassicAliases(ctx, args[0])
	return result{stdout: out, err: err}
}

// usage is a command line that only the program itself can refuse: what it says
// is not this package's.
func usage(st *step) result { return result{rc: st.RC, stdout: st.Stdout} }

func (h *host) vmoddomlimits(st *step) result {
	ctx := h.t.Context()
	opt, args := getopt(st.Argv[1:], "QqMmPAFRLgpafrluoxz")
	s := h.store(st, "")
	if _, ok := opt["S"]; ok {
		l, _, err := s.Limits(ctx, args[0])
		if err != nil {
			return result{err: err}
		}
		d, err := s.Domain(ctx, args[0])
		if err != nil {
			return result{err: err}
		}
		return result{stdout: l.Classic("Domain: " + d.Real)}
	}
	err := s.EditLimits(ctx, args[0], func(l *Limits) error {
		for letter, to := range map[string]*int{"P": &l.MaxAccounts, "A": &l.MaxAliases, "F": &l.MaxForwards, "R": &l.MaxResponders, "L": &l.MaxLists} {
			if v, ok := opt[letter]; ok {
				*to = atoi(v)
			}
		}
		for letter, to := range map[string]*uint64{"Q": &l.Quota, "q": &l.DefaultQuota, "M": &l.MaxMessages, "m": &l.DefaultMaxMsg} {
			if v, ok := opt[letter]; ok {
				*to = strtoll(v)
			}
		}
		return nil
	})
	return result{err: err}
}

func (h *host) vipmap(st *step) result {
	ctx := h.t.Context()
	opt, args := getopt(st.Argv[1:], "")
	s := h.store(st, "")
	if _, ok := opt["a"]; ok {
		return result{err: s.AddIPAlias(ctx, IPAlias{args[0], args[1]})}
	}
	if _, ok := opt["d"]; ok {
		_, err := s.RemoveIPAlias(ctx, IPAlias{args[0], args[1]})
		return result{err: err}
	}
	all, err := s.IPAliases(ctx)
	res := result{err: err}
	for _, a := range all {
		res.stdout += a.Classic()
	}
	return res
}
