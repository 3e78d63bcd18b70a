//go:build unix

package vpopmail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/qmailkit/qmailkit/internal/safefs"
)

// recover completes or takes back a change that was cut short, by its note.
// What was made for users who did not get into vpasswd is removed; if the
// change got in, the counter and vpasswd.cdb follow.
func (r *fileRecords) recover() error {
	b, ok, err := readFile(r.dir, intentName)
	if err != nil || !ok {
		return errors.Join(err, r.clean())
	}
	note, err := parseIntent(b, 1)
	if err != nil {
		return fmt.Errorf("%s/%s: %w", r.d.Dir, intentName, err)
	}
	vp, exists, err := readFile(r.dir, "vpasswd")
	if err != nil {
		return err
	}
	v := ParseVpasswd(vp)
	index := v.index()
	sum := sha256.Sum256(vp)
	done := exists && hex.EncodeToString(sum[:]) == note.After
	for _, u := range note.Users {
		if _, in := index[string(u.Name)]; in {
			done = true
		} else if err := removeUserTree(r.dir, string(u.Dir)); err != nil {
			return err
		}
	}
	for _, f := range note.Side {
		if err := r.settle(f, done); err != nil {
			return err
		}
	}
	if exists {
		if err := r.rebuild(v); err != nil {
			return err
		}
	}
	if err := r.clean(); err != nil {
		return err
	}
	if err := r.dir.Sync(); err != nil {
		return err
	}
	return r.dir.Remove(intentName)
}

// settle brings a side file to where the change ended, unless another program
// has changed it since.
func (r *fileRecords) settle(f sideFile, done bool) error {
	cur, ok, err := readFile(r.dir, string(f.Name))
	if err != nil {
		return err
	}
	switch {
	case done && (ok == (f.Before != nil) && (!ok || string(cur) == string(*f.Before))):
		return r.writeSide(f.Name, &f.After, false)
	case !done && ok && string(cur) == string(f.After):
		return r.writeSide(f.Name, f.Before, false)
	}
	return nil
}

// rebuild makes vpasswd.cdb anew if it is not that of v.
func (r *fileRecords) rebuild(v *Vpasswd) error {
	var m memFile
	if err := writeCDB(&m, v); err != nil {
		return err
	}
	old, ok, err := readFile(r.dir, "vpasswd.cdb")
	if err != nil || ok && bytes.Equal(old, m.b) {
		return err
	}
	return r.dir.WriteFile("vpasswd.cdb", safefs.Replacement{Mode: 0o600, Owner: r.own, Temp: tempCDB}, m.b)
}

// clean removes unfinished files. They exist only while the lock is held.
func (r *fileRecords) clean() error {
	for _, name := range []string{tempVpasswd, tempCDB, tempSide, tempIntent} {
		if _, err := r.dir.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := r.dir.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
