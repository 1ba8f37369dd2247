package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/tracardi/tms/upgrader"
)

//go:embed report.md.tmpl
var text string

// asMarkdown renders a Report as Markdown (GitHub's tables).
var asMarkdown = template.Must(template.New("report").Funcs(template.FuncMap{
	"stamp": stamp, "took": took, "cell": cell, "line": line, "json": particulars,
	"states": states, "documents": documents, "longestFence": longestFence, "refused": refused, "refusedOf": about,
	"quarantined": quarantined, "options": optionsOf, "methods": methods, "fence": fence,
	"proven": func(r *upgrader.Rollout) bool {
		return slices.ContainsFunc(r.Tenants, func(t upgrader.RolloutTenant) bool { return t.Proof != nil })
	},
	"digests": digests, "remarks": remarks,
}).Parse(text))

// Markdown writes the report for people.
func (r *Report) Markdown(w io.Writer) error { return asMarkdown.Execute(w, r) }

const nothing = "–"

func stamp(t time.Time) string {
	if t.IsZero() {
		return nothing
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return nothing
	}
	return to.Sub(from).Round(100 * time.Millisecond).String()
}

// line makes text that stays on its line and is no markup.
func line(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	return strings.NewReplacer("\\", "\\\\", "<", "&lt;", "[", "\\[", "*", "\\*", "_", "\\_").Replace(text)
}

// cell makes text that stays in its cell.
func cell(text string) string {
	if text == "" {
		return nothing
	}
	return strings.ReplaceAll(line(text), "|", "\\|")
}

// particulars shows particulars as name=value, sorted.
func particulars(raw json.RawMessage) string {
	var facts map[string]any
	if len(raw) == 0 || json.Unmarshal(raw, &facts) != nil || len(facts) == 0 {
		return nothing
	}
	parts := make([]string, 0, len(facts))
	for _, k := range slices.Sorted(maps.Keys(facts)) {
		v, err := json.Marshal(facts[k])
		if err != nil {
			continue // it came out of JSON
		}
		parts = append(parts, k+"="+strings.Trim(string(v), `"`))
	}
	return cell(strings.Join(parts, " "))
}

func states(r *upgrader.Rollout) string {
	n := map[string]int{}
	for _, t := range r.Tenants {
		n[string(t.State)]++
	}
	parts := make([]string, 0, len(n))
	for _, s := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%d %s", n[s], s))
	}
	return strings.Join(parts, ", ")
}

func documents(r *upgrader.Rollout) string {
	var docs int64
	indices := 0
	for _, t := range r.Tenants {
		docs += t.Documents
		indices += t.Indices
	}
	return fmt.Sprintf("%d in %d indices", docs, indices)
}

func longestFence(r *upgrader.Rollout) string {
	var longest upgrader.RolloutTenant
	for _, t := range r.Tenants {
		if t.Fence > longest.Fence {
			longest = t
		}
	}
	if longest.Fence == 0 {
		return nothing
	}
	return fmt.Sprintf("%s, tenant %s", fence(longest), cell(longest.TenantID))
}

func fence(t upgrader.RolloutTenant) string {
	if t.Fence == 0 {
		return nothing
	}
	return fmt.Sprintf("%d ms", t.Fence.Milliseconds())
}

func refused(r *upgrader.Rollout) string {
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

func about(n *int64) string {
	if n == nil {
		return nothing
	}
	return fmt.Sprintf("about %d", *n)
}

func quarantined(sums []QuarantineSum) string {
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

func methods(by map[upgrader.Method]int) string {
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

// option is one line of the table of options.
type option struct{ Name, Value string }

// optionsOf lists the options by the names that they are stored under, so
// that none is forgotten when there is one more.
func optionsOf(o upgrader.Options) []option {
	raw, err := json.Marshal(o)
	if err != nil {
		return []option{{"unreadable", err.Error()}} // options are plain data
	}
	var all map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		return []option{{"unreadable", err.Error()}}
	}
	out := make([]option, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
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
		out = append(out, option{name, value})
	}
	return out
}

// remarks are the notes of all tenants; what is noted of all of them is
// said once.
func remarks(r *upgrader.Rollout) []string {
	said := map[string]int{}
	for _, t := range r.Tenants {
		for _, n := range t.Record.Notes {
			said[n]++
		}
	}
	var out []string
	for _, n := range slices.Sorted(maps.Keys(said)) {
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

// digests are those of all proofs, each once.
func digests(r *upgrader.Rollout) []string {
	var out []string
	for _, t := range r.Tenants {
		if t.Proof != nil {
			out = append(out, t.Proof.BundleDigests...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
