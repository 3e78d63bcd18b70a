package plesk

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qmailkit/qmailkit"
)

func codes(list []qmailkit.Problem) (out []string) {
	for _, p := range list {
		out = append(out, p.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func argv(list []Command) (out [][]string) {
	for _, c := range list {
		out = append(out, c.Argv)
	}
	return out
}

var exampleCom = &Domain{ID: 12, Name: "example.com"}

func TestCommands(t *testing.T) {
	clear := Credential{Clear: "correct horse"}
	hash := Credential{Hash: "$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs."}
	upper := func(c qmailkit.Secret) (qmailkit.Secret, error) {
		return qmailkit.Secret("$1$" + strings.ToUpper(string(c))), nil
	}
	for _, c := range []struct {
		name string
		m    Mailname
		pw   Credential
		o    CommandOptions
		want [][]string
		env  string
		code []string
	}{
		{name: "mailbox", m: Mailname{Name: "anna", Mailbox: true, Quota: 104853504, Aliases: []string{"a.nna", "an'na"}}, pw: clear, env: "PSA_PASSWORD=correct horse",
			want: [][]string{{"/usr/local/psa/bin/mail", "--create", "anna@example.com", "-mailbox", "true", "-passwd", "", "-mbox_quota", "102396", "-aliases", "add:a.nna,an'na"}}},
		{name: "hash and update", m: Mailname{Name: "bert", Mailbox: true, Quota: -1}, pw: hash, o: CommandOptions{Update: true, Bin: "/opt/psa/bin"}, env: "PSA_CRYPTED_PASSWORD=$1$abcdefgh$Z9Nk6p3yFkLRWBq0sNtjs.",
			want: [][]string{{"/opt/psa/bin/mail", "--update", "bert@example.com", "-mailbox", "true", "-passwd", "", "-mbox_quota", "-1"}}},
		{name: "group", m: Mailname{Name: "team", Group: true, Forwards: []string{"a@x.org", "b@x.org", "a@x.org"}}, pw: clear,
			want: [][]string{{"/usr/local/psa/bin/mail", "--create", "team@example.com", "-mailbox", "false", "-forwarding", "true", "-forwarding-addresses", "add:a@x.org,b@x.org"}}, code: []string{"plesk.group-forwards"}},
		{name: "group before 10", m: Mailname{Name: "team", Group: true, Forwards: []string{"a@x.org", `"b, c"@x.org`}}, o: CommandOptions{Tool: ToolRedirect, Suffix: ".sh"},
			want: [][]string{{"/usr/local/psa/bin/mail.sh", "--create", "team@example.com", "-mailbox", "false", "-group", "true", "-groupmem", "add:a@x.org"}}, code: []string{"plesk.argument"}},
		{name: "redirect", m: Mailname{Name: "fwd", Forwards: []string{"a@x.org"}}, o: CommandOptions{Tool: ToolRedirect},
			want: [][]string{{"/usr/local/psa/bin/mail", "--create", "fwd@example.com", "-mailbox", "false", "-redirect", "true", "-rediraddr", "a@x.org"}}},
		{name: "two forwards before 10", m: Mailname{Name: "fwd", Forwards: []string{"a@x.org", "b@x.org"}}, o: CommandOptions{Tool: ToolRedirect},
			want: [][]string{{"/usr/local/psa/bin/mail", "--create", "fwd@example.com", "-mailbox", "false", "-group", "true", "-groupmem", "add:a@x.org,b@x.org"}}, code: []string{"plesk.forwards-group"}},
		{name: "no password", m: Mailname{Name: "nopw", Mailbox: true}, code: []string{"plesk.no-password"}},
		{name: "short", m: Mailname{Name: "anna", Mailbox: true}, pw: Credential{Clear: "äöüß"}, code: []string{"plesk.password-refused"}},
		{name: "own name", m: Mailname{Name: "Anna", Mailbox: true}, pw: Credential{Clear: "2ANNAs"}, code: []string{"plesk.password-refused"}},
		{name: "not UTF-8", m: Mailname{Name: "anna", Mailbox: true}, pw: Credential{Clear: "gr\xfcn gr\xfcn"}, code: []string{"plesk.password-refused"}},
		{name: "NUL", m: Mailname{Name: "anna", Mailbox: true}, pw: Credential{Clear: "abc\x00def"}, o: CommandOptions{Hash: upper}, code: []string{"plesk.password-refused"}},
		{name: "short as a hash", m: Mailname{Name: "a", Mailbox: true, Quota: -1}, pw: Credential{Clear: "1234"}, o: CommandOptions{Hash: upper}, env: "PSA_CRYPTED_PASSWORD=$1$1234",
			want: [][]string{{"/usr/local/psa/bin/mail", "--create", "a@example.com", "-mailbox", "true", "-passwd", "", "-mbox_quota", "-1"}}, code: []string{"plesk.password-hashed"}},
		{name: "no hash to be had", m: Mailname{Name: "a", Mailbox: true}, pw: Credential{Clear: "1234"}, code: []string{"plesk.password-refused"},
			o: CommandOptions{Hash: func(qmailkit.Secret) (qmailkit.Secret, error) { return "", errors.New("no") }}},
		{name: "an option for a name", m: Mailname{Name: "--remove", Mailbox: true}, pw: clear, code: []string{"plesk.argument"}},
		{name: "bytes for a name", m: Mailname{Name: "\xff", Mailbox: true}, pw: clear, code: []string{"plesk.argument"}},
		{name: "delivery off", m: Mailname{Name: "held", Mailbox: true, NoDelivery: true}, pw: clear, env: "PSA_PASSWORD=correct horse",
			want: [][]string{{"/usr/local/psa/bin/mail", "--create", "held@example.com", "-mailbox", "true", "-passwd", "", "-mbox_quota", "-1"}}, code: []string{"plesk.delivery-off"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, probs := Commands(exampleCom, &c.m, c.pw, &c.o)
			if d := cmp.Diff(c.want, argv(got)); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.code, codes(probs)); d != "" {
				t.Error(d)
			}
			for _, one := range got {
				if c.o.Update != (one.Unless == nil) || !c.o.Update && !slices.Equal(one.Unless, []string{one.Argv[0], "--info", one.Argv[2]}) {
					t.Errorf("%q unless %q", one.Argv, one.Unless)
				}
			}
			var env []string
			for _, one := range got {
				env = append(env, one.Environ()...)
			}
			if strings.Join(env, " ") != c.env {
				t.Errorf("environment %q, want %q", env, c.env)
			}
			for _, secret := range []qmailkit.Secret{c.pw.Clear, c.pw.Hash} {
				text := fmt.Sprintf("%q %+v %v", argv(got), got, probs)
				if secret != "" && strings.Contains(text, string(secret)) {
					t.Errorf("a secret can be seen in %s", text)
				}
			}
		})
	}
}

func TestQuotaKB(t *testing.T) {
	for bytes, kb := range map[int64]int64{-1: -1, -7: -1, 0: 0, 1: 1, 1023: 1, 1024: 1, 1025: 2, 104853504: 102396, 1<<63 - 1: 1 << 53} {
		if got := QuotaKB(bytes); got != kb {
			t.Errorf("%d bytes: %d KB, want %d", bytes, got, kb)
		}
	}
}

func TestResponders(t *testing.T) {
	m := &Mailname{Name: "away", AutoRespond: true, Responders: []Responder{
		{Name: "cond", Key: "price", Where: "subj", Text: "100 €", Frequency: 3, Store: 7, Forwards: []string{"b@x.org", "c@x.org"}},
		{Name: "gone", On: true, Where: "no", Subject: originalSubject, ReplyTo: "r@x.org", Text: "I'm\naway", ContentType: "text/html", Charset: "latin1", Frequency: 10,
			Attachments: []string{"a.pdf", "b,c.pdf", "../x"}, End: "2026-12-24 00:00:00"},
	}}
	got, probs := Commands(exampleCom, m, Credential{}, &CommandOptions{Tool: ToolRedirect})
	want := [][]string{
		{"/usr/local/psa/bin/mail", "--create", "away@example.com", "-mailbox", "false"},
		{"/usr/local/psa/bin/autoresponder", "--create", "cond", "-mail", "away@example.com", "-status", "false", "-requires", "subj:price", "-subject", "original", "-text", "100 €", "-frq", "3", "-store", "7", "-redirect", "b@x.org"},
		{"/usr/local/psa/bin/autoresponder", "--create", "gone", "-mail", "away@example.com", "-status", "true", "-requires", "always", "-subject", "original", "-replyto", "r@x.org", "-text", "I'm\naway", "-frq", "10"},
		{"/usr/local/psa/bin/autoresponder", "--update", "gone", "-mail", "away@example.com", "-attach", "add:a.pdf,../x"},
		{"/usr/local/psa/bin/autoresponder", "--on", "away@example.com"},
	}
	if d := cmp.Diff(want, argv(got)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"plesk.argument", "plesk.responder-charset", "plesk.responder-format", "plesk.responder-forwards"}, codes(probs)); d != "" {
		t.Error(d)
	}
	got, probs = Commands(exampleCom, m, Credential{}, nil)
	want = [][]string{
		{"/usr/local/psa/bin/mail", "--create", "away@example.com", "-mailbox", "false"},
		{"/usr/local/psa/bin/autoresponder", "--update", "-mail", "away@example.com", "-status", "true", "-subject", originalSubject, "-text", "I'm\naway", "-end-date", "2026-12-24"},
		{"/usr/local/psa/bin/autoresponder", "--update", "-mail", "away@example.com", "-attach", "add:/var/qmail/mailnames/example.com/away/@attachments/a.pdf"},
	}
	if d := cmp.Diff(want, argv(got)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"plesk.argument", "plesk.responder-charset", "plesk.responder-format", "plesk.responder-reply-to", "plesk.responders"}, codes(probs)); d != "" {
		t.Error(d)
	}
	if got[1].AfterCopy || !got[2].AfterCopy {
		t.Error("attachments are set before they are there")
	}
	// One with a condition would answer everything, and is left out.
	m.Responders = m.Responders[:1]
	m.Responders[0].End = "soon"
	got, probs = Commands(exampleCom, m, Credential{}, nil)
	if len(got) != 1 || !slices.Contains(codes(probs), "plesk.responder-condition") || !slices.Contains(codes(probs), "plesk.responder-end") {
		t.Errorf("%q, %q", argv(got), codes(probs))
	}
}

