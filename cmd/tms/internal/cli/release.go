package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) releaseCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "release", Short: "Tracardi releases: show those that TMS knows, bring others, write your own"}
	clientFlags(cmd)
	cmd.AddCommand(
		&cobra.Command{Use: "list", Short: "List releases, oldest first", RunE: a.remote(a.releaseList)},
		&cobra.Command{Use: "show VERSION", Short: "Show a release: its resources and the way from its predecessor", Args: cobra.ExactArgs(1), RunE: a.remote(a.releaseShow)},
		a.releaseImportCommand(), a.releaseCaptureCommand(), a.releaseNewCommand(), a.releaseDiffCommand(), a.releaseValidateCommand(), a.releaseTestCommand(), a.releaseSchemaCommand(), a.releaseSaveCommand(), a.releaseExportCommand(), a.releaseRemoveCommand(),
	)
	return cmd
}

func (a *app) releaseList(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
	found, err := call(ctx, s, s.releases.List, &tmsv1.ListReleasesRequest{})
	if err != nil {
		return err
	}
	if s.json {
		return writeMessages(a.out, found.GetReleases())
	}
	var rows [][]string
	for _, r := range found.GetReleases() {
		rows = append(rows, []string{r.GetVersion(), r.GetPrefix(), r.GetPrevious(), fmt.Sprint(r.GetResourceCount()), shortDigest(r.GetDigest())})
	}
	return writeTable(a.out, []string{"release", "prefix", "from", "resources", "digest"}, rows)
}

// shortDigest is enough of a digest for people to compare.
func shortDigest(digest string) string { return digest[:min(12, len(digest))] }

func (a *app) releaseShow(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
	r, err := call(ctx, s, s.releases.Get, &tmsv1.GetReleaseRequest{Version: args[0]})
	if err != nil {
		return err
	}
	if s.json {
		return writeMessage(a.out, r)
	}
	if err := writeFields(a.out, "release", r.GetVersion(), "prefix", r.GetPrefix(), "from", r.GetPrevious(), "digest", r.GetDigest()); err != nil {
		return err
	}
	steps := map[string][]*tmsv1.MigrationStep{}
	for _, step := range r.GetSteps() {
		steps[step.GetTo()] = append(steps[step.GetTo()], step)
	}
	var rows [][]string
	for _, resource := range r.GetResources() {
		scope := "staging, production"
		if resource.GetStatic() {
			scope = "static"
		}
		rows = append(rows, []string{resource.GetKey(), resource.GetBase(), scope, resource.GetPartitioning(), stepsText(steps[resource.GetKey()])})
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	if err := writeTable(a.out, []string{"resource", "base name", "in", "by", "documents come from"}, rows); err != nil {
		return err
	}
	return a.releaseLosses(r)
}

func stepsText(steps []*tmsv1.MigrationStep) string {
	text := ""
	for i, step := range steps {
		if i > 0 {
			text += ", "
		}
		text += step.GetFrom()
		if step.GetTransformed() {
			text += " (changed)"
		}
	}
	return text
}

// releaseLosses lists what does not survive the way to the release.
func (a *app) releaseLosses(r *tmsv1.Release) error {
	var rows [][]string
	for _, step := range r.GetSteps() {
		for _, drop := range step.GetDrops() {
			rows = append(rows, []string{step.GetFrom() + "." + drop.GetField(), drop.GetReason()})
		}
	}
	for resource, reason := range r.GetGone() {
		rows = append(rows, []string{resource, reason})
	}
	if len(rows) == 0 {
		return nil
	}
	sortRows(rows)
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return writeTable(a.out, []string{"not kept", "why"}, rows)
}
