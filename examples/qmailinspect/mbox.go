package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/mbox"
)

// mboxMessage is a line of the kind mbox.
type mboxMessage struct {
	Index      int           `json:"index"`
	Offset     int64         `json:"offset"` // of the message, behind its From_ line
	Length     int64         `json:"length"` // as stored
	FromOffset int64         `json:"from_offset"`
	Line       int64         `json:"line"` // of the From_ line
	FromLine   jsonl.Bytes   `json:"from_line"`
	Sender     jsonl.Bytes   `json:"sender"`
	Date       *string       `json:"date"` // null where the From_ line has none
	Flags      string        `json:"flags"`
	Keywords   []jsonl.Bytes `json:"keywords,omitempty"`
	UID        uint32        `json:"uid,omitempty"`
	Pseudo     bool          `json:"pseudo"`
	SHA256     string        `json:"sha256"`
}

func mboxKind() *cli.Command {
	return &cli.Command{
		Name: "mbox", Args: "FILE", Min: 1, Max: 1,
		Short: "the messages of an mbox: where they are, their flags, their SHA-256",
		Long: `offset and length are the raw bytes of a message, without its From_ line and the
one blank line before the next; sha256 is that of the message with its quoting
undone. flags are the letters of Maildirs. pseudo marks the message in which
c-client keeps its own data.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			var opts mbox.Options
			format := mbox.Auto
			fs.BoolVar(&opts.SkipPrologue, "skip-prologue", false, "begin at the first separator, if something else stands before it")
			fs.Func("unquote", "`auto|rd|o|none`: which \">From \" lines lose their \">\" before the SHA-256 is taken (default auto)", func(s string) error {
				switch s {
				case "auto":
					format = mbox.Auto
				case "rd":
					format = mbox.RD
				case "o":
					format = mbox.O
				case "none":
					format = mbox.CL2
				default:
					return fmt.Errorf("want auto, rd, o or none")
				}
				return nil
			})
			return printing(func(ctx context.Context, out *lines, args []string) error {
				f, size, err := openFile(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				return printMbox(ctx, out, f, size, &opts, format)
			})
		},
	}
}

func printMbox(ctx context.Context, out *lines, f *os.File, size int64, opts *mbox.Options, format mbox.Format) error {
	index := mbox.NewIndexer(f, size, opts)
	defer func() {
		for _, p := range index.Problems() {
			out.note(f.Name(), p)
		}
	}()
	sum := sha256.New()
	for h, err := range index.All(ctx) {
		if err != nil {
			return placed(err, f.Name())
		}
		digest, err := digestOf(sum, mbox.Body(f, h, format))
		if err != nil {
			return fmt.Errorf("%s: message %d at offset %d: %w", f.Name(), h.Index, h.Offset, err)
		}
		m := mboxMessage{
			Index: h.Index, Offset: h.Offset, Length: h.Length, FromOffset: h.FromOffset, Line: h.Line,
			FromLine: jsonl.Bytes(h.From.Raw), Sender: jsonl.Bytes(h.From.Sender),
			Flags: h.Letters(), Keywords: jsonl.List(h.Keywords), UID: h.UID, Pseudo: h.Pseudo, SHA256: digest,
		}
		if h.From.HasDate {
			date := h.From.Date.Format(time.RFC3339)
			m.Date = &date
		}
		if err := out.print(m); err != nil {
			return err
		}
	}
	return nil
}

// placed puts the file's name into an error that has its place only.
func placed(err error, name string) error {
	var at *mbox.ParseError
	if errors.As(err, &at) && at.Path == "" {
		at.Path = name
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// digestOf is the SHA-256 of a reader in hexadecimal.
func digestOf(sum hash.Hash, r io.Reader) (string, error) {
	sum.Reset()
	if _, err := io.Copy(sum, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
