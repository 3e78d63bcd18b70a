package main

import (
	"context"
	"flag"
	"fmt"

	"github.com/qmailkit/qmailkit"
	"github.com/qmailkit/qmailkit/examples/internal/cli"
	"github.com/qmailkit/qmailkit/examples/internal/jsonl"
	"github.com/qmailkit/qmailkit/plesk"
)

// psaDomain is a domain of the kind psa.
type psaDomain struct {
	Type        string        `json:"type"` // "domain"
	ID          uint64        `json:"id"`
	Name        jsonl.Bytes   `json:"name"`
	DisplayText string        `json:"display_name_text,omitempty"`
	Status      int64         `json:"status"`
	MailStatus  *int64        `json:"mail_status,omitempty"`
	Client      int64         `json:"client_status,omitempty"`
	Quota       int64         `json:"mailbox_quota"`
	Aliases     []jsonl.Bytes `json:"aliases"`
	Unknown     jsonl.Bytes   `json:"unknown"`
	CatchAll    jsonl.Bytes   `json:"catch_all,omitempty"`
	Bounce      jsonl.Bytes   `json:"bounce,omitempty"`
	Lists       []jsonl.Bytes `json:"lists,omitempty"`
}

// psaName is a mail name of the kind psa.
type psaName struct {
	Type         string        `json:"type"` // "mailname"
	ID           uint64        `json:"id"`
	Domain       jsonl.Bytes   `json:"domain"`
	Name         jsonl.Bytes   `json:"name"`
	Mailbox      bool          `json:"mailbox"`
	Delivery     bool          `json:"delivery"`
	PasswordType string        `json:"password_type"`
	Password     *jsonl.Bytes  `json:"password,omitempty"`
	Stored       *jsonl.Bytes  `json:"stored,omitempty"`
	Quota        int64         `json:"quota"`
	Group        bool          `json:"group"`
	Aliases      []jsonl.Bytes `json:"aliases"`
	Forwards     []jsonl.Bytes `json:"forwards"`
	Off          []jsonl.Bytes `json:"off,omitempty"`
	AutoRespond  bool          `json:"autorespond"`
	Responders   []psaAnswer   `json:"responders,omitempty"`
	SpamFilter   string        `json:"spamfilter"`
	VirusFilter  string        `json:"virusfilter"`
}

// psaAnswer is an autoresponder.
type psaAnswer struct {
	Name        jsonl.Bytes   `json:"name"`
	On          bool          `json:"on"`
	Where       jsonl.Bytes   `json:"where"`
	Key         jsonl.Bytes   `json:"key"`
	Subject     jsonl.Bytes   `json:"subject"`
	ReplyTo     jsonl.Bytes   `json:"reply_to,omitempty"`
	Text        jsonl.Bytes   `json:"text"`
	ContentType jsonl.Bytes   `json:"content_type,omitempty"`
	Charset     jsonl.Bytes   `json:"charset,omitempty"`
	Frequency   int64         `json:"frequency,omitempty"`
	End         jsonl.Bytes   `json:"end,omitempty"`
	Attachments []jsonl.Bytes `json:"attachments,omitempty"`
	Forwards    []jsonl.Bytes `json:"forwards,omitempty"`
}

func psaKind() *cli.Command {
	return &cli.Command{
		Name: "psa", Args: "DUMP", Min: 1, Max: 1,
		Short: "domains and mail names in a dump of Plesk's database",
		Long: `DUMP is what mysqldump or mariadb-dump wrote of the database psa of any version of
Plesk; "-" is standard input, for one that has to be unpacked. Quotas are in bytes;
-1 of a mailbox is that of its domain, and of a domain none. Rows that make no
sense and passwords that the key does not open are reported, and the exit code is
3; a dump that is cut short or lacks a table is an error.`,
		Setup: func(fs *flag.FlagSet) cli.Action {
			secrets := fs.Bool("secrets", false, "show passwords: as stored, and those of type sym opened where -secret-key is given")
			keyFile := fs.String("secret-key", "", "`FILE` with the host's key, /etc/psa/private/secret_key")
			database := fs.String("database", "", "`NAME` of the database, where the dump holds several and it is not psa")
			return printing(func(ctx context.Context, out *lines, args []string) error {
				var key *plesk.SecretKey
				if *keyFile != "" {
					b, err := readFile(*keyFile, 4096)
					if err == nil {
						key, err = plesk.NewSecretKey(b)
					}
					if err != nil {
						return fmt.Errorf("secret key: %w", err)
					}
				}
				dump, name := out.env.Stdin, "standard input"
				if args[0] != "-" {
					f, _, err := openFile(args[0])
					if err != nil {
						return err
					}
					defer f.Close()
					dump, name = f, args[0]
				}
				s, err := plesk.ReadDump(ctx, dump, &plesk.Options{Name: name, Database: *database})
				if err != nil {
					return err
				}
				return printPsa(out, s, key, *secrets)
			})
		},
	}
}

