package plesk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/passhash"
	"github.com/qmailkit/qmailkit/qmailcontrol/users"
)

func sealed(t *testing.T, key *SecretKey, clear qmailkit.Secret) Password {
	t.Helper()
	s, err := key.Seal(rand.Reader, clear)
	if err != nil {
		t.Fatal(err)
	}
	return Password{"sym", s}
}

func plain(s qmailkit.Secret) Password { return Password{"plain", s} }

// md5 is a hash of "secret".
var md5 = func() qmailkit.Secret {
	hash, err := passhash.Make(passhash.MD5, "secret", "saltsalt")
	if err != nil {
		panic(err)
	}
	return qmailkit.Secret(hash)
}()

func TestCredential(t *testing.T) {
	key := secretKey(t, testKey)
	sym := sealed(t, key, "grün")
	for _, c := range []struct {
		p    Password
		key  *SecretKey
		want Credential
		err  error
	}{
		{plain("it's"), nil, Credential{Clear: "it's"}, nil},
		{plain(""), nil, Credential{}, ErrNoPassword},
		{Password{}, nil, Credential{}, ErrNoPassword},
		{Password{"", "x"}, nil, Credential{}, ErrPasswordType},
		{Password{"crypt", md5}, nil, Credential{Hash: md5}, nil},
		{Password{"crypt", "clear text"}, nil, Credential{}, ErrHash},
		{Password{"crypt", "!" + md5}, nil, Credential{}, ErrHash},
		{sym, key, Credential{Clear: "grün"}, nil},
		{sym, nil, Credential{}, ErrNoKey},
		{sym, secretKey(t, []byte("another host key")), Credential{}, ErrKey},
		{Password{"sym", "plain"}, key, Credential{}, ErrSym},
		{Password{"scram", "x"}, key, Credential{}, ErrPasswordType},
	} {
		got, err := c.p.Credential(c.key)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("type %q: %v", c.p.Type, err)
		}
		if err != nil && c.p.Stored != "" && len(c.p.Stored) > 3 && strings.Contains(err.Error(), string(c.p.Stored)) {
			t.Errorf("%v tells the password", err)
		}
	}
}

// find returns the plan of a name.
func find(t *testing.T, p *AccountPlan, addr string) *Account {
	t.Helper()
	for _, d := range p.Domains {
		for _, a := range d.Accounts {
			if a.Mailname.Name+"@"+d.Domain.Name == addr {
				return a
			}
		}
	}
	t.Fatalf("no plan for %s", addr)
	return nil
}

