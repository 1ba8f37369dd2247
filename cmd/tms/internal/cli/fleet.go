package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) fleetCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "fleet", Short: "Compare the registry with what the cluster really holds"}
	clientFlags(cmd)
	cmd.AddCommand(a.fleetDriftCommand())
	return cmd
}

func (a *app) fleetDriftCommand() *cobra.Command {
	return &cobra.Command{
		Use: "drift", Short: "List every disagreement between the registry and the cluster",
		Long: `List every disagreement between the registry and the cluster, with what to do
about it. Tenants that a rollout works on are named, but not judged.

Exit codes: 0 no drift, 1 drift found.`,
		RunE: a.remote(a.fleetDrift),
	}
}

func (a *app) fleetDrift(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
	d, err := call(ctx, s, s.fleet.Drift, &tmsv1.FleetDriftRequest{})
	if err != nil {
		return err
	}
	if s.json {
		err = writeMessage(a.out, d)
	} else {
		err = a.printDrift(d)
	}
	if err == nil && len(d.GetFindings()) > 0 {
		err = &outcomeError{fmt.Sprintf("drift found, findings: %d", len(d.GetFindings()))}
	}
	return err
}

func (a *app) printDrift(d *tmsv1.FleetDrift) error {
	if len(d.GetFindings()) > 0 {
		if err := a.printFindings(d.GetFindings()); err != nil {
			return err
		}
	}
	for _, m := range d.GetMoving() {
		if _, err := fmt.Fprintf(a.out, "tenant %s is not judged: rollout %s works on it\n", m.GetTenantId(), m.GetRolloutId()); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(a.out, "compared %d tenants, findings: %d\n", d.GetCompared(), len(d.GetFindings()))
	return err
}

func (a *app) printFindings(all []*tmsv1.FleetFinding) error {
	rows := make([][]string, len(all))
	for i, f := range all {
		rows[i] = []string{f.GetTenantId(), f.GetCode(), f.GetRegistry(), f.GetCluster(), f.GetRemedy()}
	}
	return writeTable(a.out, []string{"tenant", "code", "registry says", "cluster holds", "remedy"}, rows)
}

func (a *app) tenantDiscoverCommand() *cobra.Command {
	var register, dry bool
	cmd := &cobra.Command{
		Use: "discover [ID…]", Short: "Find the tenants that live in the cluster, and register them",
		Long: `Find the tenants that live in the cluster, by the names of their indices.

With --import those that are not registered are registered, each with the
release that its aliases lead to. Exit code 3 when one is refused.`,
		Example: "  tms tenant discover\n  tms tenant discover acme --import",
		Args:    cobra.ArbitraryArgs,
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		if dry && !register {
			return usage(cmd, fmt.Errorf("--dry-run: goes with --import"))
		}
		if register {
			return a.tenantImport(ctx, s, args, dry)
		}
		return a.tenantDiscover(ctx, s, args)
	})
	cmd.Flags().BoolVar(&register, "import", false, "register those that are not registered")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "with --import: check everything, change nothing")
	return cmd
}

func (a *app) tenantDiscover(ctx context.Context, s *session, only []string) error {
	d, err := call(ctx, s, s.fleet.Discover, &tmsv1.DiscoverFleetRequest{})
	if err != nil {
		return err
	}
	keep(d, only)
	if s.json {
		return writeMessage(a.out, d)
	}
	var rows [][]string
	for _, t := range d.GetTenants() {
		f := t.GetTotal()
		rows = append(rows, []string{
			t.GetId(), t.GetCluster(), orDash(t.GetRelease()), registeredText(t), versionsText(t), strings.Join(t.GetModes(), ", "),
			fmt.Sprint(f.GetIndices()), fmt.Sprint(f.GetDocuments()), fmt.Sprint(f.GetBytes()), fmt.Sprint(f.GetShards()), fmt.Sprint(len(t.GetWrecks())),
		})
	}
	if err := writeTable(a.out, []string{"tenant", "cluster", "release", "registered", "versions", "in", "indices", "documents", "bytes", "shards", "wrecks"}, rows); err != nil {
		return err
	}
	return a.printOddities(d)
}

// keep drops the tenants that were not asked for; none means all.
func keep(d *tmsv1.DiscoverFleetResponse, only []string) {
	if len(only) == 0 {
		return
	}
	wanted := map[string]bool{}
	for _, id := range only {
		wanted[id] = true
	}
	kept := d.Tenants[:0]
	for _, t := range d.Tenants {
		if wanted[t.GetId()] {
			kept = append(kept, t)
		}
	}
	d.Tenants, d.Strangers = kept, nil
}

