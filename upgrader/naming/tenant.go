package naming

import (
	"strings"
)

// Tenant says under which names the indices of a tenant stand: under its id,
// except for those of the release in which it was adopted. A single-tenant
// installation has a code name there (INSTANCE_PREFIX, or five hex digits made
// of the version), and keeps it until its first upgrade.
type Tenant struct {
	ID string
	// AdoptedFrom is "{prefix}.{code name}", as the adopted installation's index
	// names begin ("074.4a7d1"); "" for a tenant that was none.
	AdoptedFrom string
}

// In is the tenant's name in index names of the release with the prefix.
func (n Tenant) In(prefix string) string {
	if from, code, ok := strings.Cut(n.AdoptedFrom, "."); ok && from == prefix {
		return code
	}
	return n.ID
}

// Owns says whether an index name, or a template's, is the tenant's.
func (n Tenant) Owns(x IndexName) bool { return x.Tenant == n.In(x.Prefix) }

// Names lists the names, the id first.
func (n Tenant) Names() []string {
	if _, code, ok := strings.Cut(n.AdoptedFrom, "."); ok && code != n.ID {
		return []string{n.ID, code}
	}
	return []string{n.ID}
}

// Patterns match all indices of one version. Each ends in a dot after the
// name, so that "acme" never matches "acme2".
func (n Tenant) Patterns(prefix string, with ...Mode) []string {
	out := make([]string, len(with))
	for i, m := range with {
		out[i] = string(m) + prefix + "." + n.In(prefix) + ".*"
	}
	return out
}

// AliasPatterns match all aliases.
func (n Tenant) AliasPatterns() []string {
	var out []string
	for _, name := range n.Names() {
		out = append(out, string(Staging)+name+".*", string(Production)+name+".*", string(Static)+name+".*")
	}
	return out
}
