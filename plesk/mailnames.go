package plesk

// DefaultMailnames is where Plesk keeps the mailboxes unless PLESK_MAILNAMES_D
// of psa.conf says something else.
const DefaultMailnames = "/var/qmail/mailnames"

// Names in the directory of a mail name.
const (
	MaildirName     = "Maildir"
	AttachmentsName = "@attachments"
	UsageName       = "@mbox.usage"
	SpamName        = ".spamassassin"
	DotQmailName    = ".qmail"
	DefaultName     = ".qmail-default" // in the directory of a domain
)
