package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// listPage is how many rows are asked for at a time; lists are complete.
const listPage = 500

func (a *app) tenantCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "tenant", Short: "Register, show and change tenants"}
	clientFlags(cmd)
	cmd.AddCommand(
		a.tenantCreateCommand(), a.tenantGetCommand(), a.tenantListCommand(),
		a.tenantUpdateCommand(), a.tenantDeleteCommand(), a.tenantUndeleteCommand(), a.tenantPurgeCommand(),
		a.tenantDiscoverCommand(), a.tenantAdoptCommand(), a.tenantShowCommand(), a.tenantWatchCommand(),
	)
	return cmd
}

// tenantFlags are the fields of a tenant that can be given. The install token
// is none of them, because flags show in the process list: the server makes
// one, and --new-install-token another.
type tenantFlags struct {
	release, name, email, domain, guiURL, cluster, attributes, expires, state string
	labels                                                                    []string
}

func (f *tenantFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.release, "release", "", "Tracardi release whose structure the tenant's indices have")
	flags.StringVar(&f.name, "name", "", "name for people")
	flags.StringVar(&f.email, "email", "", "contact address")
	flags.StringVar(&f.domain, "domain", "", "host name of the tenant's API")
	flags.StringVar(&f.guiURL, "gui-url", "", "address of the tenant's web interface")
	flags.StringVar(&f.cluster, "cluster", "", "search cluster that holds the tenant's indices")
	flags.StringArrayVar(&f.labels, "label", nil, "label, key=value; may be repeated")
	flags.StringVar(&f.attributes, "attributes", "", "free JSON object")
	flags.StringVar(&f.expires, "expires", "", "when the tenant expires: a time (2027-01-31T00:00:00Z) or a span from now (720h)")
	flags.StringVar(&f.state, "state", "", "active or suspended")
}

// flagFields is the field of the contract behind each flag.
var flagFields = map[string]string{
	"release": "release", "name": "display_name", "email": "email", "domain": "domain", "gui-url": "gui_url",
	"cluster": "cluster", "label": "labels", "attributes": "attributes", "expires": "expire_time", "state": "state",
}

func (f *tenantFlags) tenant(cmd *cobra.Command, id string) (*tmsv1.Tenant, error) {
	t := &tmsv1.Tenant{
		Id: id, Release: f.release, DisplayName: f.name, Email: f.email, Domain: f.domain,
		GuiUrl: f.guiURL, Cluster: f.cluster, State: f.state,
	}
	var err error
	if t.Labels, err = parseLabels(f.labels); err != nil {
		return nil, usage(cmd, err)
	}
	if f.attributes != "" {
		t.Attributes = &structpb.Struct{}
		if err := t.Attributes.UnmarshalJSON([]byte(f.attributes)); err != nil {
			return nil, usage(cmd, fmt.Errorf("--attributes: not a JSON object: write for instance '{\"plan\": \"gold\"}'"))
		}
	}
	if t.ExpireTime, err = parseExpiry(f.expires); err != nil {
		return nil, usage(cmd, err)
	}
	return t, nil
}

func parseLabels(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	labels := map[string]string{}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("--label: %q: write key=value", pair)
		}
		labels[key] = value
	}
	return labels, nil
}

// parseExpiry reads a time or a span from now; "never" and "" are unset.
func parseExpiry(text string) (*timestamppb.Timestamp, error) {
	if text == "" || text == "never" {
		return nil, nil
	}
	if span, err := time.ParseDuration(text); err == nil && span > 0 {
		return timestamppb.New(time.Now().Add(span)), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("--expires: %q: write a time such as 2027-01-31T00:00:00Z, a span such as 720h, or never", text)
	}
	return timestamppb.New(at), nil
}

func (a *app) tenantCreateCommand() *cobra.Command {
	var f tenantFlags
	var requestID string
	var dry, reuse bool
	cmd := &cobra.Command{
		Use: "create ID --release VERSION", Short: "Register a tenant",
		Long: `Register a tenant.

Nothing is created in the search engine: the tenant's indices may exist
already, or be installed by Tracardi later. The install token is shown.`,
		Example: "  tms tenant create acme --release 0.8.1 --name 'Acme Inc' --label tier=gold",
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		t, err := f.tenant(cmd, args[0])
		if err != nil {
			return err
		}
		if requestID == "" {
			requestID = rand.Text() // so that the call may be repeated
		}
		created, err := call(ctx, s, s.tenants.Create, &tmsv1.CreateTenantRequest{Tenant: t, RequestId: requestID, ValidateOnly: dry, AllowReuse: reuse})
		return a.printTenant(s, created, err)
	})
	f.bind(cmd)
	cmd.Flags().StringVar(&requestID, "request-id", "", "makes repeated calls one; default is random")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "check everything, change nothing")
	cmd.Flags().BoolVar(&reuse, "allow-reuse", false, "take the id of a tenant that was purged")
	needs(cmd, "release")
	return cmd
}

func (a *app) tenantGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show a tenant", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			t, err := call(ctx, s, s.tenants.Get, &tmsv1.GetTenantRequest{Id: args[0]})
			return a.printTenant(s, t, err)
		}),
	}
}

