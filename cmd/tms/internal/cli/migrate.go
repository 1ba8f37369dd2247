package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/cmd/tms/internal/config"
	"github.com/tracardi/tms/db"
)

// migrateLimit bounds a migration, the wait for another process's included.
const migrateLimit = 10 * time.Minute

func (a *app) migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database schema to the version this binary needs",
		Long: `Bring the database schema to the version this binary needs.

Processes that migrate at the same time wait for each other; a schema that is
up to date is left alone.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var s config.Database
			if err := config.Load(&s, cmd.Flags(), a.env); err != nil {
				return usage(cmd, err)
			}
			if err := s.Check(); err != nil {
				return usage(cmd, err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), migrateLimit)
			defer cancel()
			if err := db.Migrate(ctx, s.DatabaseURL); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "database schema is at version %d\n", db.NeededVersion())
			return err
		},
	}
	config.Bind(cmd.Flags(), &config.Database{})
	return cmd
}
