package sendmail

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestParseVacation(t *testing.T) {
	const day = 24 * 3600
	for command, want := range map[string]VacationCall{
		"/usr/bin/vacation ann": {".vacation.msg", 7 * day},
		"vacation":              {".vacation.msg", 7 * day},
		"/usr/bin/vacation -a team -a ann@x -r 3 ann": {".vacation.msg", 3 * day},
		"/usr/bin/vacation -r3 -m .away ann":          {".away", 3 * day},
		"vacation -r infinite ann":                    {".vacation.msg", -1},
		"vacation -t12h -j ann":                       {".vacation.msg", 12 * 3600},
		"vacation -t 2w ann":                          {".vacation.msg", 14 * day},
		"vacation -r 99999999999999999999 ann":        {".vacation.msg", -1},
		"vacation -m":                                 {"", 7 * day},
	} {
		if got, ok := ParseVacation(command); !ok || got != want {
			t.Errorf("%q: %+v, %v", command, got, ok)
		}
	}
	for _, command := range []string{
		"", "/usr/bin/procmail", "vacation -I", "/bin/sh -c vacation", "vacation ann; rm -r /", "vacation $USER", "vacation 'ann'", "vacation ann\nx", "/vacation/x", "vacation `id`",
	} {
		if got, ok := ParseVacation(command); ok {
			t.Errorf("%q: %+v", command, got)
		}
	}
}

func TestVacationText(t *testing.T) {
	h := newFixture(t, map[string]string{
		"etc/passwd":             "ann:*:" + itoa(os.Getuid()) + ":1::/home/ann:/bin/sh\nbob:*:" + itoa(os.Getuid()) + ":1::/home/bob:/bin/sh\ncyd:*:7:7::/home/none:/bin/sh\n",
		"home/ann/.vacation.msg": "Subject: away\n\nbody\n",
		"home/bob/.vacation.msg": "->/etc/passwd",
		"home/bob/.big":          strings.Repeat("x", 1<<20+1),
	}).open()
	accounts := map[string]*Account{}
	for a, err := range h.Accounts(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		accounts[a.Name] = a
	}
	if text, path, err := h.VacationText(accounts["ann"], VacationMessage); err != nil || string(text) != "Subject: away\n\nbody\n" || path != "home/ann/.vacation.msg" {
		t.Errorf("%q, %s, %v", text, path, err)
	}
	for _, c := range []struct {
		user, file string
		want       error
	}{{"bob", VacationMessage, nil}, {"bob", ".big", ErrTooBig}, {"cyd", VacationMessage, fs.ErrNotExist}, {"ann", "../bob/.big", fs.ErrInvalid}, {"ann", "", fs.ErrInvalid}, {"ann", "none", fs.ErrNotExist}} {
		if text, _, err := h.VacationText(accounts[c.user], c.file); err == nil || c.want != nil && !errors.Is(err, c.want) || len(text) > 0 {
			t.Errorf("%s %s: %q, %v", c.user, c.file, text, err)
		}
	}
}

// FuzzParseVacation: no command makes it panic, and a message is a word of it.
func FuzzParseVacation(f *testing.F) {
	for _, s := range []string{"/usr/bin/vacation -a team -r 3 -m .away ann", "vacation -t12h", "vacation -", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, command string) {
		c, ok := ParseVacation(command)
		if ok && (!strings.Contains(command, "vacation") || c.Message != VacationMessage && !strings.Contains(command, c.Message) || c.Seconds < -1) {
			t.Errorf("%q: %+v", command, c)
		}
	})
}
