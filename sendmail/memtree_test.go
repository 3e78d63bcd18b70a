package sendmail

import (
	"bytes"
	"context"
	"io/fs"
	"iter"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
)

// A memTree is a host in memory, as one over a network would be: it cannot
// count links, and everything in it belongs to root.
type memTree map[string]string

func (m memTree) Lstat(name string) (qmailkit.FileInfo, error) {
	base := name[strings.LastIndexByte(name, '/')+1:]
	if text, ok := m[name]; ok {
		return qmailkit.FileInfo{Name: base, Mode: 0o644, Size: int64(len(text))}, nil
	}
	for other := range m {
		if name == "." || strings.HasPrefix(other, name+"/") {
			return qmailkit.FileInfo{Name: base, Mode: fs.ModeDir | 0o755}, nil
		}
	}
	return qmailkit.FileInfo{}, &fs.PathError{Op: "lstat", Path: name, Err: fs.ErrNotExist}
}

func (m memTree) Readlink(name string) (string, error) {
	return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
}

func (m memTree) ReadDir(_ context.Context, dir string) iter.Seq2[qmailkit.DirEntry, error] {
	return func(yield func(qmailkit.DirEntry, error) bool) {
		seen := map[string]bool{}
		for name := range m {
			rest, ok := strings.CutPrefix(name, dir+"/")
			if dir == "." {
				rest, ok = name, true
			}
			if !ok {
				continue
			}
			base, _, deeper := strings.Cut(rest, "/")
			if seen[base] {
				continue
			}
			seen[base] = true
			e := qmailkit.DirEntry{Name: base}
			if deeper {
				e.Type = fs.ModeDir
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (m memTree) Open(name string) (qmailkit.File, error) {
	text, ok := m[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return memFile{bytes.NewReader([]byte(text))}, nil
}

type memFile struct{ *bytes.Reader }

func (memFile) Close() error { return nil }

func (f memFile) Stat() (fs.FileInfo, error) { return memInfo{f.Reader.Size()}, nil }

type memInfo struct{ size int64 }

func (memInfo) Name() string       { return "" }
func (i memInfo) Size() int64      { return i.size }
func (memInfo) Mode() fs.FileMode  { return 0o644 }
func (memInfo) ModTime() time.Time { return time.Time{} }
func (memInfo) IsDir() bool        { return false }
func (memInfo) Sys() any           { return nil }
