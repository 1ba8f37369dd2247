package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/internal/demo"
)

// demoCommands is the place of `tms demo`.
func (a *app) demoCommands() []*cobra.Command {
	o := demo.Default()
	cmd := &cobra.Command{
		Use: "demo", Short: "Upgrade a fleet of real tenants while it is written to, and check every document",
		Long: `Upgrade a fleet of real tenants while it is written to, and check every document.

Starts PostgreSQL, a search engine and TMS of its own, installs complete
tenants, fills them, keeps writing to them during the upgrade, and compares
afterwards every acknowledged write with what the new version holds. Exit code
0 only if nothing is missing, doubled, stale or back from the dead.
Needs PostgreSQL's programs, a JDK and, the first time, Maven.`,
		Example: "  tms demo\n  tms demo --tenants 20 --docs 20000 --keep",
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Tenants, "tenants", o.Tenants, "size of the fleet")
	flags.IntVar(&o.Docs, "docs", o.Docs, "documents per tenant before the upgrade")
	flags.StringVar(&o.From, "from", o.From, "release that the fleet starts with")
	flags.StringVar(&o.To, "to", o.To, "release to reach")
	flags.IntVar(&o.Months, "months", o.Months, "monthly partitions, the current one included")
	flags.Float64Var(&o.Rate, "rate", o.Rate, "writes per second and tenant during the upgrade; 0 for none")
	flags.Uint64Var(&o.Seed, "seed", o.Seed, "makes documents and writes repeatable")
	flags.BoolVar(&o.Awkward, "awkward", false, "also documents that upgrade scripts stumble over; what cannot be migrated ends in quarantine")
	flags.BoolVar(&o.Keep, "keep", false, "leave everything running until Ctrl-C and tell how to look around")
	flags.StringVar(&o.Dir, "dir", "", "new directory for the servers' data, kept; default is a temporary one")
	flags.StringVar(&o.Engine, "engine", "", "elasticsearch-7.17, elasticsearch-7.10 or opensearch-2.19 (TMS_DEV_ENGINE)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.Out, o.Err = a.out, a.err
		if err := o.Check(); err != nil {
			return usage(cmd, err)
		}
		err := demo.Run(cmd.Context(), o)
		if cause := cmd.Context().Err(); cause != nil && errors.Is(err, cause) {
			return errors.New("interrupted; everything that was started has been stopped")
		}
		return err
	}
	return []*cobra.Command{cmd}
}
