package qmailcontrol

import "slices"

// Kind is the way in which qmail reads a control file.
type Kind uint8

const (
	KindLine Kind = iota // the first line: Lines.First
	KindInt              // a number: Lines.Int
	KindList             // Lines.Values and Lines.Set
	KindMap              // Lines.Map
	KindCDB              // a constant database
)

// String returns "line", "int", "list", "map" or "cdb".
func (k Kind) String() string {
	return [...]string{"line", "int", "list", "map", "cdb", "unknown"}[min(k, KindCDB+1)]
}

// File describes a control file of qmail (qmail-control(5)).
type File struct {
	Name string
	Kind Kind
	// Me says that the first line of control/me stands where the file is
	// missing; for a list it is then the only value.
	Me bool
	// Default stands where the file is missing, and with Me where control/me
	// is missing too. For a KindInt it is the number in digits. Empty means that
	// there is none: the file's purpose is then off, or its reader stops.
	Default string
	// Readers are the programs that read the file, parted by a blank; empty
	// means most of them.
	Readers string
}

// Files returns the control files that qmail knows, in alphabetical order.
// Others, such as those of patches, are no business of any program of qmail.
func Files() []File {
	return slices.Clone(files[:])
}

// FileNamed returns the entry of Files of that name.
func FileNamed(name string) (File, bool) {
	for _, f := range files {
		if f.Name == name {
			return f, true
		}
	}
	return File{}, false
}

// files is the table of qmail-control(5), as the programs read it.
var files = [...]File{
	{Name: "badmailfrom", Kind: KindList, Readers: smtpd},
	{Name: "bouncefrom", Kind: KindLine, Default: "MAILER-DAEMON", Readers: send},
	{Name: "bouncehost", Kind: KindLine, Me: true, Default: "bouncehost", Readers: send},
	{Name: "concurrencylocal", Kind: KindInt, Default: "10", Readers: send},
	{Name: "concurrencyremote", Kind: KindInt, Default: "20", Readers: send},
	{Name: "databytes", Kind: KindInt, Default: "0", Readers: incoming},
	{Name: "defaultdomain", Kind: KindLine, Me: true, Default: "defaultdomain", Readers: inject},
	{Name: "defaulthost", Kind: KindLine, Me: true, Default: "defaulthost", Readers: inject},
	{Name: "doublebouncehost", Kind: KindLine, Me: true, Default: "doublebouncehost", Readers: send},
	{Name: "doublebounceto", Kind: KindLine, Default: "postmaster", Readers: send},
	{Name: "envnoathost", Kind: KindLine, Me: true, Default: "envnoathost", Readers: send},
	{Name: "helohost", Kind: KindLine, Me: true, Readers: remote},
	{Name: "idhost", Kind: KindLine, Me: true, Default: "idhost", Readers: inject},
	{Name: "localiphost", Kind: KindLine, Me: true, Readers: smtpd},
	{Name: "locals", Kind: KindList, Me: true, Readers: send},
	{Name: "me", Kind: KindLine},
	{Name: "morercpthosts", Kind: KindList, Readers: "qmail-newmrh"},
	{Name: "morercpthosts.cdb", Kind: KindCDB, Readers: incoming},
	{Name: "percenthack", Kind: KindList, Readers: send},
	{Name: "plusdomain", Kind: KindLine, Me: true, Default: "plusdomain", Readers: inject},
	{Name: "qmqpservers", Kind: KindList, Readers: "qmail-qmqpc"},
	{Name: "queuelifetime", Kind: KindInt, Default: "604800", Readers: send},
	{Name: "rcpthosts", Kind: KindList, Readers: incoming},
	{Name: "smtpgreeting", Kind: KindLine, Me: true, Readers: smtpd},
	{Name: "smtproutes", Kind: KindMap, Readers: remote},
	{Name: "timeoutconnect", Kind: KindInt, Default: "60", Readers: remote},
	{Name: "timeoutremote", Kind: KindInt, Default: "1200", Readers: remote},
	{Name: "timeoutsmtpd", Kind: KindInt, Default: "1200", Readers: smtpd},
	{Name: "virtualdomains", Kind: KindMap, Readers: send},
}

const (
	smtpd    = "qmail-smtpd"
	incoming = "qmail-smtpd qmail-qmtpd"
	send     = "qmail-send"
	remote   = "qmail-remote"
	inject   = "qmail-inject"
)
