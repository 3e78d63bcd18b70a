package qmailcontrol

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

// CheckOptions tell Check what a control directory alone does not. The nil
// pointer is the zero value.
type CheckOptions struct {
	// IsMe says whether a host, a name or an address without brackets, is this
	// one. Its names in me, helohost and locals, localhost and 127.0.0.0/8 are
	// known without it.
	IsMe func(host string) bool
	// Reaches says whether mail to a local part such as "joe-info" can reach
	// anybody: a user of users/assign or of the system, and there a .qmail
	// file. It is asked for each different prefix of virtualdomains; nil does
	// not look. An error ends Check.
	Reaches func(ctx context.Context, local string) (bool, error)
}

// probe is the local part behind the prefix of which Reaches is asked: every
// domain must take it (RFC 5321, 4.5.1).
const probe = "postmaster"

// Check tells what breaks mail in practice:
//
//	control.stops                a program of qmail cannot read what it needs
//	control.unreadable           any file that cannot be read
//	control.link                 a symbolic link, and where it leads
//	control.crlf                 lines end in CR, which qmail takes for a part of them
//	control.nul                  a NUL, which splits a line or cuts a name
//	control.blank                a blank in a place where it is part of a name
//	control.comment              a '#' that begins no comment
//	control.empty                a file of one line that is empty: no default steps in
//	control.number               no number, or not all of it counts
//	control.no-colon             a line that does not count, for want of a colon
//	control.duplicate            a key again, with another value: the last one answers
//	control.no-delivery          a concurrency of 0
//	control.open-relay           rcpthosts is missing: everything is accepted
//	control.rcpthosts-empty      rcpthosts holds nothing: every domain is refused
//	control.not-accepted         a domain of locals or virtualdomains that rcpthosts refuses
//	control.local-and-virtual    a domain in both: virtualdomains does not count
//	control.virtual-target       Reaches says no
//	control.smtproutes-port      port 0, or one that is cut to 16 bits
//	control.smtproutes-host      no host in front of the port
//	control.smtproutes-self      a route to this host: mail goes round
//	control.morercpthosts-cdb    morercpthosts without its cdb, or the cdb alone
//	control.morercpthosts-stale  the cdb is not what qmail-newmrh would make
//	control.morercpthosts-broken the cdb is no sound one
//	control.morercpthosts-unused there is no rcpthosts
//	control.upper-case           a key of the cdb with a capital, which never matches
//
// The rules of users/assign and users/cdb are those of package users. An error
// is that of ctx or Reaches and wraps qmailkit.ErrIncomplete.
func (c *Config) Check(ctx context.Context, opts *CheckOptions) iter.Seq2[qmailkit.Problem, error] {
	return func(yield func(qmailkit.Problem, error) bool) {
		k := &checker{c: c, set: c.Settings(), yield: yield}
		if opts != nil {
			k.opts = *opts
		}
		for _, step := range []func(){
			k.programs, k.files, k.accepting, k.locals, k.routes, k.morercpthosts,
			func() { k.targets(ctx) },
		} {
			if err := context.Cause(ctx); err != nil && k.err == nil {
				k.err = err
			}
			if k.done || k.err != nil {
				break
			}
			step()
		}
		if k.err != nil && !k.done {
			yield(qmailkit.Problem{}, qmailkit.Incomplete(k.err))
		}
	}
}

type checker struct {
	c     *Config
	set   Settings
	opts  CheckOptions
	yield func(qmailkit.Problem, error) bool
	done  bool // the caller wants no more
	err   error
}

// place is where a Problem lies.
type place struct {
	file   string
	line   int
	offset int64
}

func (k *checker) add(code string, s qmailkit.Severity, at place, fix, format string, args ...any) {
	if k.done || k.err != nil {
		return
	}
	k.done = !k.yield(qmailkit.Problem{
		Code: "control." + code, Severity: s, Path: at.file, Line: at.line, Offset: at.offset,
		Err: fmt.Errorf(format, args...), Fix: fix,
	}, nil)
}