func (a *app) tenantListCommand() *cobra.Command {
	var state, release, filter, order string
	var labels []string
	var deleted bool
	cmd := &cobra.Command{Use: "list", Short: "List tenants"}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, _ []string, s *session) error {
		wanted, err := parseLabels(labels)
		if err != nil {
			return usage(cmd, err)
		}
		var all []*tmsv1.Tenant
		for token := ""; ; {
			page, err := call(ctx, s, s.tenants.List, &tmsv1.ListTenantsRequest{
				PageSize: listPage, PageToken: token, State: state, Release: release, Labels: wanted, ShowDeleted: deleted,
				Filter: filter, OrderBy: order,
			})
			if err != nil {
				return err
			}
			all = append(all, page.GetTenants()...)
			if token = page.GetNextPageToken(); token == "" {
				return a.printTenants(s, all)
			}
		}
	})
	flags := cmd.Flags()
	flags.StringVar(&state, "state", "", "only tenants that are active, suspended, expired, deleted or purged")
	flags.StringVar(&release, "release", "", "only tenants on this release")
	flags.StringArrayVar(&labels, "label", nil, "only tenants with this label, key=value; may be repeated")
	flags.BoolVar(&deleted, "deleted", false, "deleted tenants too")
	flags.StringVar(&filter, "filter", "", "more conditions: state:active release:0.8.1 cluster:default label.tier:gold")
	flags.StringVar(&order, "order-by", "", "id, create_time, update_time, display_name or release, with \" desc\" to turn it round")
	return cmd
}

func (a *app) printTenants(s *session, all []*tmsv1.Tenant) error {
	if s.json {
		return writeMessages(a.out, all)
	}
	var rows [][]string
	for _, t := range all {
		rows = append(rows, []string{t.GetId(), t.GetState(), t.GetRelease(), t.GetCluster(), t.GetDisplayName(), pairsText(t.GetLabels()), stamp(t.GetCreateTime())})
	}
	return writeTable(a.out, []string{"tenant", "state", "release", "cluster", "name", "labels", "created"}, rows)
}

func (a *app) tenantUpdateCommand() *cobra.Command {
	var f tenantFlags
	var etag string
	var newToken, dry bool
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change fields of a tenant; only flags that are given change something",
		Example: "  tms tenant update acme --state suspended\n  tms tenant update acme --expires never",
		Args:    cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		t, err := f.tenant(cmd, args[0])
		if err != nil {
			return err
		}
		mask := &fieldmaskpb.FieldMask{}
		for flag, field := range flagFields {
			if cmd.Flags().Changed(flag) {
				mask.Paths = append(mask.Paths, field)
			}
		}
		if newToken {
			mask.Paths = append(mask.Paths, "install_token")
		}
		if len(mask.Paths) == 0 {
			return usage(cmd, errors.New("nothing to change: give at least one field"))
		}
		updated, err := withEtag(ctx, s, args[0], etag, func(etag string) (*tmsv1.Tenant, error) {
			t.Etag = etag
			return call(ctx, s, s.tenants.Update, &tmsv1.UpdateTenantRequest{Tenant: t, UpdateMask: mask, ValidateOnly: dry})
		})
		return a.printTenant(s, updated, err)
	})
	f.bind(cmd)
	cmd.Flags().StringVar(&etag, "etag", "", "refuse when the tenant has changed since this etag was read")
	cmd.Flags().BoolVar(&newToken, "new-install-token", false, "replace the install token by a fresh one")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "check everything, change nothing")
	return cmd
}

func (a *app) tenantDeleteCommand() *cobra.Command {
	var etag string
	var dry bool
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Mark a tenant deleted; its indices stay, and undelete takes it back",
		Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			t, err := withEtag(ctx, s, args[0], etag, func(etag string) (*tmsv1.Tenant, error) {
				return call(ctx, s, s.tenants.Delete, &tmsv1.DeleteTenantRequest{Id: args[0], Etag: etag, ValidateOnly: dry})
			})
			return a.printTenant(s, t, err)
		}),
	}
	cmd.Flags().StringVar(&etag, "etag", "", "refuse when the tenant has changed since this etag was read")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "check everything, change nothing")
	return cmd
}

func (a *app) tenantUndeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "undelete ID", Short: "Take a deletion back", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			t, err := call(ctx, s, s.tenants.Undelete, &tmsv1.UndeleteTenantRequest{Id: args[0]})
			return a.printTenant(s, t, err)
		}),
	}
}

func (a *app) printTenant(s *session, t *tmsv1.Tenant, err error) error {
	if err != nil {
		return err
	}
	if s.json {
		return writeMessage(a.out, t)
	}
	attributes := ""
	if t.GetAttributes() != nil {
		raw, err := t.GetAttributes().MarshalJSON()
		if err != nil {
			return fmt.Errorf("render attributes: %w", err)
		}
		attributes = string(raw)
	}
	return writeFields(a.out,
		"tenant", t.GetId(), "state", t.GetState(), "release", t.GetRelease(), "cluster", t.GetCluster(),
		"name", t.GetDisplayName(), "email", t.GetEmail(), "domain", t.GetDomain(), "gui url", t.GetGuiUrl(),
		"install token", t.GetInstallToken(), "labels", pairsText(t.GetLabels()), "attributes", attributes,
		"created", stamp(t.GetCreateTime()), "updated", stamp(t.GetUpdateTime()), "expires", stamp(t.GetExpireTime()),
		"deleted", stamp(t.GetDeleteTime()), "purged at", stamp(t.GetPurgeTime()),
		"not purged", t.GetPurgeRefusal(), "tried again", stamp(t.GetPurgeRetryTime()), "etag", t.GetEtag(),
	)
}
