//go:build linux

package sendmail

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const realSendmail = "/usr/libexec/sendmail/sendmail"

// needSendmail skips a test where the real program cannot be run on a host of
// our own.
func needSendmail(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give Sendmail another /etc")
	}
	why := ""
	if _, err := os.Stat(realSendmail); err != nil {
		why = "Sendmail is not installed"
	} else if out, err := exec.Command("unshare", "-m", "-u", "true").CombinedOutput(); err != nil {
		why = fmt.Sprintf("no mount name space of our own: %v: %s", err, out)
	}
	if why == "" {
		return
	}
	if os.Getenv("QMAILKIT_REQUIRE_PEERS") == "1" && strings.HasPrefix(why, "Sendmail") {
		t.Fatal("QMAILKIT_REQUIRE_PEERS=1, but", why)
	}
	t.Skip(why)
}

// The script runs in a mount name space in which the host's directories stand in
// the places of ours. $1 is the host; addresses come in on standard input, one
// a line.
const peerScript = `set -e
mount --make-rprivate /
hostname mail.example.com
for d in etc home root var/mail var/spool/mqueue; do mkdir -p /$d; mount --bind "$1/$d" /$d; done
cd /
s=/usr/libexec/sendmail
for m in virtusertable mailertable domaintable genericstable access bitdomain uudomain; do [ -e /etc/mail/$m ] || continue
	$s/makemap -C /etc/mail/sendmail.cf hash /etc/mail/$m </etc/mail/$m >&2 || :
done
$s/sendmail -bi -C/etc/mail/sendmail.cf >&2 || :
if [ "$2" = table ]; then exec $s/makemap -C /etc/mail/sendmail.cf -u hash /etc/mail/virtusertable; fi
if [ "$2" = check ]; then exec $s/sendmail -bt -C/etc/mail/sendmail.cf; fi
if [ "$2" = aliases ]; then exec $s/praliases -C /etc/mail/sendmail.cf; fi
while IFS= read -r a; do
	printf '\001%s\n' "$a"
	$s/sendmail -bv -C/etc/mail/sendmail.cf -- "$a" 2>&1 </dev/null || :
done
`

// runPeer lets the real programs work on a host, and returns what they print
// and what the makers of the maps say.
func runPeer(t *testing.T, host sampleTree, what, stdin string) (stdout, words string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sendmailhost")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	host.write(t, dir)
	cmd := exec.Command("unshare", "-m", "-u", "sh", "-c", peerScript, "sh", dir, what)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return out.String(), errs.String()
}

// peerVerdicts asks the real program about addresses.
func peerVerdicts(t *testing.T, host sampleTree, addresses []string) map[string][]string {
	t.Helper()
	out, words := runPeer(t, host, "verify", strings.Join(addresses, "\n")+"\n")
	verdicts := map[string][]string{}
	for _, part := range strings.Split(out, "\x01")[1:] {
		lines := strings.Split(strings.TrimSuffix(part, "\n"), "\n")
		verdicts[lines[0]] = peerLines(lines[1:])
	}
	if len(verdicts) != len(addresses) {
		t.Fatalf("%d answers to %d addresses\n%s", len(verdicts), len(addresses), words)
	}
	return verdicts
}

// fileAndLine stands before what is said about an address in a list.
var fileAndLine = regexp.MustCompile(`^/[^ :]*: line [0-9]+: `)

// peerLines takes the address in front off the lines of sendmail -bv.
func peerLines(lines []string) []string {
	var out []string
	for _, l := range lines {
		if i := strings.LastIndex(l, "... "); i >= 0 {
			l = strings.TrimPrefix(l[i+4:], "deliverable: ")
		}
		out = append(out, fileAndLine.ReplaceAllString(l, ""))
	}
	return sorted(out)
}

// TestPeerCorpus asks the real program about the sample host. With
// QMAILKIT_UPDATE=1 it writes its verdicts down.
func TestPeerCorpus(t *testing.T) {
	needSendmail(t)
	for _, name := range corpora {
		t.Run(name, func(t *testing.T) {
			host := newSampleHost(t, name)
			corpusHost(host)
			addresses := corpusAddresses()
			real := peerVerdicts(t, host, addresses)
			if os.Getenv("QMAILKIT_UPDATE") == "1" {
				writeVerdicts(t, name, addresses, real)
			}
			for _, a := range addresses {
				if want := readVerdicts(t, name)[a]; !slices.Equal(real[a], want) {
					t.Errorf("%q: the real program says\n%q, and has said\n%q", a, real[a], want)
				}
			}
			t.Logf("%d addresses", len(addresses))
		})
	}
}

