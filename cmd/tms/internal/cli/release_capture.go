package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/adoption"
	"github.com/tracardi/tms/elastic"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
)

// captureFlags say where the release is captured.
type captureFlags struct {
	cluster, tenant, prefix string
	engine                  []string
}

// captured is a release as the engine has it.
type captured struct {
	files    fs.FS
	previous string
	notes    []string
}

func (a *app) releaseCaptureCommand() *cobra.Command {
	var keep keepOptions
	var f captureFlags
	cmd := &cobra.Command{
		Use: "capture VERSION", Short: "Make a release of what its own installer has made for a tenant",
		Long: `Make a release of what its own installer has made for a tenant: resources,
mappings, settings and partitioning as the engine shows them, compared with the
built-in release of that version. Use a fresh tenant: what documents have taught
dynamic objects would become part of the release. The engine is only read.

TMS is asked, which knows its clusters and how to log in there. With --engine
the search engine at that address is read instead, without a TMS.`,
		Example: "  tms release capture 0.8.3 --tenant probe --prefix 083 --cluster eu --dir bundles\n  tms release capture 0.8.3 --tenant probe --prefix 083 --engine http://127.0.0.1:9200 --dir bundles",
		Args:    cobra.ExactArgs(1),
	}
	keepFlags(cmd, &keep)
	cmd.Flags().StringVar(&f.cluster, "cluster", "default", "cluster of the tenant, see tms cluster list")
	cmd.Flags().StringVar(&f.tenant, "tenant", "", "the tenant (required)")
	cmd.Flags().StringVar(&f.prefix, "prefix", "", "what index names of the release begin with (required)")
	cmd.Flags().StringSliceVar(&f.engine, "engine", nil, "address of a search engine, to be read without a TMS")
	with := withFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case f.tenant == "" || f.prefix == "":
			return usage(cmd, errors.New("--tenant and --prefix are needed"))
		case len(f.engine) > 0 && cmd.Flags().Changed("cluster"):
			return usage(cmd, errors.New("--engine reads a search engine without a TMS, which would know what --cluster means: leave one of them out"))
		}
		shelf, err := openShelf(*with)
		if err != nil {
			return usage(cmd, err)
		}
		var found *captured
		if len(f.engine) > 0 {
			found, err = f.fromEngine(cmd.Context(), args[0], shelf)
		} else {
			found, err = a.captureRemotely(cmd, args[0], f)
		}
		if err != nil {
			return err
		}
		m := &made{Version: args[0], Previous: found.previous, Notes: found.notes}
		return a.keep(cmd, m, found.files, keep, shelf, "captured from tenant "+f.tenant)
	}
	return cmd
}

// captureRemotely has TMS read one of its clusters.
func (a *app) captureRemotely(cmd *cobra.Command, version string, f captureFlags) (*captured, error) {
	var found *captured
	err := a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		got, err := call(ctx, s, s.releases.Capture, &tmsv1.CaptureReleaseRequest{Version: version, Prefix: f.prefix, Tenant: f.tenant, Cluster: f.cluster})
		if err != nil {
			return err
		}
		found = &captured{previous: got.GetPrevious(), notes: got.GetNotes()}
		found.files, err = releases.Unpack(got.GetBundle())
		return err
	})(cmd, nil)
	return found, err
}

// fromEngine reads a search engine directly.
func (f captureFlags) fromEngine(ctx context.Context, version string, shelf *shelf) (*captured, error) {
	known, err := shelf.catalogue()
	if err != nil {
		return nil, bundleRefused(err)
	}
	ctx, cancel := context.WithTimeout(ctx, exampleWait)
	defer cancel()
	client, err := elastic.New(ctx, elastic.Config{URLs: f.engine})
	if err != nil {
		return nil, fmt.Errorf("--engine: %w", err)
	}
	defer client.Close()
	found, err := adoption.CaptureRelease(ctx, client, known.List(), f.tenant, version, f.prefix)
	if err != nil {
		return nil, err
	}
	c := &captured{notes: found.Notes}
	if found.Draft.Previous != nil {
		c.previous = found.Draft.Previous.Version
	}
	c.files, err = found.Draft.Files()
	return c, err
}