func printPsa(out *lines, s *plesk.Server, key *plesk.SecretKey, secrets bool) error {
	for _, p := range s.Problems {
		if p.Code == "plesk.bad-row" || p.Code == "plesk.bad-value" || p.Code == "plesk.no-domain" {
			out.skipped++
		}
		out.note(p.Path, p)
	}
	for _, d := range s.Domains {
		line := psaDomain{Type: "domain", ID: d.ID, Name: jsonl.Bytes(d.Name), DisplayText: d.DisplayName, Status: d.Status, Client: d.ClientStatus, Quota: d.MailboxQuota, Aliases: []jsonl.Bytes{},
			Unknown: jsonl.Bytes(d.Unknown.Action), CatchAll: jsonl.Bytes(d.Unknown.Address), Bounce: jsonl.Bytes(d.Unknown.Text), Lists: byteList(d.Lists)}
		if d.MailKnown {
			line.MailStatus = &d.MailStatus
		}
		for _, a := range d.Aliases {
			line.Aliases = append(line.Aliases, jsonl.Bytes(a.Name))
		}
		if err := out.print(line); err != nil {
			return err
		}
		for _, m := range d.Mailnames {
			if err := out.print(psaLine(out, d, m, key, secrets)); err != nil {
				return err
			}
		}
	}
	return nil
}

func psaLine(out *lines, d *plesk.Domain, m *plesk.Mailname, key *plesk.SecretKey, secrets bool) psaName {
	line := psaName{Type: "mailname", ID: m.ID, Domain: jsonl.Bytes(d.Name), Name: jsonl.Bytes(m.Name), Mailbox: m.Mailbox, Delivery: !m.NoDelivery,
		PasswordType: m.Password.Type, Quota: m.Quota, Group: m.Group, Aliases: byteList(m.Aliases), Forwards: byteList(m.Forwards), Off: byteList(m.Off),
		AutoRespond: m.AutoRespond, SpamFilter: m.SpamFilter, VirusFilter: m.VirusFilter}
	for _, r := range m.Responders {
		line.Responders = append(line.Responders, psaAnswer{jsonl.Bytes(r.Name), r.On, jsonl.Bytes(r.Where), jsonl.Bytes(r.Key), jsonl.Bytes(r.Subject), jsonl.Bytes(r.ReplyTo),
			jsonl.Bytes(r.Text), jsonl.Bytes(r.ContentType), jsonl.Bytes(r.Charset), r.Frequency, jsonl.Bytes(r.End), byteList(r.Attachments), byteList(r.Forwards)})
	}
	if secrets {
		line.Stored = ptr(jsonl.Bytes(m.Password.Stored))
	}
	if key != nil && m.Password.Type == "sym" {
		clear, err := key.Open(m.Password.Stored)
		if err != nil {
			out.skipped++
			out.note("", qmailkit.Problem{Code: "plesk.secret-key", Severity: qmailkit.Error, Err: fmt.Errorf("password of %s@%s: %w", m.Name, d.Name, err)})
		} else if secrets {
			line.Password = ptr(jsonl.Bytes(clear))
		}
	}
	return line
}

func byteList(list []string) []jsonl.Bytes {
	out := make([]jsonl.Bytes, len(list))
	for i, s := range list {
		out[i] = jsonl.Bytes(s)
	}
	return out
}
