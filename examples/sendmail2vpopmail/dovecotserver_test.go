package main

import (
	"github.com/qmailkit/qmailkit/examples/internal/hosttest"
)

// startDovecot serves the accounts of the new host, by what vpasswd says.
func startDovecot(s *site, domain string) *hosttest.Dovecot {
	s.t.Helper()
	var users []hosttest.DovecotUser
	for u, err := range s.store().Users(s.t.Context(), domain) {
		s.check(err)
		users = append(users, hosttest.DovecotUser{Name: u.Name + "@" + domain, Password: "{CRYPT}" + string(u.Hash), UID: 89, GID: 89, Home: u.Dir})
	}
	return hosttest.StartDovecot(s.t, s.dir, users, "")
}
