// Package tenants is the registry: tenants, their states, API keys, tokens and
// the audit trail. It is a pure domain; its Store is implemented elsewhere.
package tenants

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Bounds of a tenant's fields.
const (
	MinIDLength = 3 // Tracardi ignores shorter host labels
	// MaxIDLength is that of a DNS label: the id is the first label of the
	// tenant's host name.
	MaxIDLength       = 63
	MaxNameLength     = 200
	MaxEmailLength    = 254 // RFC 5321, path without brackets
	MaxDomainLength   = 253 // RFC 1035
	MaxURLLength      = 2048
	MaxTokenLength    = 200
	MaxLabels         = 64
	MaxLabelLength    = 63
	MaxAttributesSize = 16 << 10 // bytes of JSON
)

// DefaultCluster is where tenants live unless told otherwise.
const DefaultCluster = "default"

// UndeletePeriod is how long a deleted tenant can be undeleted.
const UndeletePeriod = 30 * 24 * time.Hour

// Tenant is one customer of a Tracardi installation. Whether it is served
// follows from three facts, Suspended, ExpiresAt and DeletedAt: see StateAt.
type Tenant struct {
	ID           string
	DisplayName  string
	Email        string
	Domain       string
	GUIURL       string
	InstallToken string
	// TokenUnreadable says that the stored install token cannot be opened with
	// the SECRET in force.
	TokenUnreadable bool
	// TokenSealedOld says that the install token is sealed with the former
	// SECRET; the next change of the tenant seals it anew.
	TokenSealedOld bool
	Labels         map[string]string
	Attributes     json.RawMessage // a JSON object, nil for none
	Release        string
	// AdoptedFrom is the beginning of the index names of the single-tenant
	// installation that the tenant was, "{prefix}.{code name}" ("074.4a7d1"): the
	// indices of that release stand under it, those of all later ones under the
	// id. "" for other tenants; it never changes.
	AdoptedFrom    string
	Cluster        string
	Suspended      bool
	CreatedAt      time.Time
	UpdatedAt      time.Time
	ExpiresAt      time.Time // zero for never
	DeletedAt      time.Time // zero when not deleted
	PurgeAt        time.Time // set with DeletedAt
	PurgeStartedAt time.Time // from when on there is no undeletion
	PurgedAt       time.Time // with it, all that is left is the id and these dates
	// PurgeRefusal is why it could not be purged when its purge time came, and
	// PurgeRetryAt when that is tried again; zero values when it was not tried.
	PurgeRefusal string
	PurgeRetryAt time.Time
	Revision     int64 // grows with every change
}

// Etag identifies the stored version of the tenant (AIP-154).
func (t *Tenant) Etag() string { return strconv.FormatInt(t.Revision, 36) }

// Clone returns a copy that shares nothing with t.
func (t *Tenant) Clone() *Tenant {
	c := *t
	c.Labels = maps.Clone(t.Labels)
	c.Attributes = bytes.Clone(t.Attributes)
	return &c
}

var (
	hostPattern    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	labelPattern   = regexp.MustCompile(`^[a-z0-9A-Z]([a-zA-Z0-9._/-]*[a-zA-Z0-9])?$`)
	adoptedPattern = regexp.MustCompile(`^[0-9a-z]{1,16}\.[a-z0-9][a-z0-9_-]{0,62}$`)
	namePattern    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
)

// Characters of ids. Ids are looked at in every check, and regular expressions
// cost more than the rest of it.
const (
	digits       = "0123456789"
	idCharacters = "abcdefghijklmnopqrstuvwxyz" + digits
)

func isNumber(s string) bool { return s != "" && strings.Trim(s, digits) == "" }

