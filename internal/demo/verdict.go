package demo

import (
	"fmt"
	"strings"
	"text/tabwriter"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// mostFaults is how many findings are printed per tenant.
const mostFaults = 10

// tell prints a line per tenant and the summary. The error says how many
// tenants are not as they should be.
func (d *demo) tell(out *outcome) error {
	d.title("Outcome")
	d.print("\n")
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "tenant\tindices\tdocuments\taside\tfence\tlongest gap\tverification\ttime\twrites\trefused\tjudge")
	wrong := 0
	var faults []string
	for _, h := range out.households {
		line, found := d.line(h, out)
		_, _ = fmt.Fprintln(w, line)
		if len(found) > 0 {
			wrong++
			faults = append(faults, found...)
		}
	}
	_ = w.Flush() // a strings.Builder does not fail
	d.print(table.String())
	d.print("(indices: created empty + reindexed + merged; aside: in quarantine; gap: between two acknowledged writes)\n")
	for _, f := range faults {
		d.print("  " + f + "\n")
	}
	d.print("\n" + d.summary(out) + "\n")
	if wrong > 0 || out.exit != 0 {
		return fmt.Errorf("demo: %d of %s not as they should be; tms upgrade start ended with exit code %d", wrong, plural(len(out.households), "tenant is", "tenants are"), out.exit)
	}
	return nil
}

// line is the outcome of one tenant, and what is wrong with it.
func (d *demo) line(h *household, out *outcome) (string, []string) {
	name := h.tenant.Name()
	t, report := out.tenants[name], out.reports[name]
	faults := d.faults(h, t, out)
	verdict := "ok"
	if len(faults) > 0 {
		verdict = "WRONG"
	}
	proof := t.GetState() + ", no proof"
	if v := t.GetVerification(); v != nil {
		proof = v.GetLevel() + ": " + v.GetVerdict()
	}
	by := t.GetIndicesByMethod()
	return fmt.Sprintf("%s\t%d+%d+%d\t%d\t%d\t%.0f ms\t%d ms\t%s\t%.1f s\t%d\t%d\t%s (%d compared)",
		name, by["create"], by["reindex"], by["merge"], t.GetDocuments(), t.GetQuarantined(), t.GetFenceMs(),
		h.wrote.LongestGap.Milliseconds(), proof, t.GetSeconds(), h.wrote.Acknowledged, h.wrote.Refused,
		verdict, report.Documents), faults
}

// faults lists all that does not hold for a tenant.
func (d *demo) faults(h *household, t *tmsv1.RolloutTenant, out *outcome) []string {
	name := h.tenant.Name()
	var found []string
	add := func(format string, args ...any) {
		found = append(found, name+": "+fmt.Sprintf(format, args...))
	}
	if t.GetState() != "switched" || t.GetRelease() != d.To {
		add("TMS says %s on %s: %s", t.GetState(), t.GetRelease(), t.GetReason())
	}
	if int(t.GetQuarantined()) != d.awkward {
		add("%d documents are in quarantine, expected %d", t.GetQuarantined(), d.awkward)
	}
	report := out.reports[name]
	for _, f := range report.Discrepancies[:min(len(report.Discrepancies), mostFaults)] {
		add("judge: %s", f)
	}
	if report.Found > mostFaults {
		add("judge: %d findings in all", report.Found)
	}
	for _, f := range h.watched.Discrepancies[:min(len(h.watched.Discrepancies), mostFaults)] {
		add("alias watcher: %s", f)
	}
	if h.wrote.Invalid > 0 {
		add("the engine refused %d of the writer's documents: %s", h.wrote.Invalid, h.wrote.LastInvalid)
	}
	return found
}

func (d *demo) summary(out *outcome) string {
	var documents, acknowledged int64
	var fence float64
	for _, h := range out.households {
		t := out.tenants[h.tenant.Name()]
		documents += t.GetDocuments()
		fence = max(fence, t.GetFenceMs())
		acknowledged += h.wrote.Acknowledged
	}
	return fmt.Sprintf("%s from %s to %s in %s: %d documents proven, longest write fence %.0f ms,\n%d writes acknowledged meanwhile.",
		plural(len(out.households), "tenant", "tenants"), d.From, d.To, took(out.took), documents, fence, acknowledged)
}
