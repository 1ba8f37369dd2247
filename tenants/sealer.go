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
type Sealer struct {
	aead cipher.AEAD
	old  []cipher.AEAD // these open, too
}

// NewSealer derives the key from secret by HKDF-SHA256. What was sealed with
// one of the old secrets can still be opened; empty ones are ignored.
func NewSealer(secret string, old ...string) (*Sealer, error) {
	if secret == "" {
		return nil, fmt.Errorf("SECRET is empty: set it to a long random string")
	}
	s := &Sealer{}
	var err error
	if s.aead, err = sealing(secret); err != nil {
		return nil, err
	}
	for _, former := range old {
		if former == "" {
			continue
		}
		aead, err := sealing(former)
		if err != nil {
			return nil, err
		}
		s.old = append(s.old, aead)
	}
	return s, nil
}

func sealing(secret string) (cipher.AEAD, error) {
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
	return aead, nil
}

// Seal encrypts plain for its owner; it opens for the same owner only.
func (s *Sealer) Seal(owner, plain string) []byte {
	return s.aead.Seal(nil, nil, []byte(plain), []byte(owner))
}

// Open decrypts what Seal made; current is false when that was with an old
// secret. It fails when no secret fits, or the owner differs.
func (s *Sealer) Open(owner string, sealed []byte) (plain string, current bool, err error) {
	b, err := s.aead.Open(nil, nil, sealed, []byte(owner))
	if err == nil {
		return string(b), true, nil
	}
	for _, aead := range s.old {
		if b, err := aead.Open(nil, nil, sealed, []byte(owner)); err == nil {
			return string(b), false, nil
		}
	}
	return "", false, fmt.Errorf("open secret of %q: %w: was SECRET changed?", owner, err)
}
