package samplehost

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// A mailFile is a file of the host that holds, or seems to hold, mail.
type mailFile struct {
	owner  string
	path   string   // in the tree, without links
	folder []string // nil is the inbox
	box    *box     // nil if it is no mbox
	text   string   // in place of a box
	report string   // code of the Problem that it gives
}

func (f *mailFile) content() string {
	if f.box != nil {
		return f.box.text.String()
	}
	return f.text
}

// spool is a file in the directory of incoming mail.
func spool(owner string, b *box) mailFile {
	return mailFile{owner: owner, path: "var/mail/" + owner, box: b}
}

// inFolder is a file in ~/mail.
func inFolder(owner, name string, b *box) mailFile {
	return mailFile{owner: owner, path: "home/" + owner + "/mail/" + name, folder: strings.Split(name, "/"), box: b}
}

// draftsName has a letter beyond ASCII, in UTF-8.
const draftsName = "Entw\u00fcrfe"

// mailFiles are all mail of the host; of one user in the order in which
// sendmail.Host.Mailboxes finds them.
func mailFiles() []mailFile {
	return []mailFile{
		spool("root", plainBox("root", "root@wonderland.example", 1)),
		spool("alice", aliceSpool()),
		inFolder("alice", draftsName, plainBox("drafts", "rabbit@hole.example", 1)),
		inFolder("alice", "Work/2004", workFolder()),
		inFolder("alice", "Work/2005", plainBox("work5", "hatter@tea.example", 3)),
		inFolder("alice", "release.notes", plainBox("notes", "dormouse@tea.example", 2)),
		inFolder("alice", "sent-mail", plainBox("sent", "alice@wonderland.example", 4)),
		spool("bob", bobSpool()),
		{owner: "bob", path: "home/bob/mbox", folder: []string{"mbox"}, box: plainBox("bobmbox", "wendy@yard.example", 3)},
		inFolder("bob", "lists/qmail", plainBox("list", "qmail-return-42-bob=wonderland.example@list.example", 6)),
		spool("carol", carolSpool()),
		spool("dave", daveSpool()),
		spool("erin", erinSpool()),
		{owner: "frank", path: "var/mail/frank", report: "sendmail.spool-not-mbox",
			text: "\x00\x00\x00\x00lost sectors were here\n" + plainBox("frank", "rhett@tara.example", 2).text.String()},
		spool("Grace", plainBox("grace", "cobol@navy.example", 3)),
		spool("heidi", heidiSpool()),
		spool("ivan", plainBox("ivan", "anastasia@moscow.example", 2)),
		spool("judy", judySpool()),
		{owner: "judy", path: "export/home/judy/mail/kept", folder: []string{"kept"}, box: plainBox("kept", "punch@booth.example", 2)},
		spool("mike", plainBox("mike", "sierra@alpha.example", 3)),
		{owner: "mike", path: "home/mike/mail/fast.mbx", folder: []string{"fast.mbx"}, report: "sendmail.foreign-format",
			text: "*mbx*\r\n3a2b1c0d00000001\r\n"},
		spool("niaj", plainBox("niaj", "warden@tower.example", 2)),
		spool("olivia", plainBox("olivia", "newton@john.example", 1)),
		spool("peggy", plainBox("peggy", "buddy@holly.example", 2)),
		spool("rupert", plainBox("rupert", "bill@badger.example", 2)),
		spool("sybil", plainBox("sybil", "oracle@delphi.example", 1)),
	}
}

// plainBox has n simple messages from one sender, some of them read.
func plainBox(id, from string, n int) *box {
	b := newBox(id, 100+7*len(id))
	for i := range n {
		m := letter(from, id+"@wonderland.example", fmt.Sprintf("Letter %d from %s", i+1, from), 3+4*i)
		m.state = [...]string{"", "Status: RO\n", "Status: O\n"}[i%3]
		b.add(m)
	}
	return b
}

// aliceSpool has lines that begin "From " in every way that a reader must see
// through, and flags.
func aliceSpool() *box {
	b := newBox("alice", 0)
	from := func(subject, body string) message {
		return message{from: "cheshire@cat.example", to: "alice@wonderland.example", subject: subject, body: body}
	}
	b.add(from("quoted", "Hello,\n\n>From my branch I can see the garden.\n>>From yours you cannot.\n > From neither, a key.\n"))
	b.add(from("prose", "It was late.\n\nFrom here on, nothing was as it had been.\nFrom time to time a grin appeared.\n"))
	b.add(from("dated prose", "The log says\nFrom cat@tree.example Mon Mar  1 04:05:06 2004\nwas the last line that it wrote.\n"))
	b.add(from("no body", ""))
	b.add(from("blank lines", "\n\n\nin front\n\n\nand behind\n\n\n"))
	b.add(from("Gr\xfc\xdfe aus dem Wunderland", "Das Kaninchen tr\xe4gt eine Uhr, \xa9 1865.\n"))
	for i, state := range []string{
		"Status: RO\n", "Status: RO\nX-Status: A\n", "Status: O\nX-Status: F\n", "Status: RO\nX-Status: AF\n",
		"Status: RO\nX-Status: D\n", "X-Status: T\n",
	} {
		m := letter("queen@hearts.example", "alice@wonderland.example", fmt.Sprintf("Croquet %d", i+1), 4)
		m.state = state
		b.add(m)
	}
	return b
}

