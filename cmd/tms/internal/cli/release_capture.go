package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/adoption"
	"github.com/tracardi/tms/elastic"
)

func (a *app) releaseCaptureCommand() *cobra.Command {
	var keep keepOptions
	var engine []string
	var cluster, tenant, prefix string
	cmd := &cobra.Command{
		Use: "capture VERSION", Short: "Make a release of what its own installer has made for a tenant",
		Long: `Make a release of what its own installer has made for a tenant: resources,
mappings, settings and partitioning as the engine shows them, compared with the
built-in release of that version. Use a fresh tenant: what documents have taught
dynamic objects would become part of the release. The engine is only read.`,
		Example: "  tms release capture 0.8.3 --tenant probe --prefix 083 --engine http://127.0.0.1:9200 --dir bundles",
		Args:    cobra.ExactArgs(1),
	}
	keepFlags(cmd, &keep)
	cmd.Flags().StringVar(&cluster, "cluster", "default", "cluster of the tenant; only the default one is known for now")
	cmd.Flags().StringVar(&tenant, "tenant", "", "the tenant (required)")
	cmd.Flags().StringVar(&prefix, "prefix", "", "what index names of the release begin with (required)")
	cmd.Flags().StringSliceVar(&engine, "engine", nil, "address of the cluster's search engine (required)")
	with := withFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case cluster != "default":
			return usage(cmd, fmt.Errorf("--cluster %s: only the default cluster is known", cluster))
		case tenant == "" || prefix == "" || len(engine) == 0:
			return usage(cmd, errors.New("--tenant, --prefix and --engine are needed"))
		}
		shelf, err := openShelf(*with)
		if err != nil {
			return usage(cmd, err)
		}
		known, err := shelf.catalogue()
		if err != nil {
			return bundleRefused(err)
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), exampleWait)
		defer cancel()
		client, err := elastic.New(ctx, elastic.Config{URLs: engine})
		if err != nil {
			return fmt.Errorf("--engine: %w", err)
		}
		defer client.Close()
		found, err := adoption.CaptureRelease(ctx, client, known.List(), tenant, args[0], prefix)
		if err != nil {
			return err
		}
		files, err := found.Draft.Files()
		if err != nil {
			return err
		}
		m := &made{Version: args[0], Notes: found.Notes}
		if found.Draft.Previous != nil {
			m.Previous = found.Draft.Previous.Version
		}
		return a.keep(cmd, m, files, keep, shelf, "captured from tenant "+tenant)
	}
	return cmd
}
