package upgrader

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"
)

//go:embed report.md.tmpl
var reportText string

// reportTemplate renders a Report as Markdown (GitHub's tables).
var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"stamp": reportStamp, "took": reportTook, "cell": reportCell, "line": reportLine, "json": reportJSON,
	"states": reportStates, "documents": reportDocuments, "longestFence": reportLongestFence, "refused": reportRefused, "refusedOf": reportRefusedOf,
	"quarantined": reportQuarantined, "options": reportOptions, "methods": reportMethods, "fence": reportFence,
	"proven": func(r *Rollout) bool {
		return slices.ContainsFunc(r.Tenants, func(t RolloutTenant) bool { return t.Proof != nil })
	},
	"digests": reportDigests, "remarks": reportRemarks,
}).Parse(reportText))

// Markdown writes the report for people.
func (r *Report) Markdown(w io.Writer) error { return reportTemplate.Execute(w, r) }

const nothing = "–"

func reportStamp(t time.Time) string {
	if t.IsZero() {
		return nothing
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func reportTook(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return nothing
	}
	return to.Sub(from).Round(100 * time.Millisecond).String()
}

// reportLine makes text that stays on its line and is no markup.
func reportLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.NewReplacer("\\", "\\\\", "<", "&lt;", "[", "\\[", "*", "\\*", "_", "\\_").Replace(text)
}

// reportCell makes text that stays in its cell.
func reportCell(text string) string {
	if text == "" {
		return nothing
	}
	return strings.ReplaceAll(reportLine(text), "|", "\\|")
}

// reportJSON shows particulars as name=value, sorted.
func reportJSON(raw json.RawMessage) string {
	var facts map[string]any
	if len(raw) == 0 || json.Unmarshal(raw, &facts) != nil || len(facts) == 0 {
		return nothing
	}
	parts := make([]string, 0, len(facts))
	for _, k := range sortedKeys(facts) {
		v, err := json.Marshal(facts[k])
		if err != nil {
			continue // it came out of JSON
		}
		parts = append(parts, k+"="+strings.Trim(string(v), `"`))
	}
	return reportCell(strings.Join(parts, " "))
}

func reportStates(r *Rollout) string {
	n := map[string]int{}
	for _, t := range r.Tenants {
		n[string(t.State)]++
	}
	parts := make([]string, 0, len(n))
	for _, s := range sortedKeys(n) {
		parts = append(parts, fmt.Sprintf("%d %s", n[s], s))
	}
	return strings.Join(parts, ", ")
}

func reportDocuments(r *Rollout) string {
	var docs int64
	indices := 0
	for _, t := range r.Tenants {
		docs += t.Documents
		indices += t.Indices
	}
	return fmt.Sprintf("%d in %d indices", docs, indices)
}

func reportLongestFence(r *Rollout) string {
	var longest RolloutTenant
	for _, t := range r.Tenants {
		if t.Fence > longest.Fence {
			longest = t
		}
	}
	if longest.Fence == 0 {
		return nothing
	}
	return fmt.Sprintf("%s, tenant %s", reportFence(longest), reportCell(longest.TenantID))
}

func reportFence(t RolloutTenant) string {
	if t.Fence == 0 {
		return nothing
	}
	return fmt.Sprintf("%d ms", t.Fence.Milliseconds())
}

func reportRefused(r *Rollout) string {
	var sum int64
	known, unknown := 0, 0
	for _, t := range r.Tenants {
		switch {
		case t.Record.Refused != nil:
			sum += *t.Record.Refused
			known++
		case t.FenceTries > 0:
			unknown++
		}
	}
	switch {
	case known == 0:
		return nothing
	case unknown > 0:
		return fmt.Sprintf("about %d; of %d tenants it is not known", sum, unknown)
	}
	return fmt.Sprintf("about %d", sum)
}

func reportRefusedOf(n *int64) string {
	if n == nil {
		return nothing
	}
	return fmt.Sprintf("about %d", *n)
}

func reportQuarantined(sums []QuarantineSum) string {
	var docs, resolved int64
	for _, q := range sums {
		docs += q.Documents
		resolved += q.Resolved
	}
	if docs == 0 {
		return "none"
	}
	return fmt.Sprintf("%d documents, %d of them resolved since", docs, resolved)
}

func reportMethods(by map[Method]int) string {
	parts := make([]string, 0, len(by))
	for m, n := range by {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", m, n))
		}
	}
	if len(parts) == 0 {
		return nothing
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// reportOption is one line of the table of options.
type reportOption struct{ Name, Value string }

// reportOptions lists the options by the names that they are stored under, so
// that none is forgotten when there is one more.
func reportOptions(o Options) []reportOption {
	raw, err := json.Marshal(o)
	if err != nil {
		return []reportOption{{"unreadable", err.Error()}} // options are plain data
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return []reportOption{{"unreadable", err.Error()}}
	}
	out := make([]reportOption, 0, len(all))
	for _, name := range sortedKeys(all) {
		value := fmt.Sprint(all[name])
		switch v := all[name].(type) {
		case float64:
			value = fmt.Sprintf("%.10g", v)
		case map[string]any, []any:
			if b, err := json.Marshal(v); err == nil {
				value = string(b)
			}
		}
		if name == "fence_timeout" {
			value = o.FenceTimeout.String()
		}
		out = append(out, reportOption{name, value})
	}
	return out
}

// reportRemarks are the notes of all tenants; what is noted of all of them is
// said once.
func reportRemarks(r *Rollout) []string {
	said := map[string]int{}
	for _, t := range r.Tenants {
		for _, n := range t.Record.Notes {
			said[n]++
		}
	}
	var out []string
	for _, n := range sortedKeys(said) {
		if said[n] > 1 && said[n] == len(r.Tenants) {
			out = append(out, "all tenants: "+n)
		}
	}
	for _, t := range r.Tenants {
		for _, n := range t.Record.Notes {
			if said[n] == 1 || said[n] < len(r.Tenants) {
				out = append(out, t.TenantID+": "+n)
			}
		}
	}
	return out
}

// reportDigests are those of all proofs, each once.
func reportDigests(r *Rollout) []string {
	var out []string
	for _, t := range r.Tenants {
		if t.Proof != nil {
			out = append(out, t.Proof.BundleDigests...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
