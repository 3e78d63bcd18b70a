package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/examples/internal/mailcopy"
	"github.com/qmailkit/qmailkit/examples/internal/progress"
	"github.com/qmailkit/qmailkit/internal/safefs"
	"github.com/qmailkit/qmailkit/maildir"
)

// summary adds the results up.
type summary struct {
	Boxes                                               int
	Messages, Delivered, Present, Updated, Kept, Failed int64
	Bytes                                               int64
	Problems, Errors                                    int
}

// run does all of it.
func (c *config) run(ctx context.Context, env *cli.Env) error {
	boxes, probs, err := c.boxes(ctx)
	if err != nil {
		return err
	}
	out := &output{c: c, env: env}
	if c.json {
		out.enc = jsonl.NewEncoder(env.Stdout)
	}
	for _, p := range probs {
		out.problem(p)
	}
	c.copy.Progress = progress.Start(progress.Options{Out: env.Stderr})
	for _, b := range boxes {
		c.copy.Progress.Expect(1, 0, b.size)
	}
	var results []*mailcopy.Result
	if c.dryRun {
		results, err = c.count(ctx, boxes)
	} else if len(boxes) > 0 {
		results, err = c.convert(ctx, boxes)
	}
	c.copy.Progress.Stop()
	for _, r := range results {
		out.result(r)
	}
	if err != nil {
		return err
	}
	return c.outcome(env, &out.summary)
}

// box is one mbox with its size, for progress.
type box struct {
	mailcopy.Box
	size int64
}

// boxes finds what is to be converted.
func (c *config) boxes(ctx context.Context) ([]box, []qmailkit.Problem, error) {
	fi, err := os.Stat(c.src)
	if err != nil {
		return nil, nil, err
	}
	if !c.recursive {
		if fi.IsDir() {
			return nil, nil, cli.Usagef("%s is a directory; -r converts a tree of mboxes", c.src)
		}
		dir, err := os.OpenRoot(filepath.Dir(c.src))
		if err != nil {
			return nil, nil, err
		}
		name := filepath.Base(c.src)
		t := qmailkit.NewTree(dir)
		b := mailcopy.Box{Path: c.src, Source: c.sourceID, Folder: ".", SpoolDir: dir, SpoolName: name}
		b.Open = func() (qmailkit.File, error) { return c.openNamed(t, name) }
		return []box{{b, fi.Size()}}, nil, nil
	}
	if !fi.IsDir() {
		return nil, nil, cli.Usagef("%s is not a directory, which -r asks for", c.src)
	}
	root, err := os.OpenRoot(c.src)
	if err != nil {
		return nil, nil, err
	}
	w := &walker{c: c, t: qmailkit.NewTree(root)}
	if err := w.walk(ctx, ".", nil); err != nil {
		return nil, nil, err
	}
	sort.Slice(w.boxes, func(i, j int) bool { return w.boxes[i].Path < w.boxes[j].Path })
	return w.boxes, w.probs, nil
}

// openNamed opens the file that the command line names: a link there is the
// administrator's own, so it is followed.
func (c *config) openNamed(t qmailkit.Tree, name string) (qmailkit.File, error) {
	f, err := t.Open(name)
	if !errors.Is(err, qmailkit.ErrLink) {
		return f, err
	}
	path, err := filepath.EvalSymlinks(c.src)
	if err != nil {
		return nil, err
	}
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return qmailkit.NewTree(dir).Open(filepath.Base(path))
}

// maxDepth bounds the levels of folders.
const maxDepth = 64

// walker collects the mboxes of a tree.
type walker struct {
	c     *config
	t     qmailkit.Tree
	boxes []box
	probs []qmailkit.Problem
}

func (w *walker) problem(path, code string, err error) {
	w.probs = append(w.probs, qmailkit.Problem{Code: code, Severity: qmailkit.Error, Path: path, Err: err})
}

