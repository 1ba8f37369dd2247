package cleanup

import (
	"fmt"

	"github.com/tracardi/tms/upgrader"
)

// Reason is the machine-readable cause of an Error.
type Reason string

// Reasons.
const (
	ReasonRefused Reason = "CLEANUP_REFUSED" // something stands in the way: see Refusals
	ReasonChanged Reason = "CLEANUP_CHANGED" // the cluster is not as planned any more
)

// Error is what Service refuses with, beside *tenants.Error.
type Error struct {
	Reason   Reason
	Message  string
	Remedy   string
	Refusals []upgrader.Refusal
}

func (e *Error) Error() string {
	return upgrader.Wording("", e.Message, e.Remedy, e.Refusals)
}

func (p *Plan) refuse(code, tenant, remedy, format string, args ...any) {
	p.Refusals = append(p.Refusals, upgrader.Refusal{Code: code, TenantID: tenant, Message: fmt.Sprintf(format, args...), Remedy: remedy})
}
