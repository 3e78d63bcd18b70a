package sendmail

import (
	"context"
	"errors"
	"strings"

	"github.com/qmailkit/qmailkit"
)

// A hostNames is what a host calls itself before it reads sendmail.cf
// (main.c, daemon.c:myhostname).
type hostNames struct {
	full   string   // with its domain, where that is known
	node   string   // as its system has it
	others []string // its other names, and its addresses in brackets
}

// nameFiles hold the name of a host: alone, or behind the word that is given.
var nameFiles = []struct{ path, word string }{
	{"etc/hostname", ""}, {"etc/HOSTNAME", ""}, {"etc/nodename", ""}, {"etc/myname", ""},
	{"etc/sysconfig/network", "HOSTNAME="}, {"etc/rc.conf", "hostname="},
}

// ownNames reads the name of the host, and what etc/hosts adds to it. No name
// server is asked.
func (h *Host) ownNames(ctx context.Context) (hostNames, error) {
	var own hostNames
	for _, f := range nameFiles {
		for text, err := range h.optionalLines(ctx, f.path) {
			if err != nil {
				return own, err
			}
			text, _, _ = strings.Cut(text, "#")
			name, ok := strings.CutPrefix(strings.TrimSpace(text), f.word)
			if words := strings.Fields(strings.Trim(name, `"'`)); ok && len(words) > 0 && own.node == "" {
				own.node = words[0]
			}
		}
		if own.node != "" {
			break
		}
	}
	if own.node == "" {
		own.node = "localhost"
	}
	own.full = own.node
	err := h.hostsFile(ctx, &own)
	return own, err
}

// hostsFile finds the host in etc/hosts: the first name of its line is its full
// name, unless that has no dot and another has.
func (h *Host) hostsFile(ctx context.Context, own *hostNames) error {
	first := true
	for text, err := range h.optionalLines(ctx, "etc/hosts") {
		if err != nil {
			return err
		}
		text, _, _ = strings.Cut(text, "#")
		words := strings.Fields(text)
		if len(words) < 2 || !containsFold(words[1:], own.node) {
			continue
		}
		own.others = append(own.others, "["+words[0]+"]")
		if !first {
			continue
		}
		first = false
		own.others = append(own.others, words[1:]...)
		if strings.Contains(words[1], ".") || !strings.Contains(own.full, ".") {
			own.full = words[1]
		}
		for _, w := range words[2:] {
			if !strings.Contains(own.full, ".") && strings.Contains(w, ".") {
				own.full = w
			}
		}
	}
	if first {
		short, _, _ := strings.Cut(own.node, ".")
		own.others = append(own.others, short)
	}
	return nil
}

func containsFold(words []string, name string) bool {
	for _, w := range words {
		if lower(w) == lower(name) {
			return true
		}
	}
	return false
}

// optionalLines yields the lines of a file that hold something. No host has all
// of these files, and one that is no plain file holds nothing.
func (h *Host) optionalLines(ctx context.Context, name string) func(func(string, error) bool) {
	return func(yield func(string, error) bool) {
		at, fi, err := h.lookup(name)
		if missing(err) || err == nil && !fi.Mode.IsRegular() {
			return
		}
		if err != nil {
			yield("", err)
			return
		}
		for l, err := range h.lines(ctx, at) {
			switch {
			case errors.Is(err, qmailkit.ErrIncomplete):
				yield("", err)
				return
			case err == nil && !skipped(l.text()) && !yield(l.text(), nil):
				return
			}
		}
	}
}
