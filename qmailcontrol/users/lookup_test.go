package users

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// database makes users/cdb of an assign.
func database(t testing.TB, assign string) memory {
	t.Helper()
	var m memory
	if err := WriteCDB(&m, strings.NewReader(assign)); err != nil {
		t.Fatal(err)
	}
	return m
}

func openDB(t testing.TB, cdb []byte) *DB {
	t.Helper()
	db, err := OpenDB(bytes.NewReader(cdb), int64(len(cdb)))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		uid, gid string
		want     error
		report   string
	}{
		{"1", "0", nil, ""},
		{"0", "1", ErrRoot, "Not allowed to perform deliveries as root."},
		{"", "1", ErrRoot, "Not allowed to perform deliveries as root."},
		{"4294967296", "1", ErrRoot, "Not allowed to perform deliveries as root."},
		{"4294967295", "1", ErrBadID, "Internal qmail-lspawn bug."},
		{"1", "4294967295", ErrBadID, "Internal qmail-lspawn bug."},
	} {
		err := User{UID: c.uid, GID: c.gid}.Check()
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s:%s: %v", c.uid, c.gid, err)
		}
		if err != nil && Report(err) != c.report {
			t.Errorf("%s:%s: %q", c.uid, c.gid, Report(err))
		}
	}
	if got := Report(errors.New("?")); got != "Temporary failure in qmail-lspawn." {
		t.Errorf("unknown error: %q", got)
	}
}

// A record with too few fields is none of qmail-newu's, but may be there.
func TestBadRecord(t *testing.T) {
	var m memory
	c := newCompiler(&m)
	for key, data := range map[string]string{"!few\x00": "joe\x001\x002", "!wild-": "joe\x001\x002\x00/\x00-", "!wilder-": "joe\x001\x002\x00/\x00-\x00x\x00y"} {
		if err := c.w.Add([]byte(key), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	c.ends = []byte("-")
	if err := c.finish(); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, m)
	for _, local := range []string{"few", "wild-x"} {
		if u, found, err := db.Lookup(local); found || !errors.Is(err, ErrRecord) {
			t.Errorf("Lookup(%q) = %+v %t, %v", local, u, found, err)
		}
		a, err := Lspawn{DB: db}.Find(local)
		if !errors.Is(err, ErrRecord) || a.Via != ViaCDB || Report(err) != "Internal qmail-lspawn bug." {
			t.Errorf("Find(%q) = %+v, %v", local, a, err)
		}
	}
	// What stands behind the sixth field takes the rest of the local part.
	if u, found, err := db.Lookup("wilder-z"); !found || err != nil || u.Ext != "x" {
		t.Errorf("%+v %t, %v", u, found, err)
	}
}

func TestLocalWithNUL(t *testing.T) {
	db := openDB(t, database(t, "=a:u:1:1:/:-:one:\n=a\x01:u:1:1:/:-:two:\n.\n"))
	if u, found, err := db.Lookup("a\x00b"); !found || err != nil || u.Ext != "one" {
		t.Errorf("%+v %t, %v", u, found, err)
	}
}

func TestGetpw(t *testing.T) {
	n31, n32 := strings.Repeat("a", 31), strings.Repeat("a", 32)
	passwd := strings.Join([]string{
		"root:x:0:0::/root:/bin/sh",
		"alias:x:7:8::/var/qmail/alias:/bin/false",
		"joe:x:10:20:Joe,,,:/home/joe:/bin/sh",
		"joe:x:11:21::/second:",
		"joe-x:x:12:22::/home/joe-x:",
		"away:x:13:23::/away:",
		"other:x:14:24::/home/joe:",
		"bsd:*:15:25:staff:0:0:B S D:/home/bsd:/bin/csh",
		"+nis::::::", "-no:x:1:1::/:", "short:x:16:26", "text:x:abc:1::/:", "big:x:4294967296:1::/:",
		n31 + ":x:31:31::/31:", n32 + ":x:32:32::/32:",
	}, "\n")
	accounts, err := ReadPasswd(strings.NewReader(passwd))
	if err != nil {
		t.Fatal(err)
	}
	if len(accounts) != 9 {
		t.Errorf("%d accounts: %v", len(accounts), accounts)
	}
	g := &Getpw{Accounts: accounts, HomeOwner: func(home string) (uint32, bool, error) {
		for _, a := range accounts {
			if a.Home == home && a.Name != "other" {
				return a.UID, home != "/away", nil
			}
		}
		return 0, false, errors.New("who knows")
	}}
	alias := func(ext string) User { return User{"alias", "7", "8", "/var/qmail/alias", "-", ext} }
	joe := func(dash, ext string) User { return User{"joe", "10", "20", "/home/joe", dash, ext} }
	for local, want := range map[string]User{
		"joe": joe("", ""), "JOE": joe("", ""), "joe-": joe("-", ""), "joe-A-b": joe("-", "A-b"), "joe\x00-x": joe("", ""),
		"joe-x":   {"joe-x", "12", "22", "/home/joe-x", "", ""},
		"joe-x-y": {"joe-x", "12", "22", "/home/joe-x", "-", "y"},
		"bsd":     {"bsd", "15", "25", "/home/bsd", "", ""},
		"joey":    alias("joey"), "root": alias("root"), "away-x": alias("away-x"), "other": alias("other"), "": alias(""), "-joe": alias("-joe"),
		n31: {n31, "31", "31", "/31", "", ""}, n31 + "-e": {n31, "31", "31", "/31", "-", "e"}, n32: alias(n32), n32 + "-e": alias(n32 + "-e"),
	} {
		if u, err := g.Lookup(local); err != nil || u != want {
			t.Errorf("%q: %+v, %v", local, u, err)
		}
	}
	if u, err := (&Getpw{Accounts: accounts, Break: '+', Alias: "bsd"}).Lookup("joe-x+y"); err != nil || u.Name != "joe-x" || u.Ext != "y" {
		t.Errorf("break +: %+v, %v", u, err)
	}
	g.HomeOwner = func(string) (uint32, bool, error) { return 0, false, errors.New("NFS") }
	if _, err := g.Lookup("joe"); !errors.Is(err, ErrHome) || Report(err) != "NFS failure in qmail-local." {
		t.Errorf("home in doubt: %v", err)
	}
	if _, err := (&Getpw{}).Lookup("joe"); !errors.Is(err, ErrNoAlias) || Report(err) != "Unable to find alias user!" {
		t.Errorf("no alias: %v", err)
	}
	if _, err := (Lspawn{}).Find("joe"); !errors.Is(err, ErrNoAlias) {
		t.Errorf("no accounts: %v", err)
	}
}

func TestPasswdLongLine(t *testing.T) {
	_, err := ReadPasswd(strings.NewReader("a:x:1:1::/:\n" + strings.Repeat("x", 1<<17)))
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error %v", err)
	}
}

