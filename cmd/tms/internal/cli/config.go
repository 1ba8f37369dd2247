package cli

import (
	"github.com/spf13/cobra"

	"github.com/tracardi/tms/cmd/tms/internal/config"
)

// everything is all settings, to be shown.
type everything struct {
	config.Serve
	config.Client
}

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the settings in force and where each comes from, secrets masked",
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := wantsJSON(cmd)
			if err != nil {
				return err
			}
			var s everything
			if err := config.Load(&s, cmd.Flags(), a.env); err != nil {
				return usage(cmd, err)
			}
			shown := config.Show(&s, cmd.Flags(), a.env)
			if asJSON {
				return writeJSON(a.out, shown)
			}
			var rows [][]string
			for _, one := range shown {
				flag := one.Flag
				if flag != "" {
					flag = "--" + flag
				}
				rows = append(rows, []string{one.Env, flag, one.Value, string(one.Source), one.Help})
			}
			return writeTable(a.out, []string{"variable", "flag", "value", "source", "meaning"}, rows)
		},
	}
	config.Bind(cmd.Flags(), &everything{})
	outputFlag(cmd)
	return cmd
}
