package tenants

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// macLength of a page token: 128 bits.
const macLength = 16

// maxPageToken bounds what is decoded; positions are short.
const maxPageToken = 4096

// Pages makes and reads page tokens (AIP-158): opaque, signed, and good for
// one query only. It is safe for concurrent use.
type Pages struct {
	keys [][]byte // the first signs, all are accepted
}

// NewPages derives the signing key from secret. Tokens signed with one of the
// old secrets are accepted too.
func NewPages(secret string, old ...string) (*Pages, error) {
	p := &Pages{}
	for i, s := range append([]string{secret}, old...) {
		if s == "" && i > 0 {
			continue
		}
		key, err := hkdf.Key(sha256.New, []byte(s), nil, "tms page token v1", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive key: %w", err)
		}
		p.keys = append(p.keys, key)
	}
	return p, nil
}

// ephemeralPages signs with a key of this process.
func ephemeralPages() *Pages {
	p, err := NewPages(rand.Text())
	if err != nil {
		panic(err) // HKDF fails only for absurd lengths
	}
	return p
}

// Token makes a token of a position in the answers to query. position must be
// plain data.
func (p *Pages) Token(query string, position any) string {
	body, _ := json.Marshal(position) // plain data: cannot fail
	return base64.RawURLEncoding.EncodeToString(append(mac(p.keys[0], query, body), body...))
}

// Read takes the position out of a token and refuses one that was altered or
// made for another query. An empty token leaves position as it is.
func (p *Pages) Read(token, query string, position any) error {
	if token == "" {
		return nil
	}
	err := p.open(token, query, position)
	if err == nil {
		return nil
	}
	const message = "does not belong to this list"
	return &Error{
		Code: CodeInvalid, Reason: ReasonInvalidPageToken, Field: "page_token", Message: message, Err: err,
		Remedy:     "use next_page_token unaltered and with the same conditions",
		Violations: []Violation{{Field: "page_token", Message: message}},
	}
}

var errPageToken = errors.New("page token altered, or of another query")

func (p *Pages) open(token, query string, position any) error {
	if len(token) > maxPageToken {
		return errPageToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return err
	}
	if len(raw) < macLength {
		return errPageToken
	}
	for _, key := range p.keys {
		if hmac.Equal(raw[:macLength], mac(key, query, raw[macLength:])) {
			return json.Unmarshal(raw[macLength:], position)
		}
	}
	return errPageToken
}

func mac(key []byte, query string, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	// The length keeps query and body apart.
	_, _ = fmt.Fprintf(m, "%d %s ", len(query), query) // a hash takes everything
	m.Write(body)
	return m.Sum(nil)[:macLength]
}

// QueryHash names a query by its conditions, for the tokens of other domains.
func QueryHash(conditions ...any) string { return queryHash(conditions...) }

// queryHash names a query by its conditions, which must be plain data.
func queryHash(conditions ...any) string {
	b, _ := json.Marshal(conditions) // plain data: cannot fail; map keys are sorted
	sum := sha256.Sum256(b)
	return fmt.Sprintf("%x", sum[:8])
}
