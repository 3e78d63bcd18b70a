//go:build unix

package vpopmail

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/internal/passhash"
)

func apop(challenge, clear string) qmailkit.Secret {
	sum := md5.Sum([]byte(challenge + clear))
	return qmailkit.Secret(hex.EncodeToString(sum[:]))
}

func cram(challenge, clear string) qmailkit.Secret {
	m := hmac.New(md5.New, []byte(clear))
	m.Write([]byte(challenge))
	return qmailkit.Secret(hex.EncodeToString(m.Sum(nil)))
}

// ask is CheckLogin in one word each.
func ask(p *Profile, u *User, c Credentials, s Service) string {
	var flags Flags
	if u != nil {
		flags = u.Flags
	}
	status, method, _, learn := p.CheckLogin(u, flags, c, s, nil)
	out := fmt.Sprint(int(status), " ", method)
	if learn {
		out += " learn"
	}
	return strings.TrimSpace(out)
}

// The RFCs' own examples.
func TestDigests(t *testing.T) {
	p := DefaultProfile54()
	u := &User{Name: "tim", Hash: "*", Clear: "tanstaaf"}
	c := Credentials{Name: "mrose", Password: "c4c9334bac560ecc979e58001b3e22fb", Challenge: "<1896.697170952@dbc.mtview.ca.us>"} // RFC 1939
	if got := ask(&p, u, c, ServicePOP); got != "0 APOP" {
		t.Error(got)
	}
	u.Clear = "tanstaaftanstaaf"
	c = Credentials{Name: "tim", Password: "b913a602c7eda7a495b4e6e7334d3890", Challenge: "<1896.697170952@postoffice.reston.mci.net>"} // RFC 2195
	if got := ask(&p, u, c, ServiceSMTP); got != "0 CRAM-MD5" {
		t.Error(got)
	}
}

