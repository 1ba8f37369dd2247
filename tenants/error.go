package tenants

import (
	"errors"
	"strings"
	"time"
)

// Code classifies an Error by what the caller can do about it.
type Code string

// Codes. Transports translate each in one place.
const (
	CodeInvalid            Code = "invalid"             // the request is wrong; changing it helps
	CodeNotFound           Code = "not_found"           // what the request names does not exist
	CodeAlreadyExists      Code = "already_exists"      // what the request makes exists
	CodeConflict           Code = "conflict"            // somebody else changed it meanwhile; read again
	CodeFailedPrecondition Code = "failed_precondition" // not in this state
	CodeUnauthenticated    Code = "unauthenticated"     // no valid key or token
	CodePermissionDenied   Code = "permission_denied"   // the key's role does not allow it
	CodeUnavailable        Code = "unavailable"         // try again later
	CodeExhausted          Code = "exhausted"           // too many calls; try again after a pause
)

// Reason is the machine-readable cause of an Error.
type Reason string

// Reasons.
const (
	ReasonInvalidField      Reason = "INVALID_FIELD"
	ReasonInvalidPageToken  Reason = "INVALID_PAGE_TOKEN"
	ReasonUnknownRelease    Reason = "UNKNOWN_RELEASE"
	ReasonTenantNotFound    Reason = "TENANT_NOT_FOUND"
	ReasonTenantExists      Reason = "TENANT_EXISTS"
	ReasonDomainTaken       Reason = "DOMAIN_TAKEN"
	ReasonCodeNameTaken     Reason = "CODE_NAME_TAKEN"
	ReasonRequestReused     Reason = "REQUEST_ID_REUSED"
	ReasonEtagMismatch      Reason = "ETAG_MISMATCH"
	ReasonEtagRequired      Reason = "ETAG_REQUIRED"
	ReasonWrongState        Reason = "WRONG_STATE"
	ReasonIDPurged          Reason = "TENANT_ID_PURGED"
	ReasonSnapshotRequired  Reason = "SNAPSHOT_REQUIRED"
	ReasonRolloutRunning    Reason = "ROLLOUT_RUNNING"
	ReasonPurgeIncomplete   Reason = "PURGE_INCOMPLETE"
	ReasonOperationNotFound Reason = "OPERATION_NOT_FOUND"
	ReasonKeyNotFound       Reason = "KEY_NOT_FOUND"
	ReasonNoCredentials     Reason = "CREDENTIALS_MISSING"
	ReasonKeyUnknown        Reason = "KEY_UNKNOWN"
	ReasonKeyRevoked        Reason = "KEY_REVOKED"
	ReasonKeyExpired        Reason = "KEY_EXPIRED"
	ReasonTokenInvalid      Reason = "TOKEN_INVALID"
	ReasonTokenExpired      Reason = "TOKEN_EXPIRED"
	ReasonRoleTooSmall      Reason = "ROLE_NOT_ALLOWED"
	ReasonTenantNotAllowed  Reason = "TENANT_NOT_ALLOWED"
	ReasonRateLimited       Reason = "RATE_LIMITED"
	ReasonTokenUnreadable   Reason = "INSTALL_TOKEN_UNREADABLE"
	ReasonStoreUnavailable  Reason = "DATABASE_UNAVAILABLE"
	ReasonWatchTooOld       Reason = "WATCH_TOKEN_TOO_OLD"
	ReasonWatchTooSlow      Reason = "WATCH_TOO_SLOW"
	ReasonWatchTooMany      Reason = "WATCH_TOO_MANY"
	ReasonClosing           Reason = "SERVER_UNAVAILABLE"
	ReasonWebhookNotFound   Reason = "WEBHOOK_NOT_FOUND"
	ReasonWebhookTooMany    Reason = "WEBHOOK_TOO_MANY"
	ReasonClusterNotFound   Reason = "CLUSTER_NOT_FOUND"
	ReasonClusterSilent     Reason = "CLUSTER_UNAVAILABLE"
	ReasonNotMoved          Reason = "TENANT_NOT_MOVED"
)

// Violation is one wrong field of a request.
type Violation struct {
	Field   string // as in the contract: "display_name"
	Message string
}

// Error is every error this package and its stores return on purpose. Its
// text is for the caller; Err is for the log and never part of it.
type Error struct {
	Code    Code
	Reason  Reason
	Field   string // the field or resource it is about, may be empty
	Message string // what is wrong, with the value where it is no secret
	Remedy  string // what to do about it
	// Metadata is for programs, beside field and remedy: no secrets.
	Metadata map[string]string
	// RetryAfter is how long to wait, 0 for no advice.
	RetryAfter time.Duration
	// Violations lists every wrong field when Code is CodeInvalid.
	Violations []Violation
	Err        error
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Message)
	if e.Remedy != "" {
		b.WriteString(" (" + e.Remedy + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// HasReason reports whether err is an Error with this reason.
func HasReason(err error, r Reason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == r
}

// violations collects wrong fields, so that a caller sees all at once.
type violations []Violation

func (v *violations) add(field, message string) {
	*v = append(*v, Violation{Field: field, Message: message})
}

func (v violations) err() error {
	if len(v) == 0 {
		return nil
	}
	e := &Error{Code: CodeInvalid, Reason: ReasonInvalidField, Field: v[0].Field, Message: v[0].Message, Violations: v}
	for _, more := range v[1:] {
		e.Message += "; " + more.Field + ": " + more.Message
	}
	return e
}

func invalid(field, message, remedy string) error {
	return &Error{
		Code: CodeInvalid, Reason: ReasonInvalidField, Field: field, Message: message, Remedy: remedy,
		Violations: []Violation{{Field: field, Message: message}},
	}
}
