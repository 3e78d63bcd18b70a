//go:build unix

package state

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/safefs"
)

// Original describes a file as it was before it was replaced.
type Original struct {
	Path    string      // as the program names it; bytes
	Missing bool        // there was no file: putting it back means to remove it
	Mode    fs.FileMode // permission bits
	UID     int
	GID     int
}

// Backup is an Original that is kept.
type Backup struct {
	Original
	Number int       // from 1, in the order in which they were made
	Time   time.Time // when it was made, to the second, UTC
	File   string    // its name in the directory backup of the target; empty if Missing
	Size   int64     // bytes
	SHA256 string    // of the content, in hex; empty if Missing
}

// kept is the JSON form of a Backup.
type kept struct {
	Path    jsonl.Bytes `json:"path"`
	Missing bool        `json:"missing"`
	Mode    uint32      `json:"mode"` // decimal, as JSON has no octal
	UID     int         `json:"uid"`
	GID     int         `json:"gid"`
	Time    time.Time   `json:"time"`
	File    string      `json:"file"`
	Size    int64       `json:"size"`
	SHA256  string      `json:"sha256"`
}

const (
	backupDir   = "backup"
	backupStore = "backups"
)

// ErrChanged says that a kept copy is not what was put there.
var ErrChanged = errors.New("backup is not as it was made")

// Backup keeps the content of a file that is about to be replaced, as a plain
// file that people can copy back by hand as well. It returns when copy and
// index are on the disk. Content is ignored where o.Missing.
func (t *Target) Backup(o Original, content []byte) (Backup, error) {
	if t.state.opts.ReadOnly {
		return Backup{}, ErrReadOnly
	}
	index, err := t.index()
	if err != nil {
		return Backup{}, err
	}
	dir, err := t.state.sub(t.dir, backupDir)
	if err != nil {
		return Backup{}, err
	}
	defer dir.Close()
	last := 0
	for r := range index.All() {
		if n, err := strconv.Atoi(r.Key); err == nil {
			last = max(last, n)
		}
	}
	b := Backup{Original: o, Number: last + 1, Time: t.state.opts.Now().UTC().Truncate(time.Second)}
	b.Mode = o.Mode.Perm()
	if !o.Missing {
		sum := sha256.Sum256(content)
		b.Size, b.SHA256 = int64(len(content)), hex.EncodeToString(sum[:])
		b.File = fmt.Sprintf("%06d-%s-%s", b.Number, b.Time.Format("20060102T150405Z"), slug(path.Base(o.Path)))
		// A file of this name is the left-over of a run that was stopped
		// before it could write the index: nothing was replaced then.
		if err := dir.WriteFile(b.File, safefs.Replacement{Mode: 0o600, Owner: safefs.Keep}, content); err != nil {
			return Backup{}, err
		}
	}
	err = index.Put(fmt.Sprintf("%06d", b.Number), kept{
		jsonl.Bytes(o.Path), o.Missing, uint32(b.Mode), o.UID, o.GID, b.Time, b.File, b.Size, b.SHA256,
	})
	if err != nil {
		return Backup{}, err
	}
	return b, nil
}

// index opens the list of backups, once.
func (t *Target) index() (*Store, error) {
	if t.saved == nil {
		s, err := t.Store(backupStore)
		if err != nil {
			return nil, err
		}
		t.saved = s
	}
	return t.saved, nil
}

// Backups lists what is kept, oldest first. The oldest of a path is the file
// as it was before any of the runs. An error names an entry that makes no
// sense; the others are in the list.
func (t *Target) Backups() ([]Backup, error) {
	index, err := t.index()
	if err != nil {
		return nil, err
	}
	var list []Backup
	var errs []error
	for r := range index.All() {
		var k kept
		_, err := index.Load(r.Key, &k)
		n, nerr := strconv.Atoi(r.Key)
		if err = errors.Join(err, nerr); err == nil && !k.sound() {
			err = fmt.Errorf("backup %q: its entry makes no sense", r.Key)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		o := Original{string(k.Path), k.Missing, fs.FileMode(k.Mode), k.UID, k.GID}
		list = append(list, Backup{o, n, k.Time, k.File, k.Size, k.SHA256})
	}
	slices.SortFunc(list, func(a, b Backup) int { return cmp.Compare(a.Number, b.Number) })
	return list, errors.Join(errs...)
}

// sound says whether an entry can be one that Backup made.
func (k *kept) sound() bool {
	if k.Mode > 0o777 || k.Size < 0 || k.Path == "" {
		return false
	}
	return k.Missing && k.File == "" || !k.Missing && k.File != "" && !strings.ContainsAny(k.File, "/\x00")
}

// Content returns the bytes that b keeps; nil if b.Missing. An error that wraps
// ErrChanged says that they are not those which were put there.
func (t *Target) Content(b Backup) ([]byte, error) {
	if b.Missing {
		return nil, nil
	}
	dir, err := t.state.sub(t.dir, backupDir)
	if err != nil {
		return nil, err
	}
	if dir == nil {
		return nil, &fs.PathError{Op: "open", Path: backupDir, Err: fs.ErrNotExist}
	}
	defer dir.Close()
	data, err := dir.ReadFile(b.File, b.Size)
	if errors.Is(err, safefs.ErrTooBig) {
		err = fmt.Errorf("%w: %w", ErrChanged, err)
	}
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != b.SHA256 {
		return nil, fmt.Errorf("%s/%s: %w", dir.Name(), b.File, ErrChanged)
	}
	return data, nil
}
