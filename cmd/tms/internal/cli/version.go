package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/db"
)

// version is set by the linker for releases.
var version = "dev"

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show version, commit and schema version of this binary",
		RunE: func(cmd *cobra.Command, _ []string) error {
			asJSON, err := wantsJSON(cmd)
			if err != nil {
				return err
			}
			commit := commitOf()
			if asJSON {
				return writeJSON(a.out, map[string]any{"version": version, "commit": commit, "go": runtime.Version(), "schema": db.NeededVersion()})
			}
			return writeFields(a.out, "version", version, "commit", commit, "go", runtime.Version(), "schema", fmt.Sprint(db.NeededVersion()))
		},
	}
	outputFlag(cmd)
	return cmd
}

func commitOf() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	commit, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+changes"
		}
	}
	return commit + dirty
}