func TestPlanAccounts(t *testing.T) {
	from, to := secretKey(t, testKey), secretKey(t, []byte("the target's key"))
	src := &Server{ShortNames: true, Domains: []*Domain{
		{ID: 12, Name: "example.com", Status: 16, Lists: []string{"news"}, Aliases: []DomainAlias{{Name: "example.net", Mail: true}}, Unknown: Unknown{Action: "catch", Address: "all@x.org"},
			Mailnames: []*Mailname{
				{Name: "new", Mailbox: true, Password: sealed(t, from, "one two"), SpamFilter: "true", VirusFilter: "any"},
				{Name: "same", Mailbox: true, Quota: 1023, Password: sealed(t, from, "secret"), Aliases: []string{"s"}, Forwards: []string{"a@x.org"}},
				{Name: "hash", Mailbox: true, Quota: -1, Password: Password{"crypt", md5}},
				{Name: "differs", Mailbox: true, Quota: 5000, Password: plain("one"), Aliases: []string{"d"}, Forwards: []string{"a@x.org"}, Responders: make([]Responder, 2)},
				{Name: "nopw", Mailbox: true},
				{Name: "locked", Mailbox: true, Password: Password{"sym", "$AES-128-CBC$MDEyMzQ1Njc4OWFiY2RlZg==$AAAAAAAAAAAAAAAAAAAAAA=="}},
				{Name: "alias", Mailbox: true, Password: plain("x")},
				{Name: "taken", Mailbox: true, Password: plain("x"), Aliases: []string{"same"}},
				{Name: "../up", Mailbox: true, Password: plain("x")},
				{Name: "team", Group: true, Forwards: []string{"a@x.org"}, Off: []string{"b@x.org"}, NoDelivery: true},
				{Name: "idle"},
			}},
		{ID: 13, Name: "other.org"},
	}}
	dst := &Server{Domains: []*Domain{{ID: 7, Name: "EXAMPLE.com", Mailnames: []*Mailname{
		{Name: "same", Mailbox: true, Quota: 1024, Password: sealed(t, to, "secret"), Aliases: []string{"S", "more"}, Forwards: []string{"a@x.org"}},
		{Name: "hash", Mailbox: true, Quota: -1, Password: plain("secret")},
		{Name: "differs", Mailbox: true, Quota: 9000, Password: plain("two")},
		{Name: "owner", Aliases: []string{"Alias"}},
	}}}}
	plan, err := PlanAccounts(src, dst, &AccountOptions{Domains: []string{"Example.com"}, SourceKey: from, TargetKey: to, FolderNames: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Domains) != 1 || plan.Domains[0].TargetID != 7 {
		t.Fatalf("%+v", plan.Domains)
	}
	if d := cmp.Diff([]string{"plesk.folder-names", "plesk.short-names"}, codes(plan.Problems)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"plesk.alias-domain", "plesk.mailing-list", "plesk.suspended", "plesk.unknown-names"}, codes(plan.Domains[0].Problems)); d != "" {
		t.Error(d)
	}
	for addr, want := range map[string]struct {
		action AccountAction
		code   []string
	}{
		"new": {AccountCreate, []string{"plesk.mail-handler"}}, "same": {AccountSame, nil}, "hash": {AccountSame, []string{"plesk.password-hash"}},
		"differs": {AccountDiffers, []string{"plesk.differs", "plesk.responders"}}, "nopw": {AccountRefused, []string{"plesk.no-password"}},
		"locked": {AccountRefused, []string{"plesk.key"}}, "alias": {AccountRefused, []string{"plesk.alias-conflict"}}, "taken": {AccountRefused, []string{"plesk.alias-conflict"}},
		"../up": {AccountRefused, []string{"plesk.name"}}, "team": {AccountCreate, []string{"plesk.delivery-off", "plesk.forward-off"}}, "idle": {AccountCreate, []string{"plesk.no-delivery"}},
	} {
		a := find(t, plan, addr+"@example.com")
		if a.Action != want.action || !slices.Equal(codes(a.Problems), want.code) {
			t.Errorf("%s: %v %q, want %v %q", addr, a.Action, codes(a.Problems), want.action, want.code)
		}
	}
	want := []string{"quota 9000 there, not 5000", "alias d missing", "forward to a@x.org missing", "autoresponder missing", "password is another"}
	if d := cmp.Diff(want, find(t, plan, "differs@example.com").Differences); d != "" {
		t.Error(d)
	}
	if got := find(t, plan, "new@example.com").Password; got.Clear != "one two" {
		t.Error("the password is not opened")
	}
	if text := fmt.Sprintf("%+v %v", plan, plan.All()); strings.Contains(text, "one two") {
		t.Error("a password can be seen")
	}
}

