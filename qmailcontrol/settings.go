package qmailcontrol

import (
	"errors"
	"io/fs"
	"strconv"
)

// Source says where a value comes from.
type Source uint8

const (
	Nowhere     Source = iota // the file is missing, and so is any default
	FromFile                  // the file, be it empty
	FromMe                    // the file is missing: control/me
	FromDefault               // the file is missing, or has no number: qmail's own default
)

// String returns "nowhere", "file", "me" or "default".
func (s Source) String() string {
	return [...]string{"nowhere", "file", "me", "default", "unknown"}[min(s, FromDefault+1)]
}

// A Setting is what a program of qmail reads from one control file.
type Setting[T any] struct {
	Value T
	From  Source
	// Err says that there is a file, or control/me in its place, which cannot
	// be read. Most programs of qmail then stop.
	Err error
}

// Settings are all control files of qmail (qmail-control(5)), as its programs
// read them and with the defaults that they use. Lists hold the values in the
// order of the file.
type Settings struct {
	BadMailFrom       Setting[[]string]
	BounceFrom        Setting[string]
	BounceHost        Setting[string]
	ConcurrencyLocal  Setting[int] // deliveries at once; conf-spawn cuts it
	ConcurrencyRemote Setting[int] // deliveries at once; conf-spawn cuts it
	DataBytes         Setting[int] // bytes; 0 means no limit
	DefaultDomain     Setting[string]
	DefaultHost       Setting[string]
	DoubleBounceHost  Setting[string]
	DoubleBounceTo    Setting[string]
	EnvNoAtHost       Setting[string]
	HeloHost          Setting[string]
	IDHost            Setting[string]
	LocalIPHost       Setting[string]
	Locals            Setting[[]string]
	Me                Setting[string]
	MoreRcptHosts     Setting[[]string] // as a list; see WriteMorercpthosts
	PercentHack       Setting[[]string]
	PlusDomain        Setting[string]
	QMQPServers       Setting[[]string]
	QueueLifetime     Setting[int] // seconds
	RcptHosts         Setting[[]string]
	SMTPGreeting      Setting[string]
	SMTPRoutes        Setting[Map]
	TimeoutConnect    Setting[int] // seconds
	TimeoutRemote     Setting[int] // seconds
	TimeoutSMTPD      Setting[int] // seconds; qmail-smtpd makes 1 of less
	VirtualDomains    Setting[Map]
}

// Settings reads all files.
func (c *Config) Settings() Settings {
	return Settings{
		BadMailFrom:       c.list("badmailfrom"),
		BounceFrom:        c.line("bouncefrom"),
		BounceHost:        c.line("bouncehost"),
		ConcurrencyLocal:  c.number("concurrencylocal"),
		ConcurrencyRemote: c.number("concurrencyremote"),
		DataBytes:         c.number("databytes"),
		DefaultDomain:     c.line("defaultdomain"),
		DefaultHost:       c.line("defaulthost"),
		DoubleBounceHost:  c.line("doublebouncehost"),
		DoubleBounceTo:    c.line("doublebounceto"),
		EnvNoAtHost:       c.line("envnoathost"),
		HeloHost:          c.line("helohost"),
		IDHost:            c.line("idhost"),
		LocalIPHost:       c.line("localiphost"),
		Locals:            c.list("locals"),
		Me:                c.line("me"),
		MoreRcptHosts:     c.list("morercpthosts"),
		PercentHack:       c.list("percenthack"),
		PlusDomain:        c.line("plusdomain"),
		QMQPServers:       c.list("qmqpservers"),
		QueueLifetime:     c.number("queuelifetime"),
		RcptHosts:         c.list("rcpthosts"),
		SMTPGreeting:      c.line("smtpgreeting"),
		SMTPRoutes:        c.mapping("smtproutes"),
		TimeoutConnect:    c.number("timeoutconnect"),
		TimeoutRemote:     c.number("timeoutremote"),
		TimeoutSMTPD:      c.number("timeoutsmtpd"),
		VirtualDomains:    c.mapping("virtualdomains"),
	}
}

// get opens a file; a missing one is no error.
func (c *Config) get(name string) (l *Lines, found bool, err error) {
	l, err = c.Lines(name)
	if _, there := c.entries[name]; !there && errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	return l, err == nil, err
}

// line is control.c:control_rldef.
func (c *Config) line(name string) Setting[string] {
	l, found, err := c.get(name)
	if found || err != nil {
		return fromFile(l, err, (*Lines).First)
	}
	f, _ := FileNamed(name)
	if f.Me {
		me, found, err := c.get("me")
		if err != nil {
			return Setting[string]{Err: err}
		}
		if found {
			return Setting[string]{Value: me.First(), From: FromMe}
		}
	}
	if f.Default == "" {
		return Setting[string]{}
	}
	return Setting[string]{Value: f.Default, From: FromDefault}
}

// number is control.c:control_readint over the default of the program.
func (c *Config) number(name string) Setting[int] {
	l, found, err := c.get(name)
	if err != nil {
		return Setting[int]{Err: err}
	}
	if found {
		if n, ok := l.Int(); ok {
			return Setting[int]{Value: n, From: FromFile}
		}
	}
	f, _ := FileNamed(name)
	n, _ := strconv.Atoi(f.Default)
	return Setting[int]{Value: n, From: FromDefault}
}

// list is control.c:control_readfile.
func (c *Config) list(name string) Setting[[]string] {
	l, found, err := c.get(name)
	if found || err != nil {
		return fromFile(l, err, (*Lines).values)
	}
	if f, _ := FileNamed(name); !f.Me {
		return Setting[[]string]{}
	}
	me, found, err := c.get("me")
	if err != nil || !found {
		return Setting[[]string]{Err: err}
	}
	// A NUL in me splits it, as it splits a line of the list. The line is one
	// of the list even if it is empty or looks like a comment.
	return Setting[[]string]{Value: splitNUL(me.First()), From: FromMe}
}

// mapping is control_readfile with what constmap makes of it.
func (c *Config) mapping(name string) Setting[Map] {
	l, found, err := c.get(name)
	if found || err != nil {
		return fromFile(l, err, (*Lines).Map)
	}
	return Setting[Map]{}
}

func fromFile[T any](l *Lines, err error, value func(*Lines) T) Setting[T] {
	if err != nil {
		return Setting[T]{Err: err}
	}
	return Setting[T]{Value: value(l), From: FromFile}
}

// controls collects the first file at which a program stops.
type controls struct {
	program string
	err     error
}

// stop notes that the program cannot do with a file; nil is no trouble.
func (s *controls) stop(name string, err error) {
	if err != nil && s.err == nil {
		s.err = &ControlsError{s.program, name, err}
	}
}

// take notes a file that cannot be read and returns what it holds.
func take[T any](s *controls, name string, set Setting[T]) T {
	s.stop(name, set.Err)
	return set.Value
}

// need is take for a file that the program cannot do without.
func need[T any](s *controls, name string, set Setting[T]) T {
	if set.From == Nowhere && set.Err == nil {
		s.stop(name, fs.ErrNotExist)
	}
	return take(s, name, set)
}
