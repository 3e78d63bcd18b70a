package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"slices"
	"strings"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/maildir"
)

// maildirMessage is a line of the kind maildir.
type maildirMessage struct {
	Folder     jsonl.Bytes `json:"folder"` // directory name, "." for the INBOX
	FolderText *string     `json:"folder_text,omitempty"`
	Sub        string      `json:"sub"`
	Name       jsonl.Bytes `json:"name"`
	Unique     jsonl.Bytes `json:"unique"`
	Flags      string      `json:"flags"`
	Size       int64       `json:"size"`
	MTime      int64       `json:"mtime"`
	SHA256     string      `json:"sha256"`
}

func maildirKind() *cli.Command {
	return &cli.Command{
		Name: "maildir", Args: "DIR", Min: 1, Max: 1,
		Short: "the messages of a Maildir and its Maildir++ folders, in the order of their names",
		Long: `folder is the directory name of the folder, "." for the INBOX; folder_text is
its decoded name with "/" between the levels. size is that of the file and mtime
its modification time in seconds since 1970. The files that mail servers keep
beside the messages are not shown.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			var opts maildir.Options
			fs.BoolFunc("utf8", "folder names are in UTF-8, as Dovecot writes them with :UTF-8, instead of modified UTF-7", func(string) error {
				opts.Encoding = maildir.UTF8
				return nil
			})
			return printing(func(ctx context.Context, out *lines, args []string) error {
				d, err := maildir.Open(args[0], &opts)
				if err != nil {
					return err
				}
				defer d.Close()
				return printMaildir(ctx, out, d, args[0], opts.Encoding)
			})
		},
	}
}

// printMaildir prints the INBOX and then the folders. What cannot be read is
// skipped, but not a directory that cannot be listed to its end.
func printMaildir(ctx context.Context, out *lines, d *maildir.Dir, path string, enc maildir.Encoding) error {
	folders := []string{"."}
	for name, err := range d.Folders(ctx) {
		switch {
		case errors.Is(err, qmailkit.ErrIncomplete):
			return err
		case err != nil:
			out.skip(path, err)
		default:
			folders = append(folders, name)
		}
	}
	slices.Sort(folders[1:])
	for _, name := range folders {
		folder, err := d.Folder(name)
		if err != nil {
			out.skip(path+"/"+name, err)
			continue
		}
		err = printFolder(ctx, out, folder, path, enc)
		folder.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func printFolder(ctx context.Context, out *lines, d *maildir.Dir, path string, enc maildir.Encoding) error {
	var all []maildir.Entry
	for e, err := range d.Messages(ctx) {
		switch {
		case errors.Is(err, qmailkit.ErrIncomplete):
			return err
		case err != nil:
			out.skip(path, err)
		default:
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b maildir.Entry) int {
		if c := strings.Compare(b.Sub(), a.Sub()); c != 0 { // new before cur
			return c
		}
		return strings.Compare(a.Name.String(), b.Name.String())
	})
	for _, e := range all {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		m, err := describe(d, e, enc)
		if err != nil {
			out.skip(path+"/"+e.Folder+"/"+e.Sub()+"/"+e.Name.String(), err)
			continue
		}
		if err := out.print(m); err != nil {
			return err
		}
	}
	return nil
}

func describe(d *maildir.Dir, e maildir.Entry, enc maildir.Encoding) (maildirMessage, error) {
	f, err := d.OpenMessage(e)
	if err != nil {
		return maildirMessage{}, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return maildirMessage{}, err
	}
	digest, err := digestOf(sha256.New(), f)
	if err != nil {
		return maildirMessage{}, err
	}
	m := maildirMessage{
		Folder: jsonl.Bytes(e.Folder), Sub: e.Sub(), Name: jsonl.Bytes(e.Name.String()), Unique: jsonl.Bytes(e.Name.Unique()),
		Flags: e.Name.Flags().String(), Size: fi.Size(), MTime: fi.ModTime().Unix(), SHA256: digest,
	}
	if levels, ok := maildir.FolderLevels(e.Folder, enc); ok {
		m.FolderText = textOf(levels, "/")
	}
	return m, nil
}
