package plesk

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qmailkit/qmailkit"
)

var (
	// ErrSym says that a text is not a password as Plesk keeps it under the
	// type sym.
	ErrSym = errors.New("not a password of type sym")
	// ErrKey says that the key of a host does not open a password: what comes
	// out is no text.
	ErrKey = errors.New("the secret key does not fit")
	// ErrKeySize says that a secret key has not 16 bytes.
	ErrKeySize = errors.New("the secret key must have 16 bytes")
)

const symPrefix = "$AES-128-CBC$"

// A SecretKey is the content of /etc/psa/private/secret_key, by which a host
// opens the passwords of type sym. Each host has its own.
type SecretKey struct{ block cipher.Block }

// NewSecretKey takes the 16 bytes of the file.
func NewSecretKey(b []byte) (*SecretKey, error) {
	if len(b) != 16 {
		return nil, fmt.Errorf("%w: %d", ErrKeySize, len(b))
	}
	block, err := aes.NewCipher(b)
	if err != nil {
		return nil, err
	}
	return &SecretKey{block}, nil
}

// Open decrypts what psa.accounts has under the type sym: "$AES-128-CBC$", the
// initialisation vector, "$", the text padded with NULs, both in base64, with
// or without its own padding. Nothing in it tells whether the key was right, so
// a result that is not UTF-8, is empty or holds control characters is ErrKey.
func (k *SecretKey) Open(stored qmailkit.Secret) (qmailkit.Secret, error) {
	rest, ok := strings.CutPrefix(string(stored), symPrefix)
	if !ok {
		return "", ErrSym
	}
	iv64, text64, ok := strings.Cut(rest, "$")
	if !ok {
		return "", fmt.Errorf("%w: two parts are wanted", ErrSym)
	}
	iv, err := decode64(iv64)
	if err != nil || len(iv) != aes.BlockSize {
		return "", fmt.Errorf("%w: damaged initialisation vector", ErrSym)
	}
	text, err := decode64(text64)
	if err != nil || len(text) == 0 || len(text)%aes.BlockSize != 0 {
		return "", fmt.Errorf("%w: damaged text", ErrSym)
	}
	cipher.NewCBCDecrypter(k.block, iv).CryptBlocks(text, text)
	text = bytes.TrimRight(text, "\x00")
	if len(text) == 0 || !utf8.Valid(text) || bytes.ContainsFunc(text, unicode.IsControl) {
		return "", ErrKey
	}
	return qmailkit.Secret(text), nil
}

// decode64 takes padding as it must be, or none at all. The decoder of Go would
// pass over line breaks.
func decode64(s string) ([]byte, error) {
	enc := base64.StdEncoding
	if !strings.Contains(s, "=") {
		enc = base64.RawStdEncoding
	}
	if strings.ContainsAny(s, "\r\n") {
		return nil, ErrSym
	}
	return enc.Strict().DecodeString(s)
}

// Seal encrypts a password for the host whose key this is. The initialisation
// vector comes from random. A password that is empty or ends in a NUL, which
// the padding would swallow, is refused with ErrSym.
func (k *SecretKey) Seal(random io.Reader, password qmailkit.Secret) (qmailkit.Secret, error) {
	if password == "" || strings.HasSuffix(string(password), "\x00") {
		return "", fmt.Errorf("%w: it would not come back", ErrSym)
	}
	iv := make([]byte, aes.BlockSize)
	if _, err := io.ReadFull(random, iv); err != nil {
		return "", err
	}
	n := (len(password) + aes.BlockSize - 1) / aes.BlockSize * aes.BlockSize
	text := make([]byte, n)
	copy(text, password)
	cipher.NewCBCEncrypter(k.block, iv).CryptBlocks(text, text)
	enc := base64.StdEncoding
	return qmailkit.Secret(symPrefix + enc.EncodeToString(iv) + "$" + enc.EncodeToString(text)), nil
}
