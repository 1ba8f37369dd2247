package service

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"

	"github.com/tracardi/tms/clusters"
	"github.com/tracardi/tms/cmd/tms/internal/config"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/tenants"
)

// engines are the clients of all clusters.
type engines struct {
	*elastic.Pool
	log *slog.Logger
}

var _ clusters.Engines = engines{}

func openEngines(home *elastic.Client, store *db.Clusters, log *slog.Logger) engines {
	e := engines{log: log}
	e.Pool = elastic.NewPool(home, func(ctx context.Context, name string) (elastic.Config, int64, error) {
		c, err := store.Cluster(ctx, name)
		if tenants.HasReason(err, tenants.ReasonClusterNotFound) {
			return elastic.Config{}, 0, unknownCluster{err}
		}
		if err != nil {
			return elastic.Config{}, 0, err
		}
		cfg, err := e.access(c)
		return cfg, c.Revision, err
	})
	return e
}

// unknownCluster is the registry's refusal of a name, as elastic knows it.
type unknownCluster struct{ error }

func (unknownCluster) Is(target error) bool { return target == elastic.ErrUnknownCluster }

func (e unknownCluster) Unwrap() error { return e.error }

// access is how a cluster is reached.
func (e engines) access(c *clusters.Cluster) (elastic.Config, error) {
	if c.SecretUnreadable && c.Auth() != "none" {
		return elastic.Config{}, fmt.Errorf("the credentials of cluster %s were sealed with another SECRET: set TMS_SECRET_OLD to the former one, or give them again with `tms cluster update`", c.Name)
	}
	cfg := elastic.Config{URLs: c.URLs, Username: c.Username, CAPEM: c.CACert, Fingerprint: c.Fingerprint, OpaqueID: opaqueID, Logger: e.log}
	if c.APIKey {
		cfg.APIKey = c.Secret
	} else {
		cfg.Password = c.Secret
	}
	return cfg, nil
}

// Reach implements clusters.Engines.
func (e engines) Reach(ctx context.Context, name string) (clusters.Engine, error) {
	c, err := e.Client(ctx, name)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Try implements clusters.Engines.
func (e engines) Try(ctx context.Context, c *clusters.Cluster) (clusters.Engine, func(), error) {
	cfg, err := e.access(c)
	if err != nil {
		return nil, nil, err
	}
	client, err := elastic.New(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return client, client.Close, nil
}

// homeOf is the default cluster as the settings say it, without secrets.
func homeOf(s config.Serve) clusters.Cluster {
	home := clusters.Cluster{APIKey: s.ElasticAPIKey != ""}
	for _, raw := range s.ElasticURLs {
		u, err := url.Parse(raw)
		if err != nil {
			continue // the client has refused it by now
		}
		if u.User != nil && !home.APIKey {
			home.Username = u.User.Username()
		}
		u.User = nil
		home.URLs = append(home.URLs, u.String())
	}
	return home
}

// Cluster implements tenants.Clusters.
func (e engines) Cluster(ctx context.Context, name string) (tenants.Cluster, error) {
	c, err := e.Client(ctx, name)
	if err != nil {
		return nil, err
	}
	return cluster{c}, nil
}

// places say where tenants may live, and where new ones go.
type places struct {
	engines
	clusters *clusters.Service
	choice   config.Placement
}

// Place implements tenants.Places.
func (p places) Place(ctx context.Context) (string, error) {
	if p.choice == config.PlaceInDefault {
		return tenants.DefaultCluster, nil
	}
	return p.clusters.Place(ctx)
}