func seqOf(list []Command) iter.Seq2[Command, error] {
	return func(yield func(Command, error) bool) {
		for _, c := range list {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// TestScript lets sh run a script. A program in the place of Plesk's writes down
// what it gets.
func TestScript(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh: ", err)
	}
	dir := t.TempDir()
	tool := filepath.Join(dir, "mail it's")
	log := filepath.Join(dir, "log")
	body := "#!/bin/sh\n{ for a; do printf '<%s>' \"$a\"; done; printf ' [%s] [%s] [%s]\\0' \"$PSA_PASSWORD\" \"$PSA_CRYPTED_PASSWORD\" \"$secret_1\"; } >>'" + log + "'\n"
	if err := os.WriteFile(tool, []byte(body), 0o700); err != nil {
		t.Fatal(err)
	}
	hard := "it's \"$x\" `id` \\ \n second line; \xff #!*?~"
	commands := []Command{
		{Argv: []string{tool, "--create", "a b", "", "*", hard}, Env: []EnvVar{{"PSA_PASSWORD", qmailkit.Secret(hard)}}, Comment: "first\nrm -rf $HOME"},
		{Argv: []string{tool, "--update", "x"}, Env: []EnvVar{{"PSA_CRYPTED_PASSWORD", "$1$a$b"}}},
		{Argv: []string{tool, "-n"}, Unless: []string{"test", "it's", "=", "this"}},
		{Argv: []string{tool, "never"}, Unless: []string{"test", "it's", "=", "it's"}},
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := WriteScript(root, "run", seqOf(commands), nil); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"run": 0o700, "run.secrets": 0o600} {
		if fi, err := os.Stat(filepath.Join(dir, name)); err != nil || fi.Mode() != mode {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
	cmd := exec.CommandContext(t.Context(), sh, "run", "run.secrets")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	want := "<--create><a b><><*><" + hard + "> [" + hard + "] [] []\x00<--update><x> [] [$1$a$b] []\x00<-n> [] [] []\x00"
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
	script, _ := os.ReadFile(filepath.Join(dir, "run"))
	if strings.Contains(string(script), "$1$a$b") {
		t.Error("a secret stands in the script")
	}
	// A command that fails ends it, with a check in front of it too.
	for _, c := range []Command{{Argv: []string{"false"}}, {Argv: []string{"false"}, Unless: []string{"false"}}} {
		if err := WriteScript(root, "failing", seqOf([]Command{c, {Argv: []string{tool, "never"}}}), nil); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), sh, "failing", "failing.secrets")
		cmd.Dir = dir
		if err := cmd.Run(); err == nil {
			t.Errorf("%q fails, and nobody notices", c.Argv)
		}
	}
	if now, _ := os.ReadFile(log); string(now) != want {
		t.Errorf("%q is run all the same", strings.TrimPrefix(string(now), want))
	}
	cmd = exec.CommandContext(t.Context(), sh, "run")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "missing") {
		t.Errorf("without the secrets: %v, %s", err, out)
	}
}

// TestScriptFaults makes each step of writing fail: both files are as before.
// TestScriptOfAnother runs a script with the secrets of another one, which a run
// that was killed may leave beside it: nobody gets a password that is not his.
func TestScriptOfAnother(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh: ", err)
	}
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, who := range map[string]string{"a": "anna", "b": "bert"} {
		if err := WriteScript(root, name, seqOf([]Command{{Argv: []string{"touch", who}, Env: []EnvVar{{"PSA_PASSWORD", "of " + qmailkit.Secret(who)}}}}), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, secrets := range []string{"b.secrets", os.DevNull} {
		cmd := exec.CommandContext(t.Context(), sh, "a", secrets)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "another script") {
			t.Errorf("%s: %v, %s", secrets, err, out)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "anna")); err == nil {
		t.Error("it is run all the same")
	}
	cmd := exec.CommandContext(t.Context(), sh, "a", "a.secrets")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v, %s", err, out)
	}
}

