package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"golang.org/x/sys/unix"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
)

// lines is where a kind puts what it finds.
type lines struct {
	env     *cli.Env
	buf     *bufio.Writer
	enc     *jsonl.Encoder
	skipped int64
}

// printing makes an Action of what prints lines. Items that were skipped make
// it a partial success.
func printing(act func(ctx context.Context, out *lines, args []string) error) cli.Action {
	return func(ctx context.Context, env *cli.Env, args []string) error {
		buf := bufio.NewWriterSize(env.Stdout, 64<<10)
		out := &lines{env: env, buf: buf, enc: jsonl.NewEncoder(buf)}
		err := act(ctx, out, args)
		if flushed := buf.Flush(); err == nil {
			err = flushed
		}
		if err == nil && out.skipped > 0 {
			err = cli.Partialf("%s not shown; the lines above say which", cli.Plural(out.skipped, "item was|items were"))
		}
		return err
	}
}

// print writes one object.
func (l *lines) print(v any) error { return l.enc.Encode(v) }

// note tells people about an oddity in a file.
func (l *lines) note(path string, p qmailkit.Problem) {
	if p.Path == "" {
		p.Path = path
	}
	l.env.Printf("%s: %v\n", p.Severity, p)
}

// skip tells people about an item that cannot be shown.
func (l *lines) skip(path string, err error) {
	l.skipped++
	l.env.Printf("%s: %v\n", cli.Name(path), err)
}

// maxItem bounds a line of standard input.
const maxItem = 1 << 20

// items yields the ITEMs of the command line, or where that has only "-" those
// of standard input, one as soon as it is there.
func (l *lines) items(args []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if len(args) != 1 || args[0] != "-" {
			for _, arg := range args {
				if !yield(arg, nil) {
					return
				}
			}
			return
		}
		in := bufio.NewScanner(l.env.Stdin)
		in.Buffer(nil, maxItem)
		for n := 1; in.Scan(); n++ {
			line := bytes.TrimSpace(in.Bytes())
			if len(line) == 0 {
				continue
			}
			var item jsonl.Bytes
			if err := json.Unmarshal(line, &item); err != nil {
				yield("", fmt.Errorf("standard input, line %d: not a JSON string: %w", n, err))
				return
			}
			if !yield(string(item), nil) {
				return
			}
			if err := l.buf.Flush(); err != nil {
				yield("", err)
				return
			}
		}
		if err := in.Err(); err != nil {
			yield("", fmt.Errorf("standard input: %w", err))
		}
	}
}

// openFile opens a FILE of the command line. It follows links, because whoever
// typed the name means where it leads, but waits for no FIFO.
func openFile(name string) (*os.File, int64, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: name, Err: qmailkit.ErrNotPlain}
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

var errTooBig = errors.New("file is larger than any real one")

// readFile reads a whole FILE of at most most bytes.
func readFile(name string, most int64) ([]byte, error) {
	f, size, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > most {
		return nil, &os.PathError{Op: "read", Path: name, Err: errTooBig}
	}
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = &os.PathError{Op: "read", Path: name, Err: errTooBig}
	}
	return b, err
}

// textOf is a string of bytes where it is UTF-8, for a key in _text.
func textOf(levels []string, sep string) *string {
	var b bytes.Buffer
	for i, level := range levels {
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(level)
	}
	text := b.String()
	if text == "" || text != string(bytes.ToValidUTF8(b.Bytes(), []byte("\ufffd"))) {
		return nil
	}
	return &text
}
