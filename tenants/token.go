package tenants

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TokenTTL is how long a token is good. Tracardi containers fetch a new one
// when theirs is refused.
const TokenTTL = 15 * time.Minute

const tokenIssuer = "tms"

// claims of a token. Role is for people who look into it; what counts is the
// key's role when the token is used.
type claims struct {
	jwt.RegisteredClaims
	Role Role `json:"role"`
	// Binding ties the token of a key from the environment to its value, so
	// that a new value ends the tokens of the old one.
	Binding string `json:"bind,omitempty"`
}

// signer makes and reads tokens.
type signer struct {
	secret []byte
	accept jwt.VerificationKeySet // the secret and the old ones
	parser *jwt.Parser
	now    func() time.Time
}

func newSigner(secret string, old []string, now func() time.Time) *signer {
	set := jwt.VerificationKeySet{Keys: []jwt.VerificationKey{[]byte(secret)}}
	for _, s := range old {
		if s != "" {
			set.Keys = append(set.Keys, []byte(s))
		}
	}
	return &signer{
		secret: []byte(secret), accept: set, now: now,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), // never what the token says
			jwt.WithIssuer(tokenIssuer), jwt.WithExpirationRequired(), jwt.WithTimeFunc(now),
		),
	}
}

func (s *signer) issue(keyID string, role Role, binding string) (string, time.Time, error) {
	now := s.now()
	expires := now.Add(TokenTTL)
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: tokenIssuer, Subject: keyID,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
		},
		Role: role, Binding: binding,
	}).SignedString(s.secret)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign token: %w", err)
	}
	return token, expires, nil
}

func (s *signer) read(token string) (claims, error) {
	var c claims
	_, err := s.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return s.accept, nil })
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, jwt.ErrTokenExpired):
		return c, tokenExpired()
	}
	return c, &Error{Code: CodeUnauthenticated, Reason: ReasonTokenInvalid, Message: "the token is not valid", Remedy: "get a new one from /api-key/{key}", Err: err}
}

func tokenExpired() error {
	return &Error{Code: CodeUnauthenticated, Reason: ReasonTokenExpired, Message: "the token has expired", Remedy: "get a new one from /api-key/{key}"}
}
