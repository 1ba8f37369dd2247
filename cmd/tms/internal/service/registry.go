package service

import (
	"context"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// engine is what the registry's cluster is made of, *elastic.Client.
type engine interface {
	Indices(ctx context.Context, patterns ...string) ([]upgrader.Index, error)
	Aliases(ctx context.Context, patterns ...string) (map[string][]string, error)
	Templates(ctx context.Context, pattern string) ([]upgrader.Template, error)
	DeleteIndices(ctx context.Context, names ...string) error
	DeleteTemplate(ctx context.Context, name string) error
	UpdateAliases(ctx context.Context, actions []upgrader.AliasAction) error
}

// cluster is a search cluster as the registry sees it: names only.
type cluster struct{ engine }

var _ tenants.Cluster = cluster{}

// Indices implements tenants.Cluster.
func (c cluster) Indices(ctx context.Context, patterns ...string) ([]string, error) {
	found, err := c.engine.Indices(ctx, patterns...)
	names := make([]string, len(found))
	for i := range found {
		names[i] = found[i].Name
	}
	return names, err
}

// Templates implements tenants.Cluster.
func (c cluster) Templates(ctx context.Context, pattern string) ([]string, error) {
	found, err := c.engine.Templates(ctx, pattern)
	names := make([]string, len(found))
	for i := range found {
		names[i] = found[i].Name
	}
	return names, err
}

// RemoveAliases implements tenants.Cluster.
func (c cluster) RemoveAliases(ctx context.Context, aliases map[string][]string) error {
	var actions []upgrader.AliasAction
	for alias, indices := range aliases {
		for _, index := range indices {
			actions = append(actions, upgrader.AliasAction{Remove: true, Index: index, Alias: alias})
		}
	}
	return c.UpdateAliases(ctx, actions)
}

// known lets the registry ask the catalogue.
type known struct{ catalogue *releases.Catalogue }

// KnownRelease implements tenants.Releases.
func (k known) KnownRelease(version string) error {
	_, err := k.catalogue.Get(version)
	return err
}

// prefixes lists what the index names of all releases carry.
func (k known) prefixes() []string {
	var out []string
	for _, r := range k.catalogue.List() {
		out = append(out, r.Prefix)
	}
	return out
}
