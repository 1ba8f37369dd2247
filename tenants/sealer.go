package tenants

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
)

// Sealer encrypts small secrets for storage with AES-256-GCM. It is safe for
// concurrent use.
type Sealer struct{ aead cipher.AEAD }

// NewSealer derives the key from secret by HKDF-SHA256.
func NewSealer(secret string) (*Sealer, error) {
	if secret == "" {
		return nil, fmt.Errorf("SECRET is empty: set it to a long random string")
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "tms install token v1", 32)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	// Nonces are random, made and stored by the AEAD itself: good for 2^32
	// messages.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return &Sealer{aead: aead}, nil
}

// Seal encrypts plain for its owner; it opens for the same owner only.
func (s *Sealer) Seal(owner, plain string) []byte {
	return s.aead.Seal(nil, nil, []byte(plain), []byte(owner))
}

// Open decrypts what Seal made. It fails when the secret or the owner differ.
func (s *Sealer) Open(owner string, sealed []byte) (string, error) {
	b, err := s.aead.Open(nil, nil, sealed, []byte(owner))
	if err != nil {
		return "", fmt.Errorf("open secret of %q: %w: was SECRET changed?", owner, err)
	}
	return string(b), nil
}