// values yields what qmail reads from a list, and where.
func (k *checker) values(name string) iter.Seq2[place, string] {
	return func(yield func(place, string) bool) {
		l, err := k.c.Lines(name)
		if err != nil {
			return
		}
		at := place{file: name}
		for i, text := range l.text {
			at.line = i + 1
			for v := range valuesOf(text) {
				if k.done || !yield(at, v) {
					return
				}
			}
			at.offset += int64(len(text)) + 1
		}
	}
}

// programs tells who stops at a file.
func (k *checker) programs() {
	_, send := k.c.Send()
	_, smtpd := k.c.SMTPD(nil)
	_, remote := k.c.Remote()
	for _, err := range []error{send, smtpd, remote} {
		var stop *ControlsError
		if errors.As(err, &stop) {
			k.add("stops", qmailkit.Error, place{file: stop.File}, "", "%s stops: %w", stop.Program, stop.Err)
		}
	}
}

// accepting is about rcpthosts.
func (k *checker) accepting() {
	set := k.set.RcptHosts
	at := place{file: "rcpthosts"}
	hosts, err := k.c.RcptHosts()
	switch {
	case err != nil:
		return
	case set.From == Nowhere:
		k.add("open-relay", qmailkit.Error, at, "list the domains of this host", "missing: mail is accepted and relayed for every domain")
		return
	case len(set.Value) == 0 && hosts.cdb == nil:
		k.add("rcpthosts-empty", qmailkit.Warning, at, "", "holds no domain: every recipient with a domain is refused")
		return
	}
	for _, name := range []string{"locals", "virtualdomains"} {
		for at, v := range k.values(name) {
			host, to, isMap := strings.Cut(v, ":")
			if name == "virtualdomains" && (!isMap || to == "") {
				continue
			}
			if i := strings.LastIndexByte(host, '@'); i >= 0 {
				host = host[i+1:]
			}
			if host == "" || host == "localhost" || strings.ContainsAny(host, " \t\r") {
				continue
			}
			if host[0] == '.' {
				host = "any" + host
			}
			if ok, err := hosts.Allows("@" + host); !ok && err == nil {
				k.add("not-accepted", qmailkit.Warning, at, "add it to rcpthosts", "%q is not in rcpthosts: mail from other hosts is refused", host)
			}
		}
	}
}

// locals looks for domains that virtualdomains has in vain.
func (k *checker) locals() {
	locals := newSet(k.set.Locals.Value)
	for at, v := range k.values("virtualdomains") {
		key, to, ok := strings.Cut(v, ":")
		i := strings.LastIndexByte(key, '@')
		if ok && to != "" && key != "" && key[0] != '.' && locals.Has(key[i+1:]) {
			k.add("local-and-virtual", qmailkit.Error, at, "remove it from one of them",
				"%q stands in locals too, which wins", key[i+1:])
		}
	}
}

// routes is about smtproutes.
func (k *checker) routes() {
	for at, v := range k.values("smtproutes") {
		_, value, ok := strings.Cut(v, ":")
		if !ok || value == "" {
			continue
		}
		host, port := splitRelay(value)
		_, text, hasPort := strings.Cut(value, ":")
		n, digits := scanNumber(text)
		switch {
		case host == "":
			k.add("smtproutes-host", qmailkit.Error, at, "", "%q names no host: mail bounces", v)
		case hasPort && port == 0:
			k.add("smtproutes-port", qmailkit.Error, at, "", "%q means port 0", v)
		case hasPort && (n != uint64(port) || strings.TrimRight(text[digits:], "\r") != ""):
			k.add("smtproutes-port", qmailkit.Warning, at, "", "%q means port %d", v, port)
		}
		if port == DefaultPort && k.isMe(host) {
			k.add("smtproutes-self", qmailkit.Error, at, "", "%q leads back to this host", v)
		}
	}
}