func (w *walker) walk(ctx context.Context, dir string, levels []string) error {
	if len(levels) > maxDepth {
		w.problem(dir, "tree.too-deep", fmt.Errorf("folders below %d levels are not carried", maxDepth))
		return nil
	}
	for e, err := range w.t.ReadDir(ctx, dir) {
		if err != nil {
			if len(levels) == 0 || ctx.Err() != nil {
				return err
			}
			w.problem(dir, "tree.unreadable", err)
			return nil
		}
		if e.Name[0] == '.' || strings.HasSuffix(e.Name, ".lock") {
			continue
		}
		path := e.Name
		if dir != "." {
			path = dir + "/" + e.Name
		}
		if err := w.entry(ctx, path, append(levels[:len(levels):len(levels)], e.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(ctx context.Context, path string, levels []string) error {
	fi, err := w.t.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		w.problem(path, "tree.unreadable", err)
	case fi.Mode.IsDir():
		return w.walk(ctx, path, levels)
	case !fi.Mode.IsRegular():
		w.problem(path, "tree.not-plain", fmt.Errorf("not a plain file (%s): not carried", fi.Mode.Type()))
	default:
		w.add(path, levels, fi.Size)
	}
	return nil
}

func (w *walker) add(path string, levels []string, size int64) {
	if len(levels) == 1 && strings.EqualFold(levels[0], "INBOX") {
		levels = nil
	}
	folder, changed, err := maildir.FolderDir(levels, w.c.encoding)
	if err != nil {
		w.problem(path, "folder.name", err)
		return
	}
	if changed {
		w.probs = append(w.probs, qmailkit.Problem{Code: "folder.renamed", Severity: qmailkit.Warning, Path: path,
			Err: fmt.Errorf("its name cannot be written in a Maildir; the folder is %s", folder)})
	}
	source := path
	if w.c.sourceID != "" {
		source = w.c.sourceID + "/" + path
	}
	t := w.t
	w.boxes = append(w.boxes, box{mailcopy.Box{
		Path: path, Source: source, Folder: folder,
		Open: func() (qmailkit.File, error) { return t.Open(path) },
	}, size})
}

// convert imports the boxes.
func (c *config) convert(ctx context.Context, boxes []box) (results []*mailcopy.Result, err error) {
	opts := &maildir.Options{Encoding: c.encoding}
	if c.owner.Given {
		opts.Owner = &maildir.Owner{UID: c.owner.UID, GID: c.owner.GID}
	}
	d, err := maildir.Create(c.target, opts)
	if err != nil {
		return nil, err
	}
	d.Close()
	root, err := os.OpenRoot(c.target)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	lock, err := safefs.OpenDir(root, ".", nil)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := lock.TryLock(); err != nil {
		return nil, fmt.Errorf("another run is at work: %w", err)
	}
	if path, err := filepath.Abs(c.target); err == nil {
		c.copy.LockMark = " mbox2maildir " + path
	}
	com := maildir.NewCommitter(&c.commit)
	defer func() { err = errors.Join(err, com.Close()) }()
	im, err := com.Import(root, ".", opts)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, im.Close(func(d *maildir.Dir) error { return c.finish(ctx, d, results) }))
	}()
	for _, b := range boxes {
		r, err := mailcopy.Copy(ctx, im, b.Box, &c.copy)
		results = append(results, r)
		if err != nil {
			return results, err
		}
		c.copy.Progress.Mailboxes(1)
	}
	return results, nil
}

// finish is done when all messages are in their places.
func (c *config) finish(ctx context.Context, d *maildir.Dir, results []*mailcopy.Result) error {
	limit, err := d.QuotaLimit()
	if err == nil && limit != "" {
		err = d.RebuildQuota(ctx, limit)
	}
	if err != nil || c.uidl == "" {
		return err
	}
	_, err = mailcopy.SeedUIDs(d, results, c.uidl, time.Now())
	return err
}

// count reads the boxes only.
func (c *config) count(ctx context.Context, boxes []box) ([]*mailcopy.Result, error) {
	var results []*mailcopy.Result
	for _, b := range boxes {
		r, err := mailcopy.Count(ctx, b.Box, &c.copy)
		results = append(results, r)
		if err != nil {
			return results, err
		}
		r.Delivered = r.Messages
	}
	return results, nil
}

// output prints results, for people or for programs.
type output struct {
	summary
	c   *config
	env *cli.Env
	enc *jsonl.Encoder
}

func (o *output) problem(p qmailkit.Problem) {
	o.Problems++
	if p.Severity == qmailkit.Error {
		o.Errors++
	}
	o.env.Printf("%s: %s\n", p.Severity, p.String())
	if o.enc != nil {
		o.enc.Encode(jsonl.Problem(p))
	}
}

func (o *output) result(r *mailcopy.Result) {
	if !r.Lost || r.Messages > 0 {
		o.Boxes++
	}
	o.Messages += r.Messages
	o.Delivered += r.Delivered
	o.Present += r.Present
	o.Updated += r.Updated
	o.Kept += r.Kept
	o.Failed += r.Failed
	o.Bytes += r.Bytes
	for _, p := range r.Problems {
		o.problem(p)
	}
	if o.enc == nil {
		return
	}
	o.enc.Encode(struct {
		Source    jsonl.Bytes `json:"source"`
		Folder    jsonl.Bytes `json:"folder"`
		Messages  int64       `json:"messages"`
		Bytes     int64       `json:"bytes"`
		Delivered int64       `json:"delivered"`
		Present   int64       `json:"present"`
		Updated   int64       `json:"updated"`
		Kept      int64       `json:"kept"`
		Failed    int64       `json:"failed"`
		Pseudo    int64       `json:"pseudo"`
		Complete  bool        `json:"complete"`
	}{jsonl.Bytes(r.Path), jsonl.Bytes(r.Folder), r.Messages, r.Bytes, r.Delivered, r.Present, r.Updated, r.Kept, r.Failed, r.Pseudo, !r.Lost})
}
