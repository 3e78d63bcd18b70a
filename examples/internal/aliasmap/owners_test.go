package aliasmap_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/examples/internal/aliasmap"
)

// What comes back from a list goes to its owner, by the address that
// qmail-local makes the sender.
func TestOwners(t *testing.T) {
	const path = "etc/mail/aliases"
	team := "team@example.org: &ann@example.org &far@else.example"
	for _, c := range []struct {
		name, aliases     string
		change            func(*aliasmap.Options)
		entries, problems []string
	}{
		{name: "a user", aliases: "team: ann, far@else.example\nowner-team: bob\n", entries: []string{
			"owner-team@example.org: &bob@example.org", team, "team-owner@example.org: &bob@example.org",
			"example.org-team-owner@example.org: &bob@example.org", "two.example-team-owner@example.org: &bob@example.org",
		}},
		{name: "several", aliases: "team: ann, far@else.example\nowner-team: bob, x@else.example\n", entries: []string{
			"owner-team@example.org: &bob@example.org &x@else.example", team, "team-owner@example.org: &owner-team@example.org",
			"example.org-team-owner@example.org: &owner-team@example.org", "two.example-team-owner@example.org: &owner-team@example.org",
		}},
		{name: "elsewhere", aliases: "team: ann, far@else.example\nowner-team: x@else.example\n", entries: []string{
			"owner-team@example.org: &x@else.example", team, "team-owner@example.org: &x@else.example",
			"example.org-team-owner@example.org: &x@else.example", "two.example-team-owner@example.org: &x@else.example",
		}},
		{name: "of a list in a list", aliases: "all: team, cyd\nteam: ann, far@else.example\nowner-team: bob\nowner-all: cyd\n", entries: []string{
			"all@example.org: &ann@example.org &cyd@example.org &far@else.example", "owner-all@example.org: &cyd@example.org",
			"owner-team@example.org: &bob@example.org", team, "all-owner@example.org: &cyd@example.org",
			"example.org-all-owner@example.org: &cyd@example.org", "two.example-all-owner@example.org: &cyd@example.org",
			"team-owner@example.org: &bob@example.org", "example.org-team-owner@example.org: &bob@example.org",
			"two.example-team-owner@example.org: &bob@example.org",
		}, problems: []string{"alias.owner-of-all " + path + ":1"}},
		{name: "of some members", aliases: "all: team, cyd\nteam: ann, far@else.example\nowner-team: nobody-here\n", entries: []string{
			"all@example.org: &ann@example.org &cyd@example.org &far@else.example", team,
		}, problems: []string{"alias.owner-not-carried " + path + ":1", "alias.owner-not-carried " + path + ":2"}},
		{name: "another address of the name", aliases: "team: ann, far@else.example\nowner-team: bob\nteam-owner: cyd\n", entries: []string{
			"owner-team@example.org: &bob@example.org", team, "team-owner@example.org: &cyd@example.org",
		}, problems: []string{"alias.owner-not-carried " + path + ":1"}},
		{name: "the same address of the name", aliases: "team: ann, far@else.example\nowner-team: bob\nteam-owner: bob\n", entries: []string{
			"owner-team@example.org: &bob@example.org", team, "team-owner@example.org: &bob@example.org",
			"example.org-team-owner@example.org: &bob@example.org", "two.example-team-owner@example.org: &bob@example.org",
		}},
		{name: "none, and then one", aliases: "team: ann, far@else.example\nteam-owner: bob\n", entries: []string{
			team, "team-owner@example.org: &bob@example.org",
		}, problems: []string{"alias.owner-new " + path + ":1"}},
		{name: "a user's name", aliases: "cyd-list: ann, far@else.example\nowner-cyd-list: bob\n", change: func(o *aliasmap.Options) {
			o.Users["cyd"] = "cyd-list-owner"
		}, entries: []string{"cyd-list@example.org: &ann@example.org &far@else.example", "owner-cyd-list@example.org: &bob@example.org"},
			problems: []string{"alias.owner-not-carried " + path + ":1"}},
		{name: "too long", aliases: "team: ann, far@else.example\nowner-team: bob\n", change: func(o *aliasmap.Options) {
			old := o.NameOK
			o.NameOK = func(name string) error {
				if strings.HasSuffix(name, "-owner") {
					return errors.New("too long")
				}
				return old(name)
			}
		}, entries: []string{"owner-team@example.org: &bob@example.org", team}, problems: []string{"alias.owner-not-carried " + path + ":1"}},
		{name: "in a table", aliases: "team: ann, far@else.example\nowner-team: bob\n", change: func(o *aliasmap.Options) { o.NoFiles = true },
			entries: []string{"owner-team@example.org: &bob@example.org", team}, problems: []string{"alias.owner-not-carried " + path + ":1"}},
		{name: "of a mailbox", aliases: "ann: \\ann\nowner-ann: bob\n", entries: []string{"owner-ann@example.org: &bob@example.org"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, entries, problems := build(t, map[string]string{path: c.aliases}, c.change)
			same(t, c.entries, entries)
			same(t, c.problems, problems)
		})
	}
}

// The proof asks where the mail goes that comes back.
func TestOwnersProof(t *testing.T) {
	m, _, _ := build(t, map[string]string{"etc/mail/aliases": "team: ann, far@else.example\nowner-team: bob\n"}, nil)
	got := map[string][]aliasmap.End{}
	for _, a := range m.Addresses {
		if len(a.Bounces) > 0 {
			got[a.Name+"@"+a.Domain] = a.Bounces
		}
	}
	bob := []aliasmap.End{{Kind: aliasmap.Mailbox, Where: "bob"}}
	same(t, map[string][]aliasmap.End{"team@example.org": bob, "team@two.example": bob}, got)
	// A further name of a domain has the same, whichever name it is made of.
	m.AddAlias("three.example", "two.example", "there", 1)
	last, entry := m.Addresses[len(m.Addresses)-1], m.Entries[len(m.Entries)-1]
	if last.Domain != "three.example" || last.Path != "there" || text(entry) != "three.example-team-owner@example.org: &bob@example.org" {
		t.Errorf("%+v, %s", last, text(entry))
	}
}

// A name with a detail is one of its own to qmail; what stands for many is not.
func TestDetail(t *testing.T) {
	_, entries, problems := build(t, map[string]string{
		"etc/mail/aliases":       "ann+list: bob, far@else.example\nbob+*: cyd\nteam: ann, bob\nteam+x: cyd\n",
		"etc/mail/virtusertable": "cyd+x@example.org far2@else.example\n+y@example.org ann\ndan++@example.org bob\nbob+z@two.example ann\n",
	}, nil)
	for _, want := range []string{"ann+list@example.org: &bob@example.org &far@else.example", "team+x@example.org: &cyd@example.org", "cyd+x@example.org: &far2@else.example", "bob+z@two.example: &ann@example.org"} {
		found := false
		for _, e := range entries {
			found = found || e == want
		}
		if !found {
			t.Errorf("no %s in %q", want, entries)
		}
	}
	same(t, []string{"alias.name-not-carried etc/mail/aliases:2", "alias.name-not-carried etc/mail/virtusertable:2", "alias.name-not-carried etc/mail/virtusertable:3"}, problems)
}
