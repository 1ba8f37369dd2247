package tenants

import (
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := newSigner("secret", nil, func() time.Time { return now })
	token, expires, err := s.issue("key1", RoleViewer, "")
	require.NoError(t, err)
	require.Equal(t, now.Add(TokenTTL), expires)
	c, err := s.read(token)
	require.NoError(t, err)
	require.Equal(t, "key1", c.Subject)
	require.Equal(t, RoleViewer, c.Role)

	other := newSigner("another", nil, s.now)
	foreign, _, err := other.issue("key1", RoleAdmin, "")
	require.NoError(t, err)
	head, rest, _ := strings.Cut(token, ".")
	body, _, _ := strings.Cut(rest, ".")
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, claims{RegisteredClaims: jwt.RegisteredClaims{Subject: "key1", Issuer: tokenIssuer, ExpiresAt: jwt.NewNumericDate(expires)}}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	require.NoError(t, err)
	eternal, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims{RegisteredClaims: jwt.RegisteredClaims{Subject: "key1", Issuer: tokenIssuer}}).SignedString([]byte("secret"))
	require.NoError(t, err)
	for name, bad := range map[string]string{
		"another secret": foreign, "unsigned": unsigned, "no expiry": eternal, "no signature": head + "." + body + ".", "nonsense": "a.b.c", "empty": "",
	} {
		_, err := s.read(bad)
		require.True(t, HasReason(err, ReasonTokenInvalid), "%s: %v", name, err)
	}
	renewed := newSigner("new secret", []string{"", "secret"}, s.now)
	_, err = renewed.read(token)
	require.NoError(t, err, "tokens of the former secret live to their end")
	fresh, _, err := renewed.issue("key1", RoleViewer, "")
	require.NoError(t, err)
	_, err = s.read(fresh)
	require.Error(t, err, "the former secret signs no more")
	now = now.Add(TokenTTL + time.Second)
	_, err = s.read(token)
	require.True(t, HasReason(err, ReasonTokenExpired), "%v", err)
}

func TestKeyFormat(t *testing.T) {
	t.Parallel()
	id, key := newSecret()
	require.Equal(t, id, keyID(key))
	require.True(t, strings.HasPrefix(key, KeyPrefix+id+"_"))
	require.GreaterOrEqual(t, len(key)-len(KeyPrefix)-len(id), 26, "128 bits of secret at least")
	for _, bad := range []string{"", "tms_", "tms_short_x", "other_abcdefghijkl_x", "tms_abcdefghijkl"} {
		require.Empty(t, keyID(bad), bad)
	}
}