func writeVerdicts(t *testing.T, name string, addresses []string, verdicts map[string][]string) {
	t.Helper()
	var b strings.Builder
	for _, a := range addresses {
		fmt.Fprintf(&b, "%q", a)
		for _, l := range verdicts[a] {
			fmt.Fprintf(&b, "\t%q", l)
		}
		b.WriteByte('\n')
	}
	out := []byte(b.String())
	if !slices.Contains(corpora, name) {
		var z bytes.Buffer
		w, err := gzip.NewWriterLevel(&z, gzip.BestCompression)
		if err == nil {
			_, err = w.Write(out)
		}
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		out = z.Bytes()
	}
	if err := os.WriteFile(goldenFile(name), out, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPeerAliases compares what the real program stores of an alias file with
// what ReadAliases and the rules make of it.
func TestPeerAliases(t *testing.T) {
	needSendmail(t)
	odd := "a: b \\\n c, d\n e \\\nf\n# comment \\\nswallowed: x\nx1: y # z\n y: z\nx2:\n\n p\n  q\nx3 : a,b  \nx4: a\\\\nb\n : d\nx5 x\n\"x6 y\" : \"z: z\"\n" +
		"x7: y\r\nX8: Y\n\"x:9\": z\nx10: a\\\n\nx11: b\ne1:\n  bob\ne2:  \n\ne3: ,\ne4: \"\"\ne5: (c)\ne6:\n\t\n(c) n: b\nn m: b\n<an>: b\nx@y: z\nl@example.com: q\n" +
		"b%a: c\n\\esc: b\nb\\sc: d\n.dot: e\n\xfcml: f\ndup: a\nDup: b\nlong: " + strings.Repeat("l", 8191-len("long: \n")) + "\nlonger: " + strings.Repeat("l", 8192-len("longer: \n")) +
		"\n goes: on\nn1: b\x00c\nn2: swallowed\n and more\nn3: kept\nn4: b\x00c\n d\nn5: x\\\ny\x00z\nn6: gone\n# c\x00d\nn7: gone\nn8: ok\n# comment\n  joined: x\nn9: z\n\\\nn10: a\n#c\\\nn11: b\nbob): x\n(c: b\n<d: b\n" +
		"\"e: b\nf: \\\n\ng\\: b\nh\\:i: b\n\t\nsl: " + strings.Repeat("l\\\n", 4093) + "\nsl2: " + strings.Repeat("l\\\n", 8200) + "\nPostMaster: p\n+a: b\na+b: c\nlast: one"
	for name, text := range map[string]string{"corpus": corpusAliasText(), "odd": odd} {
		host := newSampleHost(t, "plain")
		host.file("etc/mail/aliases", text)
		out, words := runPeer(t, host, "aliases", "")
		var want, got []string
		for l := range strings.Lines(out) {
			if l != "@:@\n" {
				want = append(want, strings.TrimSuffix(l, "\n"))
			}
		}
		for _, f := range host.expander(t).aliases {
			for key, a := range f.keys {
				got = append(got, key+":"+a.Text)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		for _, l := range want {
			if !slices.Contains(got, l) {
				t.Errorf("%s: only the real program has %.100q", name, l)
			}
		}
		for _, l := range got {
			if !slices.Contains(want, l) {
				t.Errorf("%s: the real program has no %.100q", name, l)
			}
		}
		if len(want) < 20 {
			t.Errorf("%s: %d aliases\n%s", name, len(want), words)
		}
	}
}

// TestPeerTable compares what makemap stores of a table with what ReadTable
// finds in it.
func TestPeerTable(t *testing.T) {
	needSendmail(t)
	odd := "# c\nKey one two  \nkey three\n  stray v\nnovalue\n\n \t\nTAB\tv\tw\nMixed@Case.Example Value\n#no v\n\"q k\" v\na:b c:d\ncr v\r\nff\fv\n" +
		"\xe9t\xe9 J\xf6rg\n%1 %2\n@ at\nlast v"
	for name, text := range map[string]string{"corpus": corpusVirtusers, "odd": odd} {
		host := newSampleHost(t, "plain")
		host.file("etc/mail/virtusertable", text)
		out, words := runPeer(t, host, "table", "")
		table, _, err := ReadTable(t.Context(), strings.NewReader(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for l := range strings.Lines(out) {
			want = append(want, trimBlanks(l)) // the rules do not see blanks behind a value
		}
		for e := range table.Entries() {
			if table.Lookup(e.Key) == e {
				got = append(got, lower(e.Key)+"\t"+e.Value)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q\n%s", name, got, want, words)
		}
	}
}
