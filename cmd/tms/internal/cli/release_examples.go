package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader"
)

// exampleWait bounds what an engine may take for all examples.
const exampleWait = 2 * time.Minute

func (a *app) releaseTestCommand() *cobra.Command {
	var engine []string
	cmd := &cobra.Command{
		Use: "test RELEASE", Short: "Perform the examples of a bundle",
		Long: `Perform the examples that stand beside the transforms of a bundle: here and,
with --engine, in a search engine as Painless, against the mapping of the new
release. The engine gets indices named tms-example-…, which are removed.

Exit code 3 when an example comes out otherwise than stated.

RELEASE is ` + referenceHelp + `.`,
		Example: "  tms release test bundles/0.8.3\n  tms release test bundles/0.8.3 --engine http://127.0.0.1:9200",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringSliceVar(&engine, "engine", nil, "address of a search engine")
	with := withFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asJSON, err := wantsJSON(cmd)
		if err != nil {
			return err
		}
		r, err := a.oneRelease(cmd, args[0], *with)
		if err != nil {
			return err
		}
		if r.Migration == nil {
			return usage(cmd, fmt.Errorf("release %s has no migration, so there is nothing to try", r.Version))
		}
		results := r.Migration.Try()
		if len(engine) > 0 {
			ctx, cancel := context.WithTimeout(cmd.Context(), exampleWait)
			defer cancel()
			if err := tryInEngine(ctx, engine, r, results); err != nil {
				return err
			}
		}
		if asJSON {
			err = writeJSON(a.out, results)
		} else {
			err = a.printExamples(results)
		}
		return errors.Join(err, faultsOf(r.Version, results))
	}
	return cmd
}

func (a *app) printExamples(results []releases.ExampleResult) error {
	var rows [][]string
	for _, r := range results {
		outcome := "as stated"
		switch {
		case r.Fault != "":
			outcome = "WRONG"
		case r.Skipped:
			outcome = "not tried: raw Painless needs --engine"
		}
		rows = append(rows, []string{r.Resource, r.Name, r.Mode, outcome})
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(a.out, "no examples")
		return err
	}
	return writeTable(a.out, []string{"resource", "example", "in", "outcome"}, rows)
}

// tryInEngine performs the examples a second time and notes what differs.
func tryInEngine(ctx context.Context, urls []string, r *releases.Release, results []releases.ExampleResult) (err error) {
	client, err := elastic.New(ctx, elastic.Config{URLs: urls})
	if err != nil {
		return fmt.Errorf("--engine: %w", err)
	}
	defer client.Close()
	at := 0
	for at < len(results) {
		end := at
		for end < len(results) && results[end].Resource == results[at].Resource {
			end++
		}
		if err := tryResource(ctx, client, r, results[at:end]); err != nil {
			return err
		}
		at = end
	}
	return nil
}

// tryResource tries the examples of one resource against its mapping.
func tryResource(ctx context.Context, client *elastic.Client, r *releases.Release, results []releases.ExampleResult) (err error) {
	key := results[0].Resource
	resource, _ := r.Resource(key)
	step := r.Migration.Steps[key]
	index := "tms-example-" + strings.ToLower(rand.Text()[:10])
	if err := client.CreateIndex(ctx, index, upgrader.IndexBody{Settings: map[string]any{"number_of_shards": 1, "number_of_replicas": 0}, Mappings: resource.Mapping}); err != nil {
		return fmt.Errorf("mapping of %s: %w", key, err)
	}
	defer func() { err = errors.Join(err, client.DeleteIndices(context.WithoutCancel(ctx), index)) }()
	n := 0
	for _, x := range step.Examples {
		for _, mode := range x.Modes() {
			got, fault, err := tryOne(ctx, client, index, fmt.Sprint(n), step.Transform.In(mode), x)
			if err != nil {
				return err
			}
			if fault == "" {
				fault = x.Fault(got)
			}
			results[n].Skipped = false
			if fault != "" && results[n].Fault == "" {
				results[n].Fault = "in the engine: " + fault
			}
			n++
		}
	}
	return nil
}

// tryOne stores one example through the script; a nil document was dropped.
func tryOne(ctx context.Context, client *elastic.Client, index, id string, t releases.Transform, x releases.Example) (doc map[string]any, fault string, err error) {
	raw, err := releases.EncodeDoc(x.In)
	if err != nil {
		return nil, "", err
	}
	script, params := t.Painless()
	answers, err := client.Bulk(ctx, []upgrader.BulkOp{{Index: index, ID: id, Source: json.RawMessage(raw), Script: script, Params: params}})
	if err != nil {
		return nil, "", err
	}
	if a := answers[0]; a.Dropped() {
		return nil, "", nil
	} else if !a.OK {
		return nil, a.Type + ": " + a.Reason, nil
	}
	found, err := client.Get(ctx, index, []string{id})
	if err != nil {
		return nil, "", err
	}
	doc, err = releases.DecodeDoc(found[id].Source)
	return doc, "", err
}