// A damaged file gives errors or wrong answers, as it would in qmail, but no
// panic and no more memory than it is long.
func FuzzDB(f *testing.F) {
	good := database(f, sample)
	f.Add([]byte(good), "example.com-info")
	f.Add([]byte(good[:len(good)-40]), "joe")
	f.Add([]byte(good[:1000]), "joe")
	f.Add(make([]byte, 2048), "")
	f.Add([]byte{}, "")
	lying := bytes.Clone(good)
	copy(lying[2048:], "\xff\xff\xff\xff\xff\xff\xff\x7f")
	f.Add(lying, "example.com-")
	f.Fuzz(func(t *testing.T, cdb []byte, local string) {
		db, err := OpenDB(bytes.NewReader(cdb), int64(len(cdb)))
		if err != nil && !errors.Is(err, ErrDB) {
			t.Fatal(err)
		}
		if len(local) > 1000 {
			return
		}
		a, e := Lspawn{DB: db}.Find(local)
		if len(a.Probes) == 0 || a.Probes[0] != "" || err != nil && !errors.Is(e, err) {
			t.Fatalf("%+v, %v", a, e)
		}
		if len(a.Text) > len(cdb)+len(local)+1 {
			t.Fatalf("%d bytes out of %d", len(a.Text), len(cdb))
		}
		u, found, err := db.Lookup(local)
		if found && (a.Via != ViaCDB || a.User != u) || found && err != nil {
			t.Fatalf("Lookup gives %+v, %v, Find %+v, %v", u, err, a, e)
		}
	})
}
