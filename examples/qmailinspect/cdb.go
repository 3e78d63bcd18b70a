package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/internal/cdbfile"
)

// cdbRecord is a line of the kind cdb.
type cdbRecord struct {
	Offset int64       `json:"offset"`
	Key    jsonl.Bytes `json:"key"`
	Data   jsonl.Bytes `json:"data"`
}

func cdbKind() *cli.Command {
	return &cli.Command{
		Name: "cdb", Args: "FILE [KEY...]", Min: 1, Max: -1,
		Short: "the records of any cdb, in file order; with KEYs those that a look-up finds",
		Setup: func(*flag.FlagSet) cli.Action {
			return printing(func(ctx context.Context, out *lines, args []string) error {
				f, size, err := openFile(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				c, err := cdbfile.Open(f, size)
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				if len(args) == 1 {
					return printRecords(ctx, out, args[0], c)
				}
				for key, err := range out.items(args[1:]) {
					if err != nil {
						return err
					}
					for rec, err := range c.All([]byte(key)) {
						if err != nil {
							return fmt.Errorf("%s: %w", args[0], err)
						}
						if err := out.print(cdbRecord{rec.Offset, jsonl.Bytes(rec.Key), jsonl.Bytes(rec.Data)}); err != nil {
							return err
						}
					}
				}
				return nil
			})
		},
	}
}

func printRecords(ctx context.Context, out *lines, name string, c *cdbfile.Reader) error {
	for rec, err := range c.Records() {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := out.print(cdbRecord{rec.Offset, jsonl.Bytes(rec.Key), jsonl.Bytes(rec.Data)}); err != nil {
			return err
		}
	}
	return nil
}
