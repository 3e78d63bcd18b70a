//go:build unix

package sftptree

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Scheme begins the name of a remote directory: sftp://USER@HOST[:PORT]/PATH.
const Scheme = "sftp://"

// Options of Dial.
type Options struct {
	// Keys are files with private keys, tried in their order. They have no
	// passphrase: nobody is asked for one.
	Keys []string
	// KnownHosts are files with the keys of hosts, as ssh(1) keeps them.
	KnownHosts []string
	// Timeout bounds the connecting; 0 is 30 seconds.
	Timeout time.Duration
}

// DefaultKnownHosts is where ssh(1) keeps the keys of hosts.
func DefaultKnownHosts() []string {
	var list []string
	if home, err := os.UserHomeDir(); err == nil {
		list = append(list, filepath.Join(home, ".ssh", "known_hosts"))
	}
	return append(list, "/etc/ssh/ssh_known_hosts")
}

// ErrHostKey says that a host is not known, or has another key than is known.
var ErrHostKey = errors.New("the host's key is not the one that is known")

// ErrKeys says that there is no private key to log in with.
var ErrKeys = errors.New("no private key")

// Place takes sftp://USER@HOST[:PORT]/PATH apart. A password in it is refused:
// others could read it in the list of processes.
func Place(name string) (user, addr, path string, err error) {
	u, err := url.Parse(name)
	if err != nil || u.Scheme != "sftp" || u.Hostname() == "" || u.User == nil || u.User.Username() == "" || !strings.HasPrefix(u.Path, "/") ||
		u.RawQuery != "" || u.Fragment != "" {
		return "", "", "", errors.New("not of the form sftp://USER@HOST[:PORT]/PATH") // without the text: it may hold a password
	}
	if _, ok := u.User.Password(); ok {
		return "", "", "", errors.New("a password stands in it, where every user of this machine can read it: use a key")
	}
	port := u.Port()
	if port == "" {
		port = "22"
	}
	return u.User.Username(), net.JoinHostPort(u.Hostname(), port), u.Path, nil
}

// Dial connects to a host and opens the directory that name says. The host's
// key must be known; nothing is ever added to the known hosts.
func Dial(ctx context.Context, name string, o *Options) (*Tree, error) {
	user, addr, path, err := Place(name)
	if err != nil {
		return nil, err
	}
	check, algorithms, err := hostKeys(o.KnownHosts, addr)
	if err != nil {
		return nil, err
	}
	var signers []ssh.Signer
	for _, file := range o.Keys {
		s, err := signer(file)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", file, err)
		}
		signers = append(signers, s)
	}
	if len(signers) == 0 {
		return nil, ErrKeys
	}
	timeout := o.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	config := &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signers...)}, HostKeyCallback: check, HostKeyAlgorithms: algorithms}
	conn, err := (&net.Dialer{Timeout: timeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(timeout))
	c, chans, reqs, err := ssh.NewClientConn(conn, addr, config)
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	client := ssh.NewClient(c, chans, reqs)
	s, err := sftp.NewClient(client)
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("sftp: %w", err)
	}
	t := New(s, path)
	t.close = append(t.close, s, client)
	return t, nil
}

func signer(file string) (ssh.Signer, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	s, err := ssh.ParsePrivateKey(b)
	if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
		return nil, errors.New("it has a passphrase, and nobody is asked for one: use a key without")
	}
	return s, err
}

// hostKeys reads the known hosts, and says which kinds of keys are known of this
// one: a server that has several must show one of those.
func hostKeys(files []string, addr string) (ssh.HostKeyCallback, []string, error) {
	var there []string
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			there = append(there, f)
		}
	}
	if len(there) == 0 {
		return nil, nil, fmt.Errorf("%w: none of these files is there: %s", ErrHostKey, strings.Join(files, ", "))
	}
	known, err := knownhosts.New(there...)
	if err != nil {
		return nil, nil, fmt.Errorf("known hosts: %w", err)
	}
	var algorithms []string
	probe := &knownhosts.KeyError{}
	if err := known(addr, &net.TCPAddr{}, noKey{}); errors.As(err, &probe) {
		for _, k := range probe.Want {
			switch t := k.Key.Type(); t {
			case ssh.KeyAlgoRSA:
				algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, t)
			default:
				algorithms = append(algorithms, t)
			}
		}
	}
	return func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := known(host, remote, key)
		var e *knownhosts.KeyError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &e) && len(e.Want) == 0:
			return fmt.Errorf("%w: %s stands in none of %s; its key is %s", ErrHostKey, host, strings.Join(there, ", "), ssh.FingerprintSHA256(key))
		}
		return fmt.Errorf("%w: %s: %w", ErrHostKey, host, err)
	}, algorithms, nil
}

// noKey is nobody's key.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }
