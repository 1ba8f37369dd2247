package backups

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/tracardi/tms/tenants"
)

// DrillOrder asks for a drill: a restore beside that is compared with the
// snapshot's record and removed again.
type DrillOrder struct {
	Tenant string
	// Snapshot "" is the newest successful one that holds the tenant.
	Snapshot  string
	Policy    string // asks for it, "" for none
	RequestID string
}

// drillPrefix begins the names of what a drill restores. It is no tenant's and
// no release's.
const drillPrefix = "tms-drill-"

// Drill begins a drill. Its outcome is the restore's: success when everything
// could be read and agrees.
func (s *Service) Drill(ctx context.Context, c tenants.Caller, o DrillOrder) (*Run, error) {
	if o.Tenant == "" {
		return nil, invalid("tenant", "name one, see `tms tenant list`", "is empty")
	}
	if o.Snapshot == "" {
		good, err := s.store.Runs(ctx, Filter{Kind: RunSnapshot, Tenant: o.Tenant, States: []State{StateSuccess}, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(good) == 0 {
			return nil, refused("the drill cannot start", []Refusal{{
				Code: "no_snapshot", TenantID: o.Tenant, Message: "no successful snapshot holds it",
				Remedy: fmt.Sprintf("take one with `tms backup create --tenant %s --wait`", o.Tenant),
			}})
		}
		o.Snapshot = good[0].ID
	}
	return s.Restore(ctx, c, RestoreOrder{
		Snapshot: o.Snapshot, Tenant: o.Tenant, Beside: drillPrefix + strings.ToLower(rand.Text()[:8]),
		Remove: true, Drill: true, Policy: o.Policy, RequestID: o.RequestID,
	})
}
