package tenants

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Cluster is what a purge needs from a search cluster. Patterns and names are
// given and returned as the cluster knows them; what is missing counts as
// deleted.
type Cluster interface {
	Indices(ctx context.Context, patterns ...string) ([]string, error)
	// Aliases returns alias -> indices.
	Aliases(ctx context.Context, patterns ...string) (map[string][]string, error)
	Templates(ctx context.Context, pattern string) ([]string, error)
	// DeleteIndices deletes exactly these indices, never a pattern.
	DeleteIndices(ctx context.Context, names ...string) error
	// RemoveAliases takes these aliases off these indices.
	RemoveAliases(ctx context.Context, aliases map[string][]string) error
	DeleteTemplate(ctx context.Context, name string) error
}

// modePrefixes stand in front of the names of an environment: staging,
// production, and what serves both.
var modePrefixes = []string{"", "prod-", "static-"}

// territory is everything in a cluster that belongs to one tenant.
type territory struct {
	id       string
	adopted  string   // Tenant.AdoptedFrom
	prefixes []string // of all known releases
}

// belongings are exact names.
type belongings struct {
	indices   []string
	templates []string
	aliases   map[string][]string
}

// String lists what there is, "" for nothing.
func (b belongings) String() string {
	var parts []string
	for _, p := range []struct {
		what  string
		names []string
	}{{"index", b.indices}, {"template", b.templates}, {"alias", sortedKeys(b.aliases)}} {
		if len(p.names) > 0 {
			parts = append(parts, fmt.Sprintf("%d of kind %s, such as %s", len(p.names), p.what, p.names[0]))
		}
	}
	return strings.Join(parts, "; ")
}

func sortedKeys(m map[string][]string) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// survey finds all that belongs to the tenant. Patterns end in a dot after
// the tenant, so that "acme" never matches "acme2"; every name found is then
// read again by owns, because a tenant's id may be a release's prefix.
func (t territory) survey(ctx context.Context, c Cluster) (belongings, error) {
	var found belongings
	var versioned, bare []string
	code := t.codeName()
	for _, mode := range modePrefixes {
		bare = append(bare, mode+t.id+".*")
		templates := []string{}
		for _, p := range t.prefixes {
			versioned = append(versioned, mode+p+"."+t.id+".*")
			templates = append(templates, mode+"template."+p+"."+t.id+".*")
		}
		if code != "" {
			bare = append(bare, mode+code+".*")
			versioned = append(versioned, mode+t.adopted+".*")
			// Older releases name templates without their version.
			templates = append(templates, mode+"template."+t.adopted+".*", mode+"template."+code+".*")
		}
		for _, p := range templates {
			names, err := c.Templates(ctx, p)
			if err != nil {
				return found, err
			}
			for _, n := range names {
				if rest, ok := strings.CutPrefix(n, mode+"template."); ok && t.owns(rest) {
					found.templates = append(found.templates, n)
				}
			}
		}
	}
	// Bare patterns find wrecks: indices that a write to a missing alias made.
	indices, err := c.Indices(ctx, append(versioned, bare...)...)
	if err != nil {
		return found, err
	}
	for _, n := range indices {
		if t.owns(withoutMode(n)) {
			found.indices = append(found.indices, n)
		}
	}
	aliases, err := c.Aliases(ctx, bare...)
	if err != nil {
		return found, err
	}
	found.aliases = map[string][]string{}
	for alias, on := range aliases {
		if name := withoutMode(alias); strings.HasPrefix(name, t.id+".") || code != "" && strings.HasPrefix(name, code+".") {
			found.aliases[alias] = on
		}
	}
	return found, nil
}

// owns says whether a name without its mode is the tenant's: either
// PREFIX.TENANT.… or TENANT.…, where the second is not read into names that
// begin with a release's prefix.
func (t territory) owns(name string) bool {
	first, rest, _ := strings.Cut(name, ".")
	second, base, _ := strings.Cut(rest, ".")
	code := t.codeName()
	if slices.Contains(t.prefixes, first) {
		return base != "" && (second == t.id || code != "" && first+"."+second == t.adopted)
	}
	return rest != "" && (first == t.id || code != "" && first == code)
}

// codeName is the name of the installation that the tenant was, "" for none.
func (t territory) codeName() string {
	_, code, _ := strings.Cut(t.adopted, ".")
	return code
}

func withoutMode(name string) string {
	for _, mode := range modePrefixes[1:] {
		if rest, ok := strings.CutPrefix(name, mode); ok {
			return rest
		}
	}
	return name
}

// clear deletes by exact names: templates first, or a write that arrives late
// would make a new index from one.
func (t territory) clear(ctx context.Context, c Cluster, found belongings, done *PurgeResult) error {
	for _, name := range found.templates {
		if err := c.DeleteTemplate(ctx, name); err != nil {
			return err
		}
		done.Templates++
	}
	if len(found.indices) > 0 {
		if err := c.DeleteIndices(ctx, found.indices...); err != nil {
			return err
		}
		done.Indices += len(found.indices)
	}
	done.Aliases += len(found.aliases)
	// Aliases go with their indices; what is left points at others' ones.
	left := map[string][]string{}
	for alias, on := range found.aliases {
		for _, index := range on {
			if !slices.Contains(found.indices, index) {
				left[alias] = append(left[alias], index)
			}
		}
	}
	if len(left) == 0 {
		return nil
	}
	return c.RemoveAliases(ctx, left)
}
