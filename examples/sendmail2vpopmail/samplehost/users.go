package samplehost

import (
	"fmt"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/sendmail"
)

// A user is a line of passwd, and of shadow.
type user struct {
	name   string
	uid    int
	gid    int
	gecos  string
	clear  string // password that hash was made of
	mark   string // before hash
	hash   string // from crypt(3) of libxcrypt
	scheme string
	expire string // field 8 of shadow, in days since 1970
	state  sendmail.State
}

// firstUser is the lowest number of a person.
const firstUser = 1000

// users are in the order of passwd. Each person has another kind of hash.
var users = []user{
	{name: "root", gecos: "Charlie &", mark: "*"},
	{name: "daemon", uid: 1, gid: 1, gecos: "daemon", mark: "*"},
	{name: "mail", uid: 8, gid: 8, gecos: "mail", mark: "*"},
	{name: "backup", uid: 34, gid: 34, gecos: "backup,,,", clear: "old but gone", hash: "$1$PeggySue$PSB4QyuZ6Wl/sNnW.D5NY.", scheme: "md5"},
	{name: "alice", uid: 1001, gecos: "& Liddell,Room 1,555-0101", clear: "wonder04", hash: "Sm7ZDiLO8R65U", scheme: "des"},
	{name: "bob", uid: 1002, gecos: "Bob Builder", clear: "can we fix it? yes", hash: "_J9..BoBsI2wQtqLwSD6", scheme: "bsdi"},
	{name: "carol", uid: 1003, gecos: "& of the Bells", clear: "christmas carol", hash: "$1$Nutmeg22$ixjIl5DACFjuEDGA6nkFI/", scheme: "md5"},
	{name: "dave", uid: 1004, gecos: "Dave", clear: "it's Dave's", hash: "$2y$05$qmailkitsampleDAVE123uaTEoOjtO7XqIWL7mQi/zYW343CJlEX.", scheme: "bcrypt"},
	{name: "erin", uid: 1005, gecos: "Erin O'Reilly", clear: "Erin go bragh 100%", hash: "$2b$05$qmailkitsampleERIN123uMj3xt5jidRbmF6.wpR0mR2/Wp0EAWWq", scheme: "bcrypt"},
	{name: "frank", uid: 1006, gecos: "Frank", clear: "frankly, my dear", hash: "$5$SampleFrank$vV8HqAtGOFkA/wgkY241UenJT2rA2lGZoa0MPLMvfJ8", scheme: "sha256"},
	{name: "Grace", uid: 1007, gecos: "& Hopper", clear: `Amazing "Grace"`, hash: "$6$SampleGrace$YQnHYa36xkfRq7Z2Dn3owInu58BNRafYIF/TkILzEP/AifpaIlsAYDRuMmTyz8HeVS1d0RGadR1Bc6Gk6YxzJ.", scheme: "sha512"},
	{name: "heidi", uid: 1008, gecos: "Heidi", clear: "alps & goats", hash: "$6$rounds=5000$SampleHeidi$a6EHp4DA2nB50uZTZ3C4aIwB/V4I/e4axs9BbhHvH/luV4j0cihoCQZtrcUh8XbwMeUquts8t1aB5JAHFJ/D/.", scheme: "sha512"},
	{name: "ivan", uid: 1009, gecos: "Ivan IV", clear: "terrible 4th", hash: "$y$j9T$SampIvan$JwE7qMgpR1r6vtblshHZaMtL4HXmwSd6j3kzuxuJTVB", scheme: "yescrypt"},
	{name: "judy", uid: 1010, gecos: "Judy", clear: `punch\judy`, hash: "$sha1$4000$SampleJudy$heg3i8muzp2Q1ps8WaTXHb70KQUg", scheme: "sha1"},
	{name: "mike", uid: 1011, gecos: "Mike,,,", clear: "testing 1 2 3", hash: "$md5$SampleMk$$wCDZXr2ehVb6oTEU/WMBc0", scheme: "sunmd5"},
	{name: "niaj", uid: 1012, gecos: "Niaj", clear: "locked out", mark: "!", hash: "$6$SampleNiaj$FzyAFCDrMmiJiWH85Amhpj/WLSjV07lZkt121eA9863xb7tROoxktQwLCfmMK0Iz8COyl.yZm8NhjFLpvu/1l0", scheme: "sha512", state: sendmail.Locked},
	{name: "olivia", uid: 1013, gecos: "Olivia", mark: "*", state: sendmail.NoPassword},
	{name: "peggy", uid: 1014, gecos: "Peggy", mark: "*LK*", state: sendmail.NoPassword},
	{name: "rupert", uid: 1015, gecos: "Rupert Bear", clear: "bear hunt", hash: "$5$SampleRupert$R00iIqxCXGFtZCAqiphBl68cDrRbhRxpV5xYxJlS1L9", scheme: "sha256", expire: "14000", state: sendmail.Expired},
	{name: "sybil", uid: 1016, gecos: "Sybil", state: sendmail.Empty},
}

// home is the home directory in passwd.
func (u *user) home() string {
	switch u.uid {
	case 0:
		return "/root"
	case 1:
		return "/usr/sbin"
	case 8:
		return "/var/mail"
	case 34:
		return "/var/backups"
	}
	return "/home/" + u.name
}

// group is the user's own number for people.
func (u *user) group() int {
	if u.uid >= firstUser {
		return u.uid
	}
	return u.gid
}

func (u *user) shell() string {
	switch {
	case u.name == "judy": // mail only, and carried all the same
		return "/usr/sbin/nologin"
	case u.uid == 0 || u.uid >= firstUser:
		return "/bin/bash"
	}
	return "/usr/sbin/nologin"
}

// passwdFile and shadowFile are the texts of those files.
func passwdFile() string {
	var b strings.Builder
	for _, u := range users {
		fmt.Fprintf(&b, "%s:x:%d:%d:%s:%s:%s\n", u.name, u.uid, u.group(), u.gecos, u.home(), u.shell())
	}
	return b.String()
}

func shadowFile() string {
	var b strings.Builder
	for _, u := range users {
		fmt.Fprintf(&b, "%s:%s%s:12600:0:99999:7::%s:\n", u.name, u.mark, u.hash, u.expire)
	}
	return b.String()
}

// account is the user's part of the Manifest, without mail.
func (u *user) account() Account {
	a := Account{
		Name: u.name, Target: strings.ToLower(u.name), UID: u.uid, GID: u.group(),
		Password: qmailkit.Secret(u.clear), Hash: qmailkit.Secret(u.hash), Scheme: u.scheme, State: u.state,
	}
	a.Login = a.State == sendmail.Active && u.hash != "" && u.uid >= firstUser
	return a
}
