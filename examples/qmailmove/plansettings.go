//go:build unix

package main

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/plesk"
)

// hostSettings tells of what stands outside of psa and the mailboxes, belongs to
// the old host, and is not carried.
func (m *move) hostSettings(ctx context.Context) error {
	if !m.src.host {
		return nil // only the mailboxes are at hand
	}
	on, err := plesk.FindShortNames(m.src.tree)
	if err != nil {
		m.warn("host.unreadable", "etc/courier-imap", plainErr(err), "run as a user that may read it")
	}
	if on && (m.psa == nil || !m.psa.ShortNames) { // of those of psa the plan of the accounts tells
		m.warn("host.short-names", "etc/courier-imap", errors.New("users may log in without their domain at the source: a target that does not allow it refuses them"),
			"allow short names on the new host, or tell them to log in with their whole address")
	}
	roots := []string{"/usr/local/psa", "/opt/psa"}
	if conf, err := plesk.ReadPsaConf(m.src.tree); err == nil {
		if root, err := conf.ProductRoot(); err == nil {
			roots = []string{root}
		}
	}
	for i, root := range roots {
		probs, err := plesk.CheckHandlers(ctx, m.src.tree, root)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			m.warn("host.unreadable", root, plainErr(err), "run as a user that may read it")
		}
		for _, p := range probs {
			if m.concerned(p) && (i == 0 || p.Code != "plesk.handlers-db") {
				m.problem(p)
			}
		}
	}
	return nil
}

// concerned says whether a mail handler is for an address of the domain, or for
// all.
func (m *move) concerned(p qmailkit.Problem) bool {
	if p.Code != "plesk.mail-handler" {
		return true
	}
	of := path.Base(path.Dir(p.Path))
	at := strings.LastIndexByte(of, '@')
	return at < 0 && !strings.Contains(of, ".") || strings.EqualFold(of[at+1:], m.domain)
}