// printOddities lists what the table has no room for.
func (a *app) printOddities(d *tmsv1.DiscoverFleetResponse) error {
	var lines []string
	for _, unseen := range d.GetUnseen() {
		lines = append(lines, "not seen: "+unseen)
	}
	for _, t := range d.GetTenants() {
		if t.GetReleaseProblem() != "" {
			lines = append(lines, fmt.Sprintf("tenant %s: %s", t.GetId(), t.GetReleaseProblem()))
		}
		for _, w := range t.GetWrecks() {
			lines = append(lines, fmt.Sprintf("tenant %s: wreck %s, %d documents: %s", t.GetId(), w.GetIndex(), w.GetDocuments(), w.GetReason()))
		}
	}
	for _, x := range d.GetStrangers() {
		lines = append(lines, fmt.Sprintf("no tenant: %q, %d indices such as %s: %s", x.GetName(), x.GetFigures().GetIndices(), x.GetExample(), x.GetReason()))
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(a.out, l); err != nil {
			return err
		}
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func registeredText(t *tmsv1.FoundTenant) string {
	if t.GetEntry() == nil {
		return "no"
	}
	return t.GetEntry().GetState() + " " + t.GetEntry().GetRelease()
}

func versionsText(t *tmsv1.FoundTenant) string {
	var out []string
	for _, v := range t.GetVersions() {
		out = append(out, v.GetRelease())
	}
	return strings.Join(out, ", ")
}

func (a *app) tenantImport(ctx context.Context, s *session, only []string, dry bool) error {
	done, err := call(ctx, s, s.fleet.Import, &tmsv1.ImportFleetRequest{Tenants: only, ValidateOnly: dry})
	if err != nil {
		return err
	}
	return a.printImported(s, done, dry)
}

// printImported tells what became of each; what was refused is the error.
func (a *app) printImported(s *session, done *tmsv1.ImportFleetResponse, dry bool) (err error) {
	refused := &refusedError{}
	var rows [][]string
	for _, t := range done.GetTenants() {
		outcome := t.GetOutcome()
		if dry && outcome == "imported" {
			outcome = "would be imported"
		}
		rows = append(rows, []string{t.GetId(), outcome, orDash(t.GetRelease()), t.GetReason()})
		if t.GetReason() != "" {
			refused.refusals = append(refused.refusals, &tmsv1.Refusal{TenantId: t.GetId(), Message: t.GetReason()})
		}
	}
	if s.json {
		err = writeMessage(a.out, done)
	} else {
		err = writeTable(a.out, []string{"tenant", "outcome", "release", "reason"}, rows)
	}
	if err == nil && len(refused.refusals) > 0 {
		return refused
	}
	return err
}

func (a *app) tenantShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show registry and cluster side by side", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			sheet, err := call(ctx, s, s.fleet.Show, &tmsv1.ShowFleetTenantRequest{Id: args[0]})
			if err != nil {
				return err
			}
			if s.json {
				return writeMessage(a.out, sheet)
			}
			return a.printSheet(sheet)
		}),
	}
}

func (a *app) printSheet(sheet *tmsv1.FleetTenantSheet) error {
	e, f := sheet.GetEntry(), sheet.GetFound()
	rows := [][]string{
		{"tenant", registeredID(sheet), orDash(f.GetId())},
		{"release", orDash(e.GetRelease()), orDash(f.GetRelease())},
		{"state", orDash(e.GetState()), "-"},
		{"cluster", orDash(e.GetCluster()), "-"},
		{"rollout at work", orDash(e.GetRolloutId()), "-"},
		{"indices", "-", fmt.Sprint(f.GetTotal().GetIndices())},
		{"documents", "-", fmt.Sprint(f.GetTotal().GetDocuments())},
		{"bytes", "-", fmt.Sprint(f.GetTotal().GetBytes())},
		{"shards", "-", fmt.Sprint(f.GetTotal().GetShards())},
	}
	if err := writeTable(a.out, []string{"", "registry", "cluster"}, rows); err != nil {
		return err
	}
	var versions, resources [][]string
	for _, v := range f.GetVersions() {
		role := ""
		if v.GetInForce() {
			role = "in force"
		}
		n := v.GetFigures()
		versions = append(versions, []string{v.GetRelease(), role, fmt.Sprint(n.GetIndices()), fmt.Sprint(v.GetAliased()), fmt.Sprint(v.GetWriteBlocked()), fmt.Sprint(v.GetClosed()), fmt.Sprint(n.GetDocuments()), fmt.Sprint(n.GetBytes()), fmt.Sprint(n.GetShards())})
	}
	for _, r := range sheet.GetResources() {
		resources = append(resources, []string{r.GetResource(), r.GetMode(), fmt.Sprint(len(r.GetIndices())), fmt.Sprint(len(r.GetLeadsTo())), fmt.Sprint(r.GetFigures().GetDocuments()), orDash(r.GetTemplate())})
	}
	if err := a.section(len(versions), func() error {
		return writeTable(a.out, []string{"version", "role", "indices", "under alias", "write blocked", "closed", "documents", "bytes", "shards"}, versions)
	}); err != nil {
		return err
	}
	if err := a.section(len(resources), func() error {
		return writeTable(a.out, []string{"resource", "in", "indices", "under alias", "documents", "template"}, resources)
	}); err != nil {
		return err
	}
	return a.section(len(sheet.GetFindings()), func() error { return a.printFindings(sheet.GetFindings()) })
}

// registeredID is the tenant's id as far as the registry knows it.
func registeredID(sheet *tmsv1.FleetTenantSheet) string {
	if sheet.GetEntry() == nil {
		return "-"
	}
	return sheet.GetId()
}

// section prints a part behind an empty line, unless it is empty.
func (a *app) section(rows int, print func() error) error {
	if rows == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(a.out); err != nil {
		return err
	}
	return print()
}
