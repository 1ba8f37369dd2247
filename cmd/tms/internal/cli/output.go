package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// Output formats.
const (
	formatTable = "table"
	formatJSON  = "json"
)

// outputFlag adds -o to a command and those below it.
func outputFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringP("output", "o", formatTable, "output format: table for people, json for programs")
}

func wantsJSON(cmd *cobra.Command) (bool, error) {
	switch format := cmd.Flag("output").Value.String(); format {
	case formatTable:
		return false, nil
	case formatJSON:
		return true, nil
	default:
		return false, usage(cmd, fmt.Errorf("--output: %q: write table or json", format))
	}
}

// writeJSON prints one document.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// writeMessage prints a message of the contract as one document.
func writeMessage(w io.Writer, m proto.Message) error {
	v, err := document(m)
	if err != nil {
		return err
	}
	return writeJSON(w, v)
}

// writeMessages prints a list as one array, empty ones too.
func writeMessages[M proto.Message](w io.Writer, list []M) error {
	all := make([]any, 0, len(list))
	for _, m := range list {
		v, err := document(m)
		if err != nil {
			return err
		}
		all = append(all, v)
	}
	return writeJSON(w, all)
}

// document is a message as generic JSON, in the contract's form.
func document(m proto.Message) (map[string]any, error) {
	raw, err := tmsv1.JSON(m)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("render %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return v, nil
}

// writeTable prints rows under a header, without lines: easy on the eye and
// on cut and awk.
func writeTable(w io.Writer, header []string, rows [][]string) error {
	table := tablewriter.NewTable(w,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Lines: tw.LinesNone, Separators: tw.SeparatorsNone},
		})),
		tablewriter.WithHeaderAlignment(tw.AlignLeft),
		tablewriter.WithRowAlignment(tw.AlignLeft),
		tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
		tablewriter.WithPadding(tw.Padding{Right: "  ", Overwrite: true}),
	)
	table.Header(header)
	if err := errors.Join(table.Bulk(rows), table.Render()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// writeFields prints names and values, one a line, and leaves out what is
// empty.
func writeFields(w io.Writer, pairs ...string) error {
	fields := slices.Collect(slices.Chunk(pairs, 2))
	width := 0
	for _, f := range fields {
		width = max(width, len(f[0]))
	}
	var b strings.Builder
	for _, f := range fields {
		if f[1] != "" {
			fmt.Fprintf(&b, "%-*s  %s\n", width, f[0], f[1])
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// stamp renders a time for people, empty when unset.
func stamp(t *timestamppb.Timestamp) string {
	if t == nil {
		return ""
	}
	return t.AsTime().UTC().Format(time.RFC3339)
}

// pairsText renders a map as "a=1, b=2".
func pairsText[V any](m map[string]V) string {
	parts := make([]string, 0, len(m))
	for k, v := range m {
		parts = append(parts, fmt.Sprintf("%s=%v", k, v))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// sortRows orders rows by their first cell.
func sortRows(rows [][]string) {
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
}
