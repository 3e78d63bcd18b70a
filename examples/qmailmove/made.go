//go:build unix

package main

import (
	"encoding/json"
	"path"

	"github.com/qmailkit/qmailkit/examples/internal/state"
	"github.com/qmailkit/qmailkit/plesk"
)

// madeKey begins the notes of directories below the mailboxes' that were not
// there before they were copied to: only those may undo take away.
const madeKey = "made "

// noteMade notes the directories that this pass is going to make, before it
// makes any.
func (p *pass) noteMade() error {
	var recs []state.Record
	note := func(rel string) (made bool, err error) {
		if _, known := p.t.files.Get(madeKey + rel); known {
			return true, nil
		}
		if _, err := p.dst.tree.Lstat(join(p.dst.mailnames, rel)); err == nil || !missing(err) {
			return false, err
		}
		recs = append(recs, state.Record{Key: madeKey + rel, Value: json.RawMessage("true")})
		return true, nil
	}
	if _, err := note(p.domain); err != nil {
		return err
	}
	for _, b := range p.boxes {
		rel := join(p.domain, path.Base(p.targetDir(b)))
		made, err := note(rel)
		if err != nil || made {
			if err := p.unusable(rel, err); err != nil {
				return err
			}
			continue
		}
		for _, sub := range []string{plesk.MaildirName, plesk.AttachmentsName, plesk.SpamName} {
			if _, err := note(join(rel, sub)); err != nil {
				if err := p.unusable(rel, err); err != nil {
					return err
				}
			}
		}
	}
	return p.t.files.Append(recs...)
}
