package qmailcontrol_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit/qmailcontrol"
)

// unpack makes the control directory of a golden case, with modes and times.
func unpack(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata/control", name, "control.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return filepath.Join(top, "control")
		}
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(top, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(at, 0o755)
		} else {
			var b []byte
			if b, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(at, b, h.FileInfo().Mode().Perm())
			}
		}
		if err == nil {
			err = os.Chtimes(at, h.ModTime, h.ModTime)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func load(t testing.TB, dir string) *qmailcontrol.Config {
	t.Helper()
	r, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c, err := qmailcontrol.LoadConfig(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// golden yields the lines of one file of all cases, at least so many of them.
func golden[T any](t *testing.T, file string, least int, check func(t *testing.T, c *qmailcontrol.Config, line T)) {
	t.Helper()
	cases, _ := filepath.Glob("testdata/control/*/" + file + ".jsonl.gz")
	lines := 0
	for _, name := range cases {
		dir := filepath.Base(filepath.Dir(name))
		t.Run(dir, func(t *testing.T) {
			c := load(t, unpack(t, dir))
			for _, line := range gzipLines[T](t, name) {
				lines++
				check(t, c, line)
			}
		})
	}
	if lines < least {
		t.Errorf("%d lines in %d cases, want %d", lines, len(cases), least)
	}
}

func gzipLines[T any](t *testing.T, name string) []T {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	for d := json.NewDecoder(z); ; {
		var v T
		err := d.Decode(&v)
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all = append(all, v)
	}
}

type rcpt struct {
	Init      int
	Addr      latin1
	Rcpthosts int
}

func TestRcptHostsGolden(t *testing.T) {
	golden(t, "rcpthosts", 550, func(t *testing.T, c *qmailcontrol.Config, want rcpt) {
		r, err := c.RcptHosts()
		if (err != nil) != (want.Init == -1) {
			t.Fatalf("%v, want %+v", err, want)
		}
		compareRcpt(t, r, want)
	})
}

func compareRcpt(t *testing.T, r *qmailcontrol.RcptHosts, want rcpt) {
	t.Helper()
	got := 0
	allowed, err := r.Allows(string(want.Addr))
	switch {
	case err != nil:
		got = -1
		if !errors.Is(err, qmailcontrol.ErrMorercpthosts) {
			t.Errorf("%q: %v", want.Addr, err)
		}
	case allowed:
		got = 1
	}
	if got != want.Rcpthosts {
		t.Errorf("%q: %d, want %d", want.Addr, got, want.Rcpthosts)
	}
}

func TestRewriteGolden(t *testing.T) {
	type line struct {
		QmailSend *string `json:"qmail-send"`
		Recip     latin1
		Chan      string
		To        latin1
		BounceAs  latin1 `json:"bounce_as"`
	}
	golden(t, "rewrite", 486, func(t *testing.T, c *qmailcontrol.Config, want line) {
		s, err := c.Send()
		if (err != nil) != (want.QmailSend != nil) {
			t.Fatalf("%v, want %+v", err, want)
		}
		if err != nil {
			if !errors.Is(err, qmailcontrol.ErrControls) {
				t.Error(err)
			}
			return
		}
		got := s.Rewrite(string(want.Recip))
		if got.Channel.String() != want.Chan || got.To != string(want.To) {
			t.Errorf("%q: %+v, want %s %q", want.Recip, got, want.Chan, want.To)
		}
		if name := s.BounceName(got.To); name != string(want.BounceAs) {
			t.Errorf("%q: bounces as %q, want %q", got.To, name, want.BounceAs)
		}
	})
}

func TestRouteGolden(t *testing.T) {
	type line struct {
		Domain latin1
		Route  string
		Relay  *latin1
		Port   *uint16
	}
	golden(t, "smtproutes", 357, func(t *testing.T, c *qmailcontrol.Config, want line) {
		r, err := c.Remote()
		if (err != nil) != (want.Route == "none") {
			t.Fatalf("%v, want %+v", err, want)
		}
		if err != nil {
			return
		}
		got := r.Route(string(want.Domain))
		if got.How.String() != want.Route || want.Port != nil && got.Port != *want.Port {
			t.Errorf("%q: %+v, want %+v", want.Domain, got, want)
		}
		if want.Relay != nil {
			host := got.Host
			if got.Addr.IsValid() {
				host = got.Addr.String()
			}
			if host != string(*want.Relay) {
				t.Errorf("%q: %+v, want %q", want.Domain, got, *want.Relay)
			}
		}
	})
}

func TestSMTPDGolden(t *testing.T) {
	type line struct {
		Cmd, Reply  string
		Rcpt        *latin1
		RcptRaw     *latin1 `json:"rcpt_raw"`
		MailFrom    *latin1
		RcptReply   string  `json:"rcpt_postmaster_reply"`
		RelayClient *string `json:"relayclient"`
	}
	checked := 0
	golden(t, "smtpd", 848, func(t *testing.T, c *qmailcontrol.Config, want line) {
		opts := &qmailcontrol.SMTPDOptions{RelayClient: want.RelayClient}
		d, err := c.SMTPD(opts)
		if err != nil {
			if want.Cmd == "(connect)" && want.Reply != qmailcontrol.ReplyControls {
				t.Errorf("%v, want %+v", err, want)
			}
			checked++
			return
		}
		mail, arg := "FROM:<sender@example.org>", ""
		reply := want.Reply
		switch {
		case want.Cmd == "(connect)":
			var b latin1
			if err := b.UnmarshalJSON(quote(want.Reply)); err != nil || "220 "+d.Greeting+" ESMTP" != string(b) {
				t.Errorf("greeting %q, want %q (%v)", d.Greeting, b, err)
			}
			checked++
			return
		case want.Rcpt != nil:
			arg = "TO:<" + string(*want.Rcpt) + ">"
		case want.RcptRaw != nil:
			arg = "TO:" + string(*want.RcptRaw)
		case want.MailFrom != nil:
			mail, arg, reply = "FROM:<"+string(*want.MailFrom)+">", "TO:<postmaster>", want.RcptReply
		default:
			checked++ // HELO and MAIL decide nothing
			return
		}
		checked++
		if got, _ := d.Recipient(mail, arg); got != reply {
			t.Errorf("%s, %s: %q, want %q", mail, arg, got, reply)
		}
	})
	if checked < 848 {
		t.Errorf("%d lines", checked)
	}
}

func TestInjectGolden(t *testing.T) {
	type line struct {
		To         latin1
		ToOut      latin1 `json:"to_out"`
		FromOut    latin1 `json:"from_out"`
		ReturnPath latin1 `json:"return_path_out"`
		MessageID  latin1 `json:"message_id_out"`
	}
	golden(t, "inject", 153, func(t *testing.T, c *qmailcontrol.Config, want line) {
		j, err := c.Inject(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, recips, err := j.Complete(string(want.To))
		if err != nil || got != string(want.ToOut) {
			t.Errorf("%q: %q %v, want %q", want.To, got, err, want.ToOut)
		}
		if !strings.HasSuffix(strings.TrimSuffix(got, ">"), recips[len(recips)-1]) {
			t.Errorf("%q: recipients %q of %q", want.To, recips, got)
		}
		from, _, err := j.Complete("joe")
		if err != nil || from != string(want.FromOut) || "<"+from+">" != string(want.ReturnPath) {
			t.Errorf("from %q %v, want %q", from, err, want.FromOut)
		}
		if j.IDHost+">" != string(want.MessageID) {
			t.Errorf("message id host %q, want %q", j.IDHost, want.MessageID)
		}
	})
}

// installation is that of the golden machine.
func installation() qmailcontrol.Installation {
	in := qmailcontrol.DefaultInstallation()
	in.Alias, in.QmailD, in.QmailL, in.QmailP = 64010, 64011, 64015, 64016
	in.QmailQ, in.QmailR, in.QmailS = 64014, 64013, 64012
	in.NoFiles, in.Qmail = 64011, 64010
	return in
}

func TestShowCtlGolden(t *testing.T) {
	cases, _ := filepath.Glob("testdata/control/*/showctl.txt")
	if len(cases) < 17 {
		t.Fatalf("%d cases", len(cases))
	}
	others := 0
	for _, name := range cases {
		dir := filepath.Base(filepath.Dir(name))
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		if err := load(t, unpack(t, dir)).ShowCtl(&got, installation()); err != nil {
			t.Errorf("%s: %v", dir, err)
		}
		gotFixed, gotOthers := parts(got.String())
		fixed, names := parts(string(want))
		slices.Sort(names) // the file system had its own order
		if gotFixed != fixed || !slices.Equal(gotOthers, names) {
			t.Errorf("%s: got:\n%s\nwant:\n%s", dir, got.String(), want)
		}
		others += len(names)
	}
	if others == 0 {
		t.Error("no unknown files")
	}
}

// parts cuts the unknown files off the output of qmail-showctl.
func parts(text string) (fixed string, others []string) {
	at := strings.Index(text, "\nvirtualdomains: ")
	for _, line := range strings.SplitAfter(text[at:], "\n\n")[1:] {
		others = append(others, strings.TrimRight(line, "\n"))
	}
	if len(others) == 0 {
		return text, nil
	}
	return text[:strings.Index(text, "\n"+others[0])], others
}

func quote(s string) []byte {
	b, _ := json.Marshal(s)
	return b
}

// The cdb that qmail-newmrh made is understood as rcpthosts.c understands it.
func TestNewMRHRcptHosts(t *testing.T) {
	cases, _ := filepath.Glob("testdata/newmrh/*/rcpthosts.jsonl.gz")
	if len(cases) < 8 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, name := range cases {
		c := qmailcontrol.NewConfig()
		text, missing := readMaybeGzip(t, filepath.Join(filepath.Dir(name), "morercpthosts"))
		if !missing {
			if err := c.SetText("morercpthosts", string(text)); err != nil {
				t.Fatal(err)
			}
			if err := c.NewMRH(); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.SetText("rcpthosts", "local.example.com\n"); err != nil {
			t.Fatal(err)
		}
		r, err := c.RcptHosts()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range gzipLines[rcpt](t, name) {
			compareRcpt(t, r, want)
		}
	}
}
