//go:build unix

// Package sftptest runs an SFTP server for tests, on loopback and in this
// process.
package sftptest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// A Server serves all files that the test may read.
type Server struct {
	Addr       string // host:port
	Key        string // file with the private key that lets in
	KnownHosts string // file with the server's key

	mu    sync.Mutex
	conns []net.Conn
}

// Start starts a server that ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	dir := t.TempDir()
	host, _ := newKey(t)
	user, private := newKey(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: l.Addr().String(), Key: filepath.Join(dir, "key"), KnownHosts: filepath.Join(dir, "known_hosts")}
	for name, text := range map[string][]byte{
		s.Key: private, s.KnownHosts: fmt.Appendln(nil, knownhosts.Line([]string{s.Addr}, host.PublicKey())),
	} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), user.PublicKey().Marshal()) {
			return nil, fmt.Errorf("not this key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			all.Go(func() { serve(c, config) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.Cut()
		all.Wait()
	})
	return s
}

// URL names a directory of this machine as the server has it.
func (s *Server) URL(dir string) string { return "sftp://mover@" + s.Addr + dir }

// Cut breaks all connections.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		c.Close()
	}
	s.conns = nil
}

func newKey(t testing.TB) (ssh.Signer, []byte) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return s, pem.EncodeToMemory(block)
}

func serve(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	conn, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(reqs)
	for ch := range chans {
		if ch.ChannelType() != "session" {
			ch.Reject(ssh.UnknownChannelType, "")
			continue
		}
		channel, requests, err := ch.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				ok := r.Type == "subsystem" && len(r.Payload) > 4 && string(r.Payload[4:]) == "sftp"
				r.Reply(ok, nil)
			}
		}()
		server, err := sftp.NewServer(channel, sftp.ReadOnly())
		if err != nil {
			return
		}
		if err := server.Serve(); err != nil && err != io.EOF {
			server.Close()
		}
		channel.Close()
	}
}