// workFolder is one that UW-IMAP has made.
func workFolder() *box {
	b := newBox("work4", 30)
	b.addPseudo(1078043400, 12)
	for i, uid := range []uint32{1, 2, 5, 6, 11, 12} {
		m := letter("hatter@tea.example", "alice@wonderland.example", fmt.Sprintf("Tea at %d", 3+i), 5)
		m.state = "Status: RO\n" + b.uid(uid)
		b.add(m)
	}
	return b
}

// bobSpool came from a system with other line ends, and was cut off.
func bobSpool() *box {
	b := newBox("bob", 10)
	b.eol = "\r\n"
	for i := range 7 {
		m := letter("wendy@yard.example", "bob@wonderland.example", fmt.Sprintf("Plans %d", i+1), 6)
		m.body = strings.ReplaceAll(m.body+"\n>From the yard\n", "\n", "\r\n")
		m.state = [...]string{"", "Status: RO\n"}[i%2]
		b.add(m)
	}
	b.addLast(message{from: "scoop@yard.example", to: "bob@wonderland.example", subject: "no end",
		body: "A last line\r\nwithout an end"})
	return b
}

// carolSpool has bytes that no mail should have.
func carolSpool() *box {
	b := newBox("carol", 20)
	for i, body := range []string{
		"NUL \x00 in the middle,\x00\x00\nand \x00 again\n",
		"every byte: " + allBytes() + "\n",
		"a bare CR\rand a CR LF\r\nin one text\n",
		strings.Repeat("a very long line ", 2000) + "\n",
		"the end\x00\n",
	} {
		b.add(message{from: "bells@tower.example", to: "carol@looking-glass.example", subject: fmt.Sprintf("Bytes %d", i+1), body: body})
	}
	return b
}

// allBytes are all but LF.
func allBytes() string {
	var b strings.Builder
	for c := range 256 {
		if c != '\n' {
			b.WriteByte(byte(c))
		}
	}
	return b.String()
}

// largeBytes is the size of dave's attachment before it is encoded.
const largeBytes = 1_100_000

// daveSpool has a large message, whose attachments hold an mbox of their own.
func daveSpool() *box {
	b := newBox("dave", 40)
	b.add(letter("hal@pod.example", "dave@wonderland.example", "Open the pod bay doors", 4))
	inner := plainBox("inner", "clarke@odyssey.example", 2).text.String()
	var body strings.Builder
	body.WriteString("This is a message in MIME format.\n\n--=_monolith\nContent-Type: text/plain\n\nAttached: my old mail, and the pictures.\n\n" +
		"--=_monolith\nContent-Type: text/plain; name=old.mbox\n\n" + inner +
		"--=_monolith\nContent-Type: image/x-portable-anymap\nContent-Transfer-Encoding: base64\n\n")
	text := base64.StdEncoding.EncodeToString(noise(largeBytes))
	for len(text) > 0 {
		n := min(76, len(text))
		body.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	body.WriteString("--=_monolith--\n")
	b.add(message{from: "hal@pod.example", to: "dave@wonderland.example", subject: "Pictures", body: body.String(),
		state: "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"=_monolith\"\nStatus: RO\n"})
	b.add(letter("hal@pod.example", "dave@wonderland.example", "What are you doing", 4))
	b.add(letter("hal@pod.example", "dave@wonderland.example", "Daisy", 12))
	return b
}

// noise gives bytes that do not compress, the same each time.
func noise(n int) []byte {
	out := make([]byte, n)
	x := uint64(2001)
	for i := range out {
		x = x*6364136223846793005 + 1442695040888963407
		out[i] = byte(x >> 56)
	}
	return out
}

// erinSpool is one that UW-IMAP keeps without a message of its own: the first
// message has X-IMAPbase.
func erinSpool() *box {
	b := newBox("erin", 50)
	b.valid = 1083000000
	states := []string{
		"Status: RO\nX-Keywords: todo\n", "Status: RO\nX-Status: A\n", "Status: O\n", "Status: RO\nX-Status: F\nX-Keywords: todo $Forwarded\n",
		"", "Status: RO\nX-Status: AF\n", "Status: RO\nX-Status: D\n", "Status: RO\nX-Status: T\n", "status: ro\n", "Status: OR\nX-Status: FA\n",
	}
	for i, state := range states {
		m := letter("molly@dublin.example", "erin@croquet.example", fmt.Sprintf("Cockles %d", i+1), 2+i)
		if i == 0 {
			m.state = fmt.Sprintf("X-IMAPbase: %d %010d todo $Forwarded\n", b.valid, 100+len(states)-1)
		}
		m.state += state + b.uid(uint32(100+i))
		b.add(m)
	}
	return b
}

// heidiSpool has one message three times.
func heidiSpool() *box {
	b := newBox("heidi", 60)
	b.add(letter("peter@alps.example", "heidi@wonderland.example", "Goats", 3))
	twice := letter("peter@alps.example", "heidi@wonderland.example", "More goats", 3)
	b.add(twice)
	b.repeat(twice)
	b.repeat(twice)
	b.add(letter("clara@frankfurt.example", "heidi@wonderland.example", "The city", 8))
	b.add(letter("peter@alps.example", "heidi@wonderland.example", "Goats again", 3))
	return b
}

// judySpool was served by a POP3 server that writes its UIDLs into it.
func judySpool() *box {
	b := newBox("judy", 70)
	for i := range 4 {
		m := letter("punch@booth.example", "judy@looking-glass.example", fmt.Sprintf("Act %d", i+1), 5)
		m.state = fmt.Sprintf("X-UIDL: %032x\nStatus: RO\n", 0x6a756479a5a50000+uint64(i))
		b.add(m)
	}
	return b
}