// What vchkpw lets in and this package does not.
func TestLoginHazards(t *testing.T) {
	p := DefaultProfile54()
	learning := p
	learning.LearnPasswords = true
	bare := p
	bare.ClearPasswords = false
	h := func(password string) qmailkit.Secret {
		s, err := passhash.Make(passhash.MD5, password, "saltsalt")
		if err != nil {
			t.Fatal(err)
		}
		return qmailkit.Secret(s)
	}
	clear := &User{Name: "u", Hash: h("clearpw"), Clear: "clearpw"}
	const ts = "<1.2@x>"
	for name, c := range map[string]struct {
		p    *Profile
		u    *User
		c    Credentials
		s    Service
		want string
	}{
		"APOP of an empty challenge":             {&p, clear, Credentials{Password: apop("", "clearpw")}, ServicePOP, "3"},
		"CRAM-MD5 of an empty challenge":         {&p, clear, Credentials{Password: cram("", "clearpw")}, ServiceSMTP, "3"},
		"APOP":                                   {&p, clear, Credentials{Password: apop(ts, "clearpw"), Challenge: ts}, ServicePOP, "0 APOP"},
		"APOP in capitals":                       {&p, clear, Credentials{Password: qmailkit.Secret(strings.ToUpper(string(apop(ts, "clearpw")))), Challenge: ts}, ServicePOP, "3"},
		"CRAM-MD5":                               {&p, clear, Credentials{Password: cram(ts, "clearpw"), Challenge: ts}, ServiceSMTP, "0 CRAM-MD5"},
		"CRAM-MD5 for POP":                       {&p, clear, Credentials{Password: cram(ts, "clearpw"), Challenge: ts}, ServicePOP, "3"},
		"APOP for webmail":                       {&p, clear, Credentials{Password: apop(ts, "clearpw"), Challenge: ts}, ServiceWebmail, "3"},
		"the password beside a challenge":        {&p, clear, Credentials{Password: "clearpw", Challenge: ts}, ServicePOP, "0 PLAIN"},
		"a password cut short":                   {&p, clear, Credentials{Password: "clearp"}, ServicePOP, "3"},
		"a NUL behind the password":              {&p, clear, Credentials{Password: "clearpw\x00x"}, ServicePOP, "3"},
		"a digest and no hash":                   {&p, &User{Clear: "clearpw"}, Credentials{Password: apop(ts, "clearpw"), Challenge: ts}, ServicePOP, "15"},
		"no hash":                                {&p, &User{}, Credentials{Password: "x"}, ServicePOP, "15"},
		"an answer where no clear passwords are": {&bare, clear, Credentials{Password: apop(ts, "clearpw"), Challenge: ts}, ServicePOP, "3"},
		"nobody":                                 {&p, nil, Credentials{Password: "x"}, ServicePOP, "3"},
		"learning":                               {&learning, &User{}, Credentials{Password: "x"}, ServicePOP, "0 PLAIN learn"},
		"learning a digest":                      {&learning, &User{}, Credentials{Password: apop(ts, "x"), Challenge: ts}, ServicePOP, "3"},
		"learning a line feed":                   {&learning, &User{}, Credentials{Password: "x\nroot:$1$"}, ServicePOP, "3"},
		"learning a long password":               {&learning, &User{}, Credentials{Password: qmailkit.Secret(strings.Repeat("x", 129))}, ServicePOP, "3"},
		"learning beside a clear password":       {&learning, &User{Clear: "y"}, Credentials{Password: "x"}, ServicePOP, "3"},
		"learning the clear password's hash":     {&learning, &User{Clear: "x"}, Credentials{Password: "x"}, ServicePOP, "0 PLAIN learn"},
		"learning the clear password":            {&learning, &User{Hash: h("x")}, Credentials{Password: "x"}, ServicePOP, "0 PLAIN learn"},
		"nothing to learn":                       {&learning, clear, Credentials{Password: "clearpw"}, ServicePOP, "0 PLAIN"},
		"learning what is refused":               {&learning, &User{Flags: NoPOP}, Credentials{Password: "x"}, ServicePOP, "1 PLAIN"},
	} {
		c.c.Name = "u@example.com"
		if got := ask(c.p, c.u, c.c, c.s); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestLoginSchemes(t *testing.T) {
	p54, p56 := DefaultProfile54(), DefaultProfile56()
	md5 := "$1$abcdefgh$3AnkRq1sCn8avTQ3qEG7k0" // of Secret-1
	for _, c := range []struct {
		p    *Profile
		hash string
		want LoginStatus
	}{
		{&p54, md5, LoginOK}, {&p54, "{CRYPT}" + md5, LoginFailed}, {&p56, "{CRYPT}" + md5, LoginOK},
		{&p56, "{MD5-CRYPT" + md5, LoginFailed}, {&p56, "{A}{B}" + md5, LoginFailed}, {&p56, "{CRYPT}", LoginFailed}, {&p56, "{CRYPT}*", LoginFailed},
		{&p54, "*", LoginFailed}, {&p54, "!" + md5, LoginFailed}, {&p54, "*0", LoginFailed}, {&p54, "x", LoginFailed},
		{&p54, "Secret-1", LoginFailed}, {&p54, md5[:33], LoginFailed}, {&p54, md5 + "x", LoginFailed},
		{&p54, "$3$$8846f7eaee8fb117ad06bdd830b7586c", LoginCannotTell},
		{&p54, "$7$CU..../....2Q9obwLhin8qvQl6sisAO/$E1HizYWxBmnIH4sdPkd1UOML9t62Gf.wvNTnt5XFzs8", LoginCannotTell},
		{&p54, "$gy$j9T$x$" + strings.Repeat(".", 43), LoginCannotTell},
		{&p54, strings.Repeat("x", 24), LoginCannotTell},                                       // bigcrypt
		{&p54, "$6$rounds=999999999$saltsalt$" + strings.Repeat(".", 86), LoginCannotTell},     // would take minutes
		{&p54, "$2y$31$abcdefghijklmnopqrstuu" + strings.Repeat("a", 31), LoginCannotTell},     // weeks
		{&p54, "$y$jFT$saltsalt$" + strings.Repeat(".", 43), LoginCannotTell},                  // gigabytes
		{&p54, "$sha1$4294967295$saltsalt$" + strings.Repeat(".", 28), LoginCannotTell},        //
		{&p54, "$md5,rounds=4000000000$saltsalt$$" + strings.Repeat(".", 22), LoginCannotTell}, //
	} {
		u := &User{Hash: qmailkit.Secret(c.hash)}
		status, _, reason, _ := c.p.CheckLogin(u, 0, Credentials{Name: "u", Password: "Secret-1"}, ServiceIMAP, nil)
		if status != c.want {
			t.Errorf("%d %s: %v (%s), want %v", c.p.Release, c.hash, status, reason, c.want)
		}
		if strings.Contains(reason, c.hash) || strings.Contains(reason, "Secret-1") {
			t.Errorf("the reason tells: %s", reason)
		}
	}
}

// A hash that cannot be checked here is given to the host's crypt(3).
func TestLoginCrypt(t *testing.T) {
	p := DefaultProfile54()
	u := &User{Hash: "$7$x"}
	for _, c := range []struct {
		match bool
		err   error
		want  LoginStatus
	}{{true, nil, LoginOK}, {false, nil, LoginFailed}, {true, errors.New("no such scheme"), LoginCannotTell}} {
		status, _, _, _ := p.CheckLogin(u, 0, Credentials{Name: "u", Password: "pw"}, ServicePOP, func(hash, password qmailkit.Secret) (bool, error) {
			if hash != "$7$x" || password != "pw" {
				t.Errorf("asked for %q, %q", string(hash), string(password))
			}
			return c.match, c.err
		})
		if status != c.want {
			t.Errorf("%v, want %v", status, c.want)
		}
	}
}

// The hashes that are computed for nobody cost what a real one costs: they are
// well formed, so that they are compared to the end.
func TestIdleHashes(t *testing.T) {
	for kind, h := range idleHash {
		if r := passhash.Verify(h, "x"); r.Verdict != passhash.Mismatch || r.Reason != "" || passhash.Classify(h) != kind.scheme() {
			t.Errorf("%d: %v %q", kind, r.Verdict, r.Reason)
		}
	}
	if len(idleHash) != 3 {
		t.Errorf("%d kinds", len(idleHash))
	}
}

func TestLoginStatusString(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range []LoginStatus{LoginOK, LoginDenied, LoginFailed, LoginNoHome, LoginNoName, LoginNoPassword, LoginNoHash, LoginBadByte, LoginCannotTell, 77} {
		if w := s.String(); w == "" || seen[w] {
			t.Errorf("%d: %q", int(s), w)
		}
		seen[s.String()] = true
	}
}