// isMe says whether a host in smtproutes is this one.
func (k *checker) isMe(host string) bool {
	name := lower(host)
	if addr, ok := hostAddr(host); ok {
		if addr.IsLoopback() || addr.IsUnspecified() {
			return true
		}
		name = addr.String()
	}
	if name == "localhost" || k.opts.IsMe != nil && k.opts.IsMe(name) {
		return true
	}
	for _, own := range append([]string{k.set.Me.Value, k.set.HeloHost.Value}, k.set.Locals.Value...) {
		if own != "" && lower(own) == name {
			return true
		}
	}
	return false
}

// morercpthosts compares the cdb with its text.
func (k *checker) morercpthosts() {
	text, hasText := k.c.entries["morercpthosts"]
	cdb, hasCDB := k.c.entries["morercpthosts.cdb"]
	at := place{file: "morercpthosts.cdb"}
	const fix = "run qmail-newmrh"
	if (hasText || hasCDB) && k.set.RcptHosts.From == Nowhere && k.set.RcptHosts.Err == nil {
		k.add("morercpthosts-unused", qmailkit.Warning, at, "", "does not count without rcpthosts")
	}
	if hasCDB && cdb.Err == nil {
		k.cdbKeys(at, cdb.Text)
	}
	switch {
	case !hasText && !hasCDB || text.Err != nil || cdb.Err != nil:
	case !hasCDB:
		k.add("morercpthosts-cdb", qmailkit.Error, at, fix, "missing: morercpthosts does not count")
	case !hasText:
		k.add("morercpthosts-cdb", qmailkit.Warning, at, "", "counts, but morercpthosts is missing: the next qmail-newmrh fails")
	default:
		want, err := k.c.makeMRH()
		switch {
		case err != nil:
			k.add("unreadable", qmailkit.Warning, place{file: "morercpthosts"}, "", "no cdb can be made of it: %w", err)
		case want != cdb.Text:
			k.add("morercpthosts-stale", qmailkit.Error, at, fix, "not what qmail-newmrh makes of morercpthosts")
		case text.Info.ModTime.Unix() > cdb.Info.ModTime.Unix():
			k.add("morercpthosts-stale", qmailkit.Info, at, "", "older than morercpthosts, but the same")
		}
	}
}

// cdbKeys looks at every record of morercpthosts.cdb.
func (k *checker) cdbKeys(at place, text string) {
	r, err := cdbfile.Open(strings.NewReader(text), int64(len(text)))
	if err == nil {
		for rec, e := range r.Records() {
			if e != nil {
				err = e
				break
			}
			at.offset = rec.Offset
			if key := string(rec.Key); lower(key) != key {
				k.add("upper-case", qmailkit.Error, at, "run qmail-newmrh", "%q never matches, because hosts are looked up in small letters", key)
			}
		}
	}
	if err != nil {
		k.add("morercpthosts-broken", qmailkit.Error, place{file: at.file}, "run qmail-newmrh", "qmail-smtpd ends connections with 421: %w", err)
	}
}

// targets asks for each prefix of virtualdomains whether it leads anywhere.
func (k *checker) targets(ctx context.Context) {
	if k.opts.Reaches == nil {
		return
	}
	known := map[string]bool{}
	for at, v := range k.values("virtualdomains") {
		key, prepend, ok := strings.Cut(v, ":")
		if !ok || prepend == "" || k.done || k.err != nil {
			continue
		}
		reaches, asked := known[prepend]
		if !asked {
			if err := context.Cause(ctx); err != nil {
				k.err = err
				return
			}
			var err error
			reaches, err = k.opts.Reaches(ctx, prepend+"-"+probe)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				k.err = fmt.Errorf("virtualdomains: line %d: %w", at.line, err)
				return
			}
			known[prepend] = reaches
		}
		if !reaches {
			k.add("virtual-target", qmailkit.Error, at, "", "%q reaches nobody: no user and .qmail file for %q", key, prepend+"-"+probe)
		}
	}
}
