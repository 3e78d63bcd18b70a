package mbox

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const fromLine = "From a@b Mon Jan  5 07:01:02 2004\n"

// first reads the first message of a mailbox.
func first(t *testing.T, text string) *Header {
	t.Helper()
	r := NewReader(strings.NewReader(text))
	h, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestState(t *testing.T) {
	for _, c := range []struct {
		fields  string
		state   Flags
		letters string
	}{
		{"", 0, ""},
		{"Status: RO\n", Read | Old, "S"},
		{"Status: O\n", Old, ""},
		{"Status: N\nX-Status: \n", 0, ""},
		{"status:R\nx-STATUS: AFTD\n", Read | Answered | Flagged | Draft | Deleted, "DFRST"},
		{"Status: D\n", Deleted, "T"},
		{"Status: r\n", Answered, "R"},
		{"Status: R\r\n", Read, "S"},
		{"Status:\n R\n", Read, "S"},
		{"Status : R\n", Read, "S"},
		{"X-Status: R\n", Read, "S"},
		{"X-Mozilla-Status: 0001\n", Read, "S"},
		{"X-Mozilla-Status: 100F\n", Read | Answered | Flagged | Deleted | Forwarded, "FPRST"},
		{"X-Mozilla-Status: xyz\n", 0, ""},
		{"X-Evolution: 00000123-0019\n", Answered | Flagged | Read, "FRS"},
		{"X-Evolution: 00000123\n", 0, ""},
		{"Subject: x\n Status: R\n", 0, ""},
		{"Statuses: R\n", 0, ""},
		{"Subject: x\n\nStatus: R\n", 0, ""},
	} {
		h := first(t, fromLine+c.fields+"\nbody\n")
		if h.State != c.state || h.Letters() != c.letters || h.Cur() != (c.state != 0) {
			t.Errorf("%q: state %b %q, want %b %q", c.fields, h.State, h.Letters(), c.state, c.letters)
		}
	}
}

func TestFolderState(t *testing.T) {
	h := first(t, fromLine+"X-IMAPbase: 1073286000 0000000012 NonJunk $Forwarded\nX-UID: 7\nX-UIDL: a1b2\nX-Keywords: NonJunk\n\t work   \n\nx\n")
	want := &Header{
		Offset: int64(len(fromLine)), Length: h.Length, Line: 1, From: h.From,
		Keywords: []string{"NonJunk", "work"}, UID: 7, UIDL: "a1b2",
		Base: &IMAPBase{UIDValidity: 1073286000, LastUID: 12, Keywords: []string{"NonJunk", "$Forwarded"}},
	}
	if d := cmp.Diff(want, h, cmp.AllowUnexported(Header{})); d != "" {
		t.Error(d)
	}
	const mark = "Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n"
	for _, c := range []struct {
		text   string
		pseudo bool
	}{
		{fromLine + mark + "\nx\n", true},
		{fromLine + "X-IMAP: 1 2\n\nx\n", true},
		{fromLine + "X-IMAPbase: 1 2\n\nx\n", false},
		{fromLine + "X-IMAP: spam\n\nx\n", false},
		{fromLine + "Subject: Re: DON'T DELETE THIS MESSAGE\n\nx\n", false},
	} {
		if h := first(t, c.text); h.Pseudo != c.pseudo {
			t.Errorf("%q: pseudo %v", c.text, h.Pseudo)
		}
	}
	list, err := readStream(strings.NewReader(fromLine+"A: b\n\nx\n\n"+fromLine+mark+"X-IMAP: 1 2\n\nx\n"), nil)
	if err != nil || len(list) != 2 || list[1].Pseudo || list[1].Base != nil {
		t.Errorf("a later message counts as pseudo: %+v, %v", list, err)
	}
}

func TestArrival(t *testing.T) {
	const dateless = "From -\n"
	delivered := time.Date(2004, 1, 5, 7, 1, 2, 0, time.UTC)
	received := time.Date(2004, 1, 6, 7, 0, 0, 0, time.UTC)
	sent := time.Date(2004, 1, 4, 20, 0, 0, 0, time.UTC)
	const fields = "Date: Sun, 4 Jan 2004 21:00:00 +0100 (CET)\n" +
		"Received: from x (y; z)\n\tby w; Tue, 6 Jan 2004 08:00:00 +0100\n" +
		"Received: from v by x; Tue, 6 Jan 2004 07:59:00 +0100\n"
	for _, c := range []struct {
		text string
		want time.Time
	}{
		{fromLine + fields, delivered},
		{dateless + fields, received},
		{dateless + "A: b\nDate: Sun, 4 Jan 2004 21:00:00 +0100\n", sent},
		{dateless + "Received: by nobody\nDate: 4 Jan 2004 20:00:00 GMT\n", sent},
		{dateless + "Received: by nobody; whenever\nDate: 4 Jan 04 20:00 UT\n", sent},
		{dateless + "A: b\nC: d\n", time.Time{}},
	} {
		got, ok := first(t, c.text+"\nx\n").Arrival()
		if ok == c.want.IsZero() || !got.Equal(c.want) {
			t.Errorf("%q: %v %v, want %v", c.text, got, ok, c.want)
		}
	}
	cet := time.FixedZone("CET", 3600)
	r := NewReaderOptions(strings.NewReader(fromLine), &Options{Location: cet})
	h, err := r.Next()
	if err != nil || !h.From.Date.Equal(delivered.Add(-time.Hour)) {
		t.Errorf("with a location: %v, %v", h, err)
	}
}

func TestFindBoundary(t *testing.T) {
	for _, c := range []struct{ value, want string }{
		{" multipart/mixed; boundary=b", "b"},
		{"Multipart/Mixed;charset=x;BOUNDARY = \"b c\"; x", "b c"},
		{" multipart/x; boundary=\"\"; boundary=b", "b"},
		{" multipart/x; boundary=\"open; boundary=b", "b"},
		{" multipart/x; xboundary=b", ""},
		{" text/plain; boundary=b", ""},
		{" multipart/x; boundary=b\r", "b"},
		{" multipart/x", ""},
		{" multipart/x; boundary=" + strings.Repeat("b", maxBoundary+1), ""},
	} {
		if got := string(findBoundary([]byte(c.value))); got != c.want {
			t.Errorf("%q: %q, want %q", c.value, got, c.want)
		}
	}
}
