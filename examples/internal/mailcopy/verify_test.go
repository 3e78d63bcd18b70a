package mailcopy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/maildir"
)

// prove compares boxes with the Maildir.
func (b *bench) prove(boxes ...Box) []*Proof {
	b.t.Helper()
	d, err := maildir.OpenRoot(b.root, "md", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	defer d.Close()
	h, err := Hold(b.t.Context(), d)
	if err != nil {
		b.t.Fatal(err)
	}
	defer h.Close()
	if n := int64(len(b.files())); h.Messages != n {
		b.t.Errorf("holds %d of %d messages", h.Messages, n)
	}
	var list []*Proof
	for _, box := range boxes {
		p, err := h.Prove(b.t.Context(), box, &b.opts)
		if err != nil {
			b.t.Fatal(err)
		}
		if sum := p.Same + p.Restated + p.Taken + p.Missing; sum != p.Messages {
			b.t.Errorf("%s: %d messages, %d accounted for", p.Path, p.Messages, sum)
		}
		list = append(list, p)
	}
	return list
}

// counts are the four numbers of a Proof.
type counts struct{ Same, Restated, Taken, Missing int64 }

func (p *Proof) counts() counts { return counts{p.Same, p.Restated, p.Taken, p.Missing} }

// name finds the file of a message.
func (b *bench) name(subject string) string {
	b.t.Helper()
	for name, text := range b.files() {
		if strings.HasPrefix(text, "Subject: "+subject+"\n") {
			return filepath.Join(b.root.Name(), "md", name)
		}
	}
	b.t.Fatalf("no message %q", subject)
	return ""
}

func TestProve(t *testing.T) {
	b := newBench(t)
	list := append(plain(6), "Subject: letter 0\n\nsome text\n") // twice the same
	b.write("box", letters(list...))
	b.write("sub", letters("Subject: s\n\nbelow\n"))
	boxes := []Box{b.box("box", "."), b.box("sub", ".Sub")}
	b.copy(boxes...)

	p := b.prove(boxes...)
	diff(t, counts{Same: 7}, p[0].counts())
	diff(t, counts{Same: 1}, p[1].counts())
	if !p[0].Good() || len(p[0].Problems) > 0 {
		t.Errorf("%+v", p[0])
	}

	// A mail program rewrites the state headers of the spool.
	list[1] = "Subject: letter 1\nStatus: RO\nX-UID: 4\n\nsome text\nsome text\n"
	b.write("box", letters(list...))
	diff(t, counts{Same: 6, Restated: 1}, b.prove(boxes...)[0].counts())

	// A reader moves one, and deletes another, of which there are two.
	if err := os.Rename(b.name("letter 2"), filepath.Join(b.root.Name(), "md/.Sub/cur/other:2,S")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(b.name("letter 0")); err != nil {
		t.Fatal(err)
	}
	diff(t, counts{Same: 5, Restated: 1, Taken: 1}, b.prove(boxes...)[0].counts())

	// One that was never delivered, and one that lost a byte.
	list = append(list, "Subject: late\n\nlate\n")
	b.write("box", letters(list...))
	if err := os.WriteFile(b.name("letter 3"), []byte("Subject: letter 3\n\nsome tex\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = b.prove(boxes...)
	// The damaged one was delivered, and its content is nowhere now.
	diff(t, counts{Same: 4, Restated: 1, Taken: 2, Missing: 1}, p[0].counts())
	if p[0].Good() || len(p[0].Problems) != 1 || p[0].Problems[0].Code != "verify.missing" || p[0].Problems[0].Line == 0 {
		t.Errorf("%+v", p[0].Problems)
	}
	// A run completes it.
	b.copy(boxes...)
	diff(t, counts{Same: 5, Restated: 1, Taken: 2}, b.prove(boxes...)[0].counts())
}

func TestProveStripped(t *testing.T) {
	b := newBench(t)
	b.opts.Strip = true
	b.write("box", letters("Subject: x\nStatus: RO\n\nbody\n"))
	b.copy(b.box("box", "."))
	diff(t, counts{Same: 1}, b.prove(b.box("box", "."))[0].counts())
	b.opts.Strip = false
	diff(t, counts{Restated: 1}, b.prove(b.box("box", "."))[0].counts())
}

func TestProveTrouble(t *testing.T) {
	b := newBench(t)
	b.write("box", letters(plain(2)...))
	b.copy(b.box("box", "."))
	b.write("box", "no mbox any more\n")
	p := b.prove(b.box("box", "."))[0]
	diff(t, []string{"mbox.not-mbox"}, codes(p.Problems))
	if p.Good() {
		t.Error("good")
	}
	gone := b.box("gone", ".")
	p = b.prove(gone)[0]
	diff(t, []string{"mbox.unreadable"}, codes(p.Problems))
	if p.Good() || p.Problems[0].Path != "gone" {
		t.Errorf("%+v", p)
	}
	// What is no message in the Maildir is said, and not read.
	if err := b.root.Symlink("/etc/passwd", "md/cur/1.x:2,S"); err != nil {
		t.Fatal(err)
	}
	d, err := maildir.OpenRoot(b.root, "md", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	h, err := Hold(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if h.Messages != 2 || !slices.Equal(codes(h.Problems), []string{"maildir.not-message"}) || h.Problems[0].Severity == qmailkit.Error {
		t.Errorf("%d messages, %+v", h.Messages, h.Problems)
	}
}
