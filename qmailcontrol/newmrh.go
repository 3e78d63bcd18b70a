//go:build unix

package qmailcontrol

import (
	"os"

	"github.com/qmailkit/qmailkit"
)

// NewMRH does the job of qmail-newmrh(8) in the control directory root:
// morercpthosts.cdb is made anew from morercpthosts, in one step and durably,
// by way of morercpthosts.tmp. Unlike that program it leaves no temporary file
// behind when it fails, and a symbolic link is followed as Load follows it.
//
// With nil options the file gets mode 0644, as there, and keeps its owner.
func NewMRH(root *os.Root, opts *SaveOptions) error {
	tree := qmailkit.NewTree(root)
	at, err := resolve(tree, "morercpthosts")
	if err != nil {
		return err
	}
	text, err := tree.Open(at)
	if err != nil {
		return unmissed(tree, "morercpthosts", err)
	}
	defer text.Close()
	o := SaveOptions{Mode: 0o644}
	if opts != nil {
		o = *opts
	}
	return replace(root, "morercpthosts.cdb", "morercpthosts.tmp", &o, func(w target) error {
		return WriteMorercpthosts(w, text)
	})
}
