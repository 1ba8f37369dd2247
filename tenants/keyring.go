package tenants

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Principal is who a request comes from.
type Principal struct {
	KeyID string
	Role  Role
	// Tenants are the only ones that may be touched, sorted; nil for all.
	Tenants []string
}

// MayTouch says whether the principal's key is not restricted to other
// tenants than this one.
func (p Principal) MayTouch(tenant string) bool {
	return p.Tenants == nil || slices.Contains(p.Tenants, tenant)
}

// RestrictedError is the refusal of a key that is restricted to other tenants;
// what names what it asked for.
func RestrictedError(p Principal, what string) error {
	return &Error{
		Code: CodePermissionDenied, Reason: ReasonTenantNotAllowed,
		Message:  fmt.Sprintf("API key %s is restricted to some tenants and may not touch %s", p.KeyID, short(what)),
		Remedy:   "use a key without that restriction",
		Metadata: map[string]string{"key": p.KeyID},
	}
}

// Keyring recognises callers by key or token. It is safe for concurrent use.
type Keyring struct {
	mirror *Mirror
	store  Store
	signer *signer
	env    []envKey
	now    func() time.Time
	log    *slog.Logger

	mu     sync.RWMutex
	tokens map[[sha256.Size]byte]readToken // tokens whose signature was good

	useMu sync.Mutex
	used  map[string]time.Time // last use per key, not stored yet
}

// envKey is a key given by the environment.
type envKey struct {
	id      string
	hash    [sha256.Size]byte
	role    Role
	binding string
	// former are the bindings by old secrets: tokens live a while longer.
	former []string
}

// bound says whether a token's binding is of this key.
func (e *envKey) bound(binding string) bool {
	ok := subtle.ConstantTimeCompare([]byte(e.binding), []byte(binding))
	for _, f := range e.former {
		ok |= subtle.ConstantTimeCompare([]byte(f), []byte(binding))
	}
	return ok == 1
}

type readToken struct {
	keyID   string
	binding string
	expires time.Time
}

// maxTokens bounds the memory of seen tokens; past it all are forgotten and
// read again.
const maxTokens = 10_000

// touchInterval is how precisely and how often the last use of keys is kept.
const touchInterval = time.Minute

// KeyringConfig configures a Keyring.
type KeyringConfig struct {
	Store  Store
	Mirror *Mirror
	Secret string // signs tokens; never empty
	// OldSecrets are accepted where tokens are read; empty ones are ignored.
	OldSecrets []string
	// InstanceKey and AdminKey come from the environment (API_KEY,
	// TMS_ADMIN_KEY): any string, "" for none.
	InstanceKey string
	AdminKey    string
	Now         func() time.Time // nil for time.Now
	Logger      *slog.Logger
}

// NewKeyring wires a Keyring.
func NewKeyring(c KeyringConfig) *Keyring {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keyring{
		mirror: c.Mirror, store: c.Store, signer: newSigner(c.Secret, c.OldSecrets, c.Now), now: c.Now, log: c.Logger,
		tokens: map[[sha256.Size]byte]readToken{}, used: map[string]time.Time{},
	}
	for _, e := range []struct {
		id, key string
		role    Role
	}{{"env-admin", c.AdminKey, RoleAdmin}, {"env-instance", c.InstanceKey, RoleInstance}} {
		if e.key == "" {
			continue
		}
		env := envKey{id: e.id, hash: sha256.Sum256([]byte(e.key)), role: e.role, binding: bindingOf(c.Secret, e.key)}
		for _, old := range c.OldSecrets {
			if old != "" {
				env.former = append(env.former, bindingOf(old, e.key))
			}
		}
		k.env = append(k.env, env)
	}
	return k
}

// bindingOf ties a token to the value of a key from the environment.
func bindingOf(secret, key string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("tms env key " + key))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// Staleness is how old the answers from memory are: 0 while the registry can
// be asked.
func (k *Keyring) Staleness() time.Duration { return k.mirror.Staleness() }

