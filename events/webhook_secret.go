package events

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/tracardi/tms/tenants"
)

const (
	// secretPrefix and the size of the key follow standardwebhooks.com.
	secretPrefix = "whsec_"
	secretBytes  = 32

	// DefaultSecretOverlap is how long a former secret signs beside the new
	// one when nobody says otherwise.
	DefaultSecretOverlap = 24 * time.Hour
	// MaxSecretOverlap is the longest.
	MaxSecretOverlap = 30 * 24 * time.Hour
)

func newSecret() string {
	key := make([]byte, secretBytes)
	_, _ = rand.Read(key) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// secretsAt lists what signs at a time: the secret, and the former one while
// the two overlap.
func (w *Webhook) secretsAt(now time.Time) []string {
	if w.OldSecret != "" && now.Before(w.OldSecretUntil) {
		return []string{w.Secret, w.OldSecret}
	}
	return []string{w.Secret}
}

// signatures are those of all secrets, with spaces between, as
// standardwebhooks.com wants them.
func signatures(w *Webhook, m Message, now time.Time) (string, error) {
	var all []string
	for _, secret := range w.secretsAt(now) {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
		if err != nil || len(key) == 0 {
			return "", fmt.Errorf("secret of webhook %s cannot be read: was SECRET changed? make a new one with tms webhook rotate", w.ID)
		}
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%s.%s", m.ID, m.Timestamp, m.Body) // a hash takes everything
		all = append(all, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(all, " "), nil
}

// RotateSecret makes a new secret, which is set in the answer and nowhere
// else. The former one signs, too, until overlap is over; one that was former
// already signs no longer. Overlap 0 is for a leak.
func (s *Webhooks) RotateSecret(ctx context.Context, c tenants.Caller, id string, overlap time.Duration) (*Webhook, error) {
	if overlap < 0 || overlap > MaxSecretOverlap {
		return nil, invalid("overlap", fmt.Sprintf("%s is outside 0 to %s: say how long the former secret signs, too", overlap, MaxSecretOverlap))
	}
	secret := newSecret()
	a := s.audit(c, "webhook.rotate_secret", id, map[string]any{"overlap": overlap.String()})
	w, err := s.c.Store.ChangeWebhook(ctx, id, a, func(w *Webhook) error {
		w.OldSecret, w.OldSecretUntil = "", time.Time{}
		if overlap > 0 && w.Secret != "" {
			w.OldSecret, w.OldSecretUntil = w.Secret, s.c.Now().Add(overlap)
		}
		w.Secret = secret
		return nil
	})
	if err != nil {
		return nil, err
	}
	w.Secret = secret
	return w, nil
}
