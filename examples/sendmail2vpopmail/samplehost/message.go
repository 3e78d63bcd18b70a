package samplehost

import (
	"fmt"
	"strings"
	"time"
)

// firstDay is when the first message of the host arrived.
var firstDay = time.Date(2004, 2, 29, 8, 30, 0, 0, time.UTC)

// A message is one of an mbox, without its From_ line.
type message struct {
	from    string // envelope sender
	to      string
	subject string
	state   string // header lines of the mail programs, each with its newline
	body    string
}

// A box is an mbox that is being written.
type box struct {
	text   strings.Builder
	eol    string // of headers and From_ lines
	count  int
	pseudo bool
	uids   []uint32
	valid  uint32
	clock  time.Time
	name   string // makes the Message-IDs of this box its own
	id     string // Message-ID of the last message
}

// newBox begins an mbox whose messages arrive a few hours apart.
func newBox(name string, days int) *box {
	return &box{eol: "\n", name: name, clock: firstDay.AddDate(0, 0, days)}
}

// fromLine is one in the form that Sendmail's local mailers write.
func (b *box) fromLine(sender string) {
	b.text.WriteString("From " + sender + " " + b.clock.Format(time.ANSIC) + b.eol)
}

// add appends a message whose body ends as it is given; the blank line that
// parts messages follows.
func (b *box) add(m message) {
	b.clock = b.clock.Add(5*time.Hour + 17*time.Minute)
	b.id = fmt.Sprintf("<%s.%d@old.wonderland.example>", b.name, b.count+1)
	b.repeat(m)
}

// repeat appends the same message once more with the same time and Message-ID,
// as a mailer does that was cut off before it could note what it had done.
func (b *box) repeat(m message) {
	b.put(m)
	b.count++
	b.text.WriteString(b.eol)
}

// addLast appends a message without a blank line behind it.
func (b *box) addLast(m message) {
	b.add(m)
	text := strings.TrimSuffix(b.text.String(), b.eol)
	b.text.Reset()
	b.text.WriteString(text)
}

// put writes a message as it stands between two From_ lines.
func (b *box) put(m message) {
	b.fromLine(m.from)
	header := "Return-Path: <" + m.from + ">\n" +
		"Received: from client.example (client.example [192.0.2.7]) by mail.wonderland.example (8.13.1/8.13.1) with ESMTP; " +
		b.clock.Format("Mon, _2 Jan 2006 15:04:05 -0700") + "\n" +
		"Date: " + b.clock.Format("Mon, _2 Jan 2006 15:04:05 -0700") + "\n" +
		"From: " + m.from + "\nTo: " + m.to + "\nSubject: " + m.subject + "\nMessage-ID: " + b.id + "\n" +
		m.state + "\n"
	b.text.WriteString(strings.ReplaceAll(header, "\n", b.eol))
	b.text.WriteString(m.body)
}

// addPseudo writes UW-IMAP's message about the folder, which comes first and
// is no mail.
func (b *box) addPseudo(validity, last uint32) {
	b.pseudo, b.valid = true, validity
	b.fromLine("MAILER-DAEMON")
	fmt.Fprintf(&b.text, "Date: %s\nFrom: Mail System Internal Data <MAILER-DAEMON@mail.wonderland.example>\n"+
		"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nMessage-ID: <%d@mail.wonderland.example>\n"+
		"X-IMAP: %010d %010d\nStatus: RO\n\n"+
		"This text is part of the internal format of your mail folder, and is not\n"+
		"a real message.  It is created automatically by the mail system software.\n"+
		"If deleted, important folder data will be lost, and it will be re-created\n"+
		"with the data reset to initial values.\n\n",
		b.clock.Format("Mon, _2 Jan 2006 15:04:05 -0700"), validity, validity, last)
}

// uid notes the UID of the next message and gives its header line.
func (b *box) uid(n uint32) string {
	b.uids = append(b.uids, n)
	return fmt.Sprintf("X-UID: %d\n", n)
}

// mailbox is the box's part of the Manifest.
func (b *box) mailbox(path string, folder []string) Mailbox {
	return Mailbox{
		Path: path, Folder: folder, Bytes: int64(b.text.Len()), Messages: b.count,
		Pseudo: b.pseudo, UIDValidity: b.valid, UIDs: b.uids,
	}
}

// letter is a plain message with some lines of text.
func letter(from, to, subject string, lines int) message {
	words := strings.Fields("the quick brown fox jumps over a lazy dog while seven clever hares watch from behind the old garden wall")
	var body strings.Builder
	seed := len(from) + 7*len(subject)
	for range lines {
		for w := range 9 {
			seed = (seed*31 + 17) % 9973
			body.WriteString(words[seed%len(words)])
			if w < 8 {
				body.WriteByte(' ')
			}
		}
		body.WriteByte('\n')
	}
	return message{from: from, to: to, subject: subject, body: body.String()}
}