func TestScriptFaults(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	old := []Command{{Argv: []string{"old"}, Env: []EnvVar{{"PSA_PASSWORD", "old"}}}}
	now := []Command{{Argv: []string{"now"}, Env: []EnvVar{{"PSA_PASSWORD", "now"}}}}
	if err := WriteScript(root, "s", seqOf(old), nil); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	for fail := 0; ; fail++ {
		n := 0
		err := WriteScript(root, "s", seqOf(now), &ScriptOptions{hook: func(op, name string) error {
			if n++; n == fail+1 {
				return boom
			}
			return nil
		}})
		entries, _ := os.ReadDir(dir)
		if len(entries) != 2 {
			t.Fatalf("step %d leaves %v", fail, entries)
		}
		script, _ := os.ReadFile(filepath.Join(dir, "s"))
		secrets, _ := os.ReadFile(filepath.Join(dir, "s.secrets"))
		if err == nil && n <= fail { // no step was made to fail
			if fail < 6 || !strings.HasSuffix(string(script), "now\n") {
				t.Fatalf("%d steps, %q", fail, script)
			}
			return
		}
		if err != nil && !errors.Is(err, boom) {
			t.Fatal(err)
		}
		if strings.HasSuffix(string(script), "now\n") && !strings.Contains(string(secrets), "now") {
			t.Fatalf("step %d: a new script with old secrets", fail)
		}
	}
}

func TestScriptErrors(t *testing.T) {
	for _, c := range []Command{
		{Argv: []string{"mail", "a\x00b"}}, {Argv: []string{"mail"}, Env: []EnvVar{{"PSA_PASSWORD", "a\x00b"}}},
	} {
		if err := CommandScript(&bytes.Buffer{}, &bytes.Buffer{}, seqOf([]Command{c})); !errors.Is(err, ErrArgument) || strings.Contains(err.Error(), "a\x00b") {
			t.Errorf("%v", err)
		}
	}
	boom := errors.New("boom")
	if err := CommandScript(&bytes.Buffer{}, &bytes.Buffer{}, func(yield func(Command, error) bool) { yield(Command{}, boom) }); !errors.Is(err, boom) {
		t.Error(err)
	}
}