func TestPlanAccountsErrors(t *testing.T) {
	key := secretKey(t, testKey)
	src := &Server{Domains: []*Domain{{ID: 12, Name: "example.com", Mailnames: []*Mailname{{Name: "a", Mailbox: true, Password: sealed(t, key, "secret")}}}}}
	ids := DomainIDs{"example.com": 7}
	for _, c := range []struct {
		dst *Server
		o   *AccountOptions
		err error
	}{
		{nil, &AccountOptions{IDs: ids, Domains: []string{"nobody.org"}}, ErrNoDomain},
		{nil, nil, ErrNoDomainID},
		{&Server{}, &AccountOptions{IDs: ids}, ErrNoDomainID},
		{nil, &AccountOptions{IDs: DomainIDs{"example.com": 0}}, ErrNoDomainID},
		{nil, &AccountOptions{IDs: ids, SourceKey: secretKey(t, []byte("another host key"))}, ErrKey},
	} {
		if plan, err := PlanAccounts(src, c.dst, c.o); !errors.Is(err, c.err) || plan != nil {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	plan, err := PlanAccounts(src, nil, &AccountOptions{IDs: ids})
	if err != nil || plan.Domains[0].Accounts[0].Action != AccountRefused || !slices.Contains(codes(plan.All()), "plesk.no-key") {
		t.Errorf("without a key: %v, %v", plan.All(), err)
	}
}

// TestPlanPoppasswd takes passwords in clear from users/poppasswd where psa has
// a hash, or none.
func TestPlanPoppasswd(t *testing.T) {
	pop, err := users.ParsePoppasswd(strings.NewReader("Hash@example.com:secret\nwrong@example.com:other\nnone@example.com:clear\nplain@example.com:x\n"))
	if err != nil {
		t.Fatal(err)
	}
	src := &Server{Domains: []*Domain{{ID: 1, Name: "example.com", Mailnames: []*Mailname{
		{Name: "hash", Mailbox: true, Password: Password{"crypt", md5}}, {Name: "wrong", Mailbox: true, Password: Password{"crypt", md5}},
		{Name: "none", Mailbox: true}, {Name: "plain", Mailbox: true, Password: plain("psa")}}}}}
	plan, err := PlanAccounts(src, nil, &AccountOptions{IDs: src.IDs(), Poppasswd: pop, NeedClear: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Credential{"hash": {Clear: "secret"}, "wrong": {Hash: md5}, "none": {Clear: "clear"}, "plain": {Clear: "psa"}} {
		if a := find(t, plan, name+"@example.com"); a.Password != want || a.Action != AccountCreate {
			t.Errorf("%s: %v, clear %v", name, a.Action, a.Password.Clear != "")
		}
	}
	if d := cmp.Diff([]string{"plesk.password-hash", "plesk.pop-differs"}, codes(plan.All())); d != "" {
		t.Error(d)
	}
}

// TestPlanSamples plans the move of both samples, from a live psa and with the
// key, another host's key, and none.
func TestPlanSamples(t *testing.T) {
	for _, file := range []string{schemaOld, schemaNew} {
		_, _, db := load(t, file)
		src := read(t, db)
		ids := DomainIDs{"example.com": 268, "xn--bcher-kva.example.org": 269}
		plan, err := PlanAccounts(src, nil, &AccountOptions{IDs: ids, SourceKey: secretKey(t, testKey)})
		if err != nil {
			t.Fatal(err)
		}
		if a := find(t, plan, "sealed@example.com"); a.Action != AccountCreate || a.Password.Clear != "geheim & grün" {
			t.Errorf("%s: %v, %v", file, a.Action, a.Problems)
		}
		if a := find(t, plan, "nopw@example.com"); a.Action != AccountRefused {
			t.Errorf("%s: %v", file, a.Action)
		}
		if _, err := PlanAccounts(src, nil, &AccountOptions{IDs: ids, SourceKey: secretKey(t, []byte("another host key"))}); !errors.Is(err, ErrKey) {
			t.Errorf("%s: another host's key: %v", file, err)
		}
		plan, err = PlanAccounts(src, nil, &AccountOptions{IDs: ids})
		if err != nil {
			t.Fatal(err)
		}
		if a := find(t, plan, "sealed@example.com"); a.Action != AccountRefused || !slices.Equal(codes(a.Problems), []string{"plesk.no-key"}) {
			t.Errorf("%s: without a key: %v, %v", file, a.Action, a.Problems)
		}
		// Commands of all that can be made: what is left out has a word about it.
		for _, d := range plan.Domains {
			for _, a := range d.Accounts {
				for _, tool := range []Tool{ToolForwarding, ToolRedirect} {
					got, probs := Commands(d.Domain, a.Mailname, a.Password, &CommandOptions{Tool: tool})
					short := slices.Contains(codes(probs), "plesk.password-refused")
					if (a.Action == AccountCreate && !short) != (len(got) > 0) || len(got) == 0 && len(probs) == 0 {
						t.Errorf("%s: %s: %v, %d commands, %v", file, a.Mailname.Name, a.Action, len(got), probs)
					}
				}
			}
		}
	}
}
