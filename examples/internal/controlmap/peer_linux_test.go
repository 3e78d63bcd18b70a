package controlmap

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const realSendmail = "/usr/libexec/sendmail/sendmail"

// peerScript lets the real Sendmail work in test mode on the host $1, in a
// mount name space where its directories stand in the places of ours.
const peerScript = `set -e
mount --make-rprivate /
hostname mail.example.com
for d in etc var/mail var/spool/mqueue; do mkdir -p /$d; mount --bind "$1/$d" /$d; done
cd /
s=/usr/libexec/sendmail
for m in virtusertable mailertable domaintable genericstable access; do
	$s/makemap -C /etc/mail/sendmail.cf hash /etc/mail/$m </etc/mail/$m >&2 || :
done
exec $s/sendmail -bt -C/etc/mail/sendmail.cf
`

// needSendmail skips a test where the real program cannot run.
func needSendmail(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give Sendmail another /etc")
	}
	_, err := os.Stat(realSendmail)
	if err != nil && os.Getenv("QMAILKIT_REQUIRE_PEERS") == "1" {
		t.Fatal("QMAILKIT_REQUIRE_PEERS=1, but Sendmail is not installed")
	}
	if err != nil {
		t.Skip("Sendmail is not installed")
	}
	if out, err := exec.Command("unshare", "-m", "-u", "true").CombinedOutput(); err != nil {
		t.Skipf("no mount name space of our own: %v: %s", err, out)
	}
}

// askReal asks the real program all Questions.
func askReal(t *testing.T, h host, questions []Question) []string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sendmailhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f, err := os.Open("../../../sendmail/testdata/expand/plain.cf.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	// Every domain exists, and "$|" is in a test what it is in a rule.
	config := strings.ReplaceAll(string(text), "Kresolve host -a<OKR> -T<TEMP>", "Kresolve regex -m -a<OKR> .") + "STranslate\nR$* $$| $*\t$: $1 $| $2\n"
	files := map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\nsmmta:x:101:101::/:/bin/false\nsmmsp:x:102:102::/:/bin/false\ncarol:x:1000:1000::/home/carol:/bin/sh\n",
		"etc/group":  "root:x:0:\nsmmta:x:101:\nsmmsp:x:102:\n", "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
		"etc/hosts": "127.0.0.1 localhost\n192.0.2.1 mail.example.com mail\n", "etc/mail/service.switch": "hosts\tfiles\naliases\tfiles\npasswd\tfiles\n",
		"etc/mail/sendmail.cf": config, "var/mail/x": "", "var/spool/mqueue/x": "", "etc/mail/lists/aliases": "",
	}
	for _, name := range []string{"local-host-names", "virtuser-domains", "relay-domains", "aliases", "virtusertable", "mailertable", "domaintable", "genericstable", "access"} {
		files["etc/mail/"+name] = h[name]
	}
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var in strings.Builder
	for i := range questions {
		fmt.Fprintln(&in, peerCommands(&questions[i]))
	}
	cmd := exec.Command("unshare", "-m", "-u", "sh", "-c", peerScript, "sh", dir)
	cmd.Stdin = strings.NewReader(in.String())
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return peerAnswers(t, out.String(), questions)
}

// peerCommands puts a question to the test mode.
func peerCommands(q *Question) string {
	if q.Domain != "" {
		return fmt.Sprintf("3,0 %s@%s", probe, q.Domain)
	}
	name := "client." + elsewhere
	return fmt.Sprintf(".D{client_addr}%s\n.D{client_name}%s\n.D{client_resolve}OK\n.Df%s\nTranslate,check_relay %s $| %s\ncheck_mail <%s>\ncheck_rcpt <%s>",
		q.Client, name, q.Sender, name, q.Client, q.Sender, q.Rcpt)
}

// peerAnswers reads what the rulesets have returned, in the order of the
// questions.
func peerAnswers(t *testing.T, out string, questions []Question) []string {
	t.Helper()
	returned := func(set string) func() string {
		var list []string
		for l := range strings.Lines(out) {
			if rest, ok := strings.CutPrefix(l, set); ok && strings.Contains(rest, " returns:") && strings.HasPrefix(rest, " ") {
				_, result, _ := strings.Cut(rest, "returns:")
				list = append(list, strings.TrimSpace(result))
			}
		}
		return func() string {
			if len(list) == 0 {
				t.Fatalf("too few answers of %s\n%s", set, out)
			}
			first := list[0]
			list = list[1:]
			return first
		}
	}
	relay, mail, rcpt, parse := returned("check_relay"), returned("check_mail"), returned("check_rcpt"), returned("parse")
	var answers []string
	for _, q := range questions {
		if q.Domain != "" {
			answers = append(answers, parse())
			continue
		}
		answer := taken
		for _, r := range []string{relay(), mail(), rcpt()} {
			if strings.HasPrefix(r, "$# discard") || strings.HasPrefix(r, "$# error $@ quarantine") {
				break
			}
			if strings.HasPrefix(r, "$# error") {
				answer = refused
				break
			}
		}
		answers = append(answers, answer)
	}
	return answers
}

// TestPeer asks the real Sendmail what it does, and qmailcontrol what qmail
// does on the files that were made.
func TestPeer(t *testing.T) {
	needSendmail(t)
	hosts := 2
	if os.Getenv("QMAILKIT_LONG") == "1" {
		hosts = 100
	}
	answers := map[string]int{}
	for seed := range uint64(hosts) {
		r := randomHost{rand.New(rand.NewPCG(seed, 5))}
		h := r.host()
		tr := newTrial(t, seed, h, "plain")
		questions := tr.m.Questions
		for range 30 {
			questions = append(questions, Question{Client: netip.MustParseAddr(r.address()), Sender: "u@" + r.domain(), Rcpt: "v@" + r.domain(), Free: true})
		}
		for i, real := range askReal(t, h, questions) {
			q := &questions[i]
			want := q.Want
			switch {
			case q.Domain != "" && q.Free:
				continue
			case q.Domain != "":
				// "$# esmtp $@ [ h1 . test ] $: ..."; the domain itself is its MX.
				_, host, _ := strings.Cut(real, "$@")
				host, _, _ = strings.Cut(host, "$:")
				host = strings.Trim(strings.ReplaceAll(host, " ", ""), ".")
				name, exact, _ := firstHost(host)
				if real = wayWord(strings.Trim(name, "."), "25"); name == q.Domain && !exact {
					real = byMX
				}
			case want == "":
				tr.envelope(q.Client, q.Sender, q.Rcpt) // which is compared with the rules
				a, err := tr.ask(q)
				if want = refused; err == nil && a.Accepted() {
					want = taken
				}
			}
			if answers[real]++; real != want {
				t.Errorf("seed %d: %s: the real program says %s, want %s", seed, q, real, want)
			}
		}
	}
	if answers[taken] < 20 || answers[refused] < 20 || answers[byMX] == 0 || len(answers) < 4 {
		t.Errorf("answers %v", answers)
	}
	t.Logf("answers %v", answers)
}