// Authenticate says who a credential, an API key or a token, belongs to. The
// refusals of an unknown, a revoked and an expired key are three.
func (k *Keyring) Authenticate(ctx context.Context, credential string) (Principal, error) {
	if credential == "" {
		return Principal{}, &Error{Code: CodeUnauthenticated, Reason: ReasonNoCredentials, Message: "no API key and no token", Remedy: "send `Authorization: Bearer KEY`"}
	}
	sum := sha256.Sum256([]byte(credential))
	if p, _, err := k.byKey(ctx, credential, sum); err == nil || !HasReason(err, ReasonKeyUnknown) {
		return p, err
	}
	if strings.Count(credential, ".") != 2 {
		return Principal{}, unknownKey()
	}
	return k.byToken(ctx, credential, sum)
}

// Token makes a short-lived token for the owner of an API key. A token is no
// key: it cannot make itself last longer.
func (k *Keyring) Token(ctx context.Context, key string) (string, time.Time, error) {
	p, binding, err := k.byKey(ctx, key, sha256.Sum256([]byte(key)))
	if err != nil {
		return "", time.Time{}, err
	}
	return k.signer.issue(p.KeyID, p.Role, binding)
}

func unknownKey() error {
	return &Error{Code: CodeUnauthenticated, Reason: ReasonKeyUnknown, Message: "the API key is not known", Remedy: "check it, or ask an administrator for one"}
}

func (k *Keyring) byKey(ctx context.Context, key string, sum [sha256.Size]byte) (Principal, string, error) {
	for i := range k.env {
		if e := &k.env[i]; subtle.ConstantTimeCompare(sum[:], e.hash[:]) == 1 {
			return Principal{KeyID: e.id, Role: e.role}, e.binding, nil
		}
	}
	id := keyID(key)
	if id == "" {
		return Principal{}, "", unknownKey()
	}
	stored, err := k.mirror.key(ctx, id)
	if err != nil {
		return Principal{}, "", err
	}
	if stored == nil || subtle.ConstantTimeCompare(sum[:], stored.Hash[:]) != 1 {
		return Principal{}, "", unknownKey()
	}
	p, err := k.admit(stored)
	return p, "", err
}

func (k *Keyring) admit(stored *APIKey) (Principal, error) {
	now := k.now()
	if err := stored.usable(now); err != nil {
		return Principal{}, err
	}
	k.touch(stored.ID, now)
	return Principal{KeyID: stored.ID, Role: stored.Role, Tenants: stored.Tenants}, nil
}

func (k *Keyring) byToken(ctx context.Context, token string, sum [sha256.Size]byte) (Principal, error) {
	k.mu.RLock()
	seen, ok := k.tokens[sum]
	k.mu.RUnlock()
	if !ok {
		c, err := k.signer.read(token)
		if err != nil {
			return Principal{}, err
		}
		seen = readToken{keyID: c.Subject, binding: c.Binding, expires: c.ExpiresAt.Time}
		k.mu.Lock()
		if len(k.tokens) >= maxTokens {
			clear(k.tokens)
		}
		k.tokens[sum] = seen
		k.mu.Unlock()
	}
	if !k.now().Before(seen.expires) {
		return Principal{}, tokenExpired()
	}
	if seen.binding != "" {
		for i := range k.env {
			if e := &k.env[i]; e.id == seen.keyID && e.bound(seen.binding) {
				return Principal{KeyID: e.id, Role: e.role}, nil
			}
		}
		return Principal{}, unknownKey()
	}
	stored, err := k.mirror.key(ctx, seen.keyID)
	if err != nil {
		return Principal{}, err
	}
	if stored == nil {
		return Principal{}, unknownKey()
	}
	return k.admit(stored)
}

func (k *Keyring) touch(id string, now time.Time) {
	k.useMu.Lock()
	k.used[id] = now
	k.useMu.Unlock()
}

// Run stores last uses until ctx ends.
func (k *Keyring) Run(ctx context.Context) {
	tick := time.NewTicker(touchInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			// What was used in the last minute is worth one more call.
			k.flush(context.WithoutCancel(ctx))
			return
		case <-tick.C:
			k.flush(ctx)
		}
	}
}

func (k *Keyring) flush(ctx context.Context) {
	k.useMu.Lock()
	used := k.used
	k.used = make(map[string]time.Time, len(used))
	k.useMu.Unlock()
	if len(used) == 0 {
		return
	}
	for id, at := range used {
		used[id] = at.UTC().Truncate(touchInterval)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := k.store.TouchKeys(ctx, used); err != nil {
		k.log.WarnContext(ctx, "last use of API keys not stored", "error", err)
	}
}
