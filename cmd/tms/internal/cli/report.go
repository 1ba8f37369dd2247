package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) upgradeReportCommand() *cobra.Command {
	format, file := "", ""
	cmd := &cobra.Command{
		Use: "report ROLLOUT", Short: "Print the record of a rollout, to be filed with a change ticket",
		Long: `Print the record of a rollout: who started it, when and with which options; per
tenant times, documents, methods, fence, refused writes and proof; quarantine,
tenants that are not on the release, remarks, and every command that was given.
The report of a rollout that has not ended is a draft, and says so.`,
		Example: "  tms upgrade report ROLLOUT > change-4711.md\n  tms upgrade report ROLLOUT --format json -f change-4711.json",
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		switch {
		case format == "" && s.json:
			format = formatJSON
		case format == "":
			format = "markdown"
		case format != "markdown" && format != formatJSON:
			return usage(cmd, fmt.Errorf("--format: %q: write markdown or json", format))
		}
		r, err := call(ctx, s, s.progress.Report, &tmsv1.GetRolloutReportRequest{Id: args[0], Format: format})
		if err != nil {
			return err
		}
		return a.into(file, func(w io.Writer) error {
			if format == formatJSON {
				return writeMessage(w, r)
			}
			_, err := io.WriteString(w, r.GetMarkdown())
			return err
		})
	})
	cmd.Flags().StringVar(&format, "format", "", "markdown or json (default markdown, or json with -o json)")
	cmd.Flags().StringVarP(&file, "file", "f", "", "write to this file instead of standard output")
	return cmd
}

// into writes to a file, or to standard output when it has no name. A file is
// there whole or, when something fails, not at all.
func (a *app) into(file string, write func(io.Writer) error) error {
	if file == "" {
		return write(a.out)
	}
	part := file + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return &usageError{err: fmt.Errorf("--file: %w", err)}
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(part, file)
	}
	if err != nil {
		_ = os.Remove(part) // what failed is said already
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