// ValidateID says whether id can name a tenant. The id becomes part of index
// names and of host names, and Tracardi takes a number for no tenant.
func ValidateID(id string) error {
	switch {
	case len(id) < MinIDLength || len(id) > MaxIDLength:
		return invalid("id", fmt.Sprintf("%q has %d characters", short(id), len(id)), fmt.Sprintf("use %d to %d of a-z and 0-9", MinIDLength, MaxIDLength))
	case strings.Trim(id, idCharacters) != "":
		return invalid("id", fmt.Sprintf("%q has other characters than a-z and 0-9", id), "Tracardi drops all others from a host name, so the tenant would never be found")
	case isNumber(id):
		return invalid("id", fmt.Sprintf("%q is a number", id), "use at least one letter: Tracardi takes a number for no tenant")
	}
	return nil
}

func short(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// Validate checks every field by itself and reports all that are wrong.
func (t *Tenant) Validate() error {
	var v violations
	if err := ValidateID(t.ID); err != nil {
		v.add("id", strings.TrimPrefix(err.Error(), "id: "))
	}
	tooLong := func(field, value string, limit int) {
		if len(value) > limit {
			v.add(field, fmt.Sprintf("has %d bytes, at most %d are allowed", len(value), limit))
		}
	}
	tooLong("display_name", t.DisplayName, MaxNameLength)
	tooLong("install_token", t.InstallToken, MaxTokenLength)
	tooLong("email", t.Email, MaxEmailLength)
	tooLong("domain", t.Domain, MaxDomainLength)
	tooLong("gui_url", t.GUIURL, MaxURLLength)
	if t.Email != "" {
		if a, err := mail.ParseAddress(t.Email); err != nil || a.Address != t.Email {
			v.add("email", fmt.Sprintf("%q is not an address like name@example.com", short(t.Email)))
		}
	}
	if t.Domain != "" && !hostPattern.MatchString(t.Domain) {
		v.add("domain", fmt.Sprintf("%q is not a host name in lower case", short(t.Domain)))
	}
	if t.GUIURL != "" {
		if u, err := url.Parse(t.GUIURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
			v.add("gui_url", "is not a http or https address without credentials")
		}
	}
	if t.Release == "" {
		v.add("release", "is empty; name the Tracardi release of the tenant's indices, such as 0.8.1")
	}
	if t.AdoptedFrom != "" && !adoptedPattern.MatchString(t.AdoptedFrom) {
		v.add("adopted_from", fmt.Sprintf("%q is not a prefix and a code name with a dot between", short(t.AdoptedFrom)))
	}
	if len(t.Cluster) > MaxLabelLength || !namePattern.MatchString(t.Cluster) {
		v.add("cluster", fmt.Sprintf("%q is not a name of a-z, 0-9 and -", short(t.Cluster)))
	}
	t.validateText(&v)
	validateLabels(t.Labels, &v)
	validateAttributes(t.Attributes, &v)
	return v.err()
}

func validateLabels(labels map[string]string, v *violations) {
	if len(labels) > MaxLabels {
		v.add("labels", fmt.Sprintf("%d labels, at most %d are allowed", len(labels), MaxLabels))
		return
	}
	for k, val := range labels {
		if len(k) > MaxLabelLength || !labelPattern.MatchString(k) {
			v.add("labels", fmt.Sprintf("name %q is not 1 to %d of letters, digits, '.', '_', '/' and '-'", short(k), MaxLabelLength))
		}
		if len(val) > MaxLabelLength {
			v.add("labels", fmt.Sprintf("value of %q has %d bytes, at most %d are allowed", short(k), len(val), MaxLabelLength))
		}
	}
}

func validateAttributes(a json.RawMessage, v *violations) {
	if len(a) == 0 {
		return
	}
	if len(a) > MaxAttributesSize {
		v.add("attributes", fmt.Sprintf("%d bytes of JSON, at most %d are allowed", len(a), MaxAttributesSize))
		return
	}
	var obj map[string]json.RawMessage
	if err := json.Unmarshal(a, &obj); err != nil {
		v.add("attributes", "is not a JSON object")
	}
}
