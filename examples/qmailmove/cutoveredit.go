//go:build unix

package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// edit makes the old host a relay for the domain, and checks that qmail would
// decide so.
func (s *switching) edit() (*qmailcontrol.Config, error) {
	c := s.old.Clone()
	for _, d := range s.domains {
		if err := s.editDomain(c, d); err != nil {
			return nil, err
		}
	}
	send, err := c.Send()
	if err != nil {
		return nil, err
	}
	remote, err := c.Remote()
	if err != nil {
		return nil, err
	}
	hosts, err := c.RcptHosts()
	if err != nil {
		return nil, err
	}
	for _, d := range s.domains {
		if t := send.Rewrite("x@" + d); t.Channel != qmailcontrol.Remote {
			return nil, fmt.Errorf("%s would still be local, by %s: it cannot be switched over here", d, t.Reason)
		}
		host, port, _ := strings.Cut(s.c.cutover.route, ":")
		if port == "" {
			port = strconv.Itoa(qmailcontrol.DefaultPort)
		}
		if r := remote.Route(d); r.How != qmailcontrol.ByRelay || !strings.EqualFold(r.Host, host) || strconv.Itoa(int(r.Port)) != port {
			return nil, fmt.Errorf("mail for %s would go to %s port %d and not to %s", d, r.Host, r.Port, s.c.cutover.route)
		}
		if ok, err := hosts.Allows("x@" + d); err != nil || !ok {
			return nil, errors.Join(err, fmt.Errorf("%s would be refused by the old host", d))
		}
	}
	return c, nil
}

// editDomain edits the lines of one domain.
func (s *switching) editDomain(c *qmailcontrol.Config, domain string) error {
	err := editLines(c, "locals", false, func(l *qmailcontrol.Lines) error {
		l.Remove(domain)
		return nil
	})
	if err != nil {
		return err
	}
	// Entries for single addresses of the domain would keep those here.
	own := func(_ int, text string) bool {
		key, _, found := strings.Cut(text, ":")
		if at := strings.LastIndexByte(key, '@'); at >= 0 {
			key = key[at+1:]
		}
		return found && !strings.HasPrefix(text, "#") && strings.EqualFold(key, domain)
	}
	exception := func(text string) bool { return strings.EqualFold(text, domain+":") }
	err = editLines(c, "virtualdomains", false, func(l *qmailcontrol.Lines) error {
		l.RemoveFunc(func(n int, text string) bool { return own(n, text) && !exception(text) })
		return nil
	})
	if err != nil {
		return err
	}
	if send, err := c.Send(); err == nil && send.Rewrite("x@"+domain).Reason == qmailcontrol.ByVirtualDomains {
		// A line for a whole suffix takes it: an empty value is an exception.
		if err := editLines(c, "virtualdomains", false, func(l *qmailcontrol.Lines) error { return l.AddPair(domain, "") }); err != nil {
			return err
		}
	}
	line := domain + ":" + s.c.cutover.route
	err = editLines(c, "smtproutes", true, func(l *qmailcontrol.Lines) error {
		kept := false
		l.RemoveFunc(func(n int, text string) bool {
			if own(n, text) && strings.EqualFold(strings.TrimRight(text, " \t"), line) && !kept {
				kept = true
				return false
			}
			key, _, _ := strings.Cut(text, ":")
			return own(n, text) && strings.EqualFold(key, domain)
		})
		if kept {
			return nil
		}
		return l.Add(line)
	})
	if err != nil {
		return err
	}
	hosts, err := c.RcptHosts()
	if err != nil {
		return err
	}
	if ok, err := hosts.Allows("x@" + domain); err != nil || ok {
		return err
	}
	return editLines(c, "rcpthosts", true, func(l *qmailcontrol.Lines) error { return l.Add(domain) })
}

// routeTo moves the change of smtproutes to one end of a plan, so that whenever
// the domain is remote for a qmail-send that reads the files in between, the
// way to the new host is there.
func routeTo(plan qmailcontrol.Plan, first bool) qmailcontrol.Plan {
	slices.SortStableFunc(plan, func(a, b qmailcontrol.Change) int {
		routes := func(c qmailcontrol.Change) int {
			if (c.Name == "smtproutes") == first {
				return 0
			}
			return 1
		}
		return routes(a) - routes(b)
	})
	return plan
}
