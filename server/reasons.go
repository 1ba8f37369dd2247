package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/cleanup"
	"github.com/tracardi/tms/clusters"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

// Reasons of errors that no domain makes.
const (
	reasonCanceled    = "CANCELED"
	reasonDeadline    = "DEADLINE_EXCEEDED"
	reasonEngine      = "SEARCH_ENGINE_UNAVAILABLE"
	reasonConflict    = "CONFLICT"
	reasonInternal    = "INTERNAL"
	reasonUnknownCall = "CALL_UNKNOWN"
	reasonMalformed   = "REQUEST_MALFORMED"
	reasonTooLarge    = "REQUEST_TOO_LARGE"
	reasonServer      = string(tenants.ReasonClosing)
	// reasonNoCertificate is of the listener, not of a key.
	reasonNoCertificate = "CLIENT_CERTIFICATE_REQUIRED"
	// Releases that operators bring.
	reasonReleaseRefused = "RELEASE_REFUSED"
	reasonReleaseExists  = "RELEASE_EXISTS"
	reasonReleaseInUse   = "RELEASE_IN_USE"
)

// libraryReasons are for statuses that gRPC and the gateway make themselves.
var libraryReasons = map[codes.Code]string{
	codes.Canceled:          reasonCanceled,
	codes.DeadlineExceeded:  reasonDeadline,
	codes.Unimplemented:     reasonUnknownCall,
	codes.NotFound:          reasonUnknownCall,
	codes.InvalidArgument:   reasonMalformed,
	codes.ResourceExhausted: reasonTooLarge,
	codes.Unavailable:       reasonServer,
}

// reasonRow explains a reason to those who meet it.
type reasonRow struct {
	reason  string
	code    codes.Code
	meaning string
	remedy  string
}

// reasonTable is every reason that an error may carry, and what docs/errors.md
// is made of.
var reasonTable = []reasonRow{
	{string(tenants.ReasonInvalidField), codes.InvalidArgument, "A field of the request is wrong; BadRequest names each.", "Correct the fields."},
	{string(tenants.ReasonInvalidPageToken), codes.InvalidArgument, "The page token was altered or belongs to another query.", "Use next_page_token unaltered, with the same conditions."},
	{string(tenants.ReasonUnknownRelease), codes.InvalidArgument, "The release is not in the catalogue.", "See `tms release list`."},
	{string(tenants.ReasonEtagRequired), codes.InvalidArgument, "An update or deletion came without an etag.", "Send the etag that was read, or `*`."},
	{string(tenants.ReasonRequestReused), codes.InvalidArgument, "The request_id was used before with other values.", "Use a new request_id for every new request."},
	{reasonMalformed, codes.InvalidArgument, "The body or a parameter could not be read.", "Compare with /v1/openapi.json."},
	{string(upgrader.ReasonInvalid), codes.InvalidArgument, "A value of a rollout's request is wrong.", "Correct it."},
	{string(tenants.ReasonTenantNotFound), codes.NotFound, "No tenant of this id is registered.", "See `tms tenant list`."},
	{string(tenants.ReasonKeyNotFound), codes.NotFound, "No API key has this id.", "See `tms key list`."},
	{string(tenants.ReasonOperationNotFound), codes.NotFound, "No operation has this id.", "List operations."},
	{string(upgrader.ReasonNotFound), codes.NotFound, "No such rollout, or no such tenant in it.", "See `tms upgrade list`."},
	{string(tenants.ReasonTenantExists), codes.AlreadyExists, "The tenant's id is taken, perhaps by a deleted tenant.", "Choose another id, or undelete the tenant."},
	{string(tenants.ReasonIDPurged), codes.AlreadyExists, "The id belonged to a tenant that was purged.", "Choose another id, or say allow_reuse."},
	{string(tenants.ReasonDomainTaken), codes.AlreadyExists, "The domain belongs to another tenant.", "Change that tenant first."},
	{string(tenants.ReasonCodeNameTaken), codes.AlreadyExists, "A tenant's id and the code name of an adopted installation meet: they would share indices.", "See `tms tenant list`; an installation is adopted once."},
	{reasonReleaseExists, codes.AlreadyExists, "The version of a release is known with other content.", "Give the bundle a further number, such as 0.8.3.1."},
	{string(tenants.ReasonEtagMismatch), codes.Aborted, "The tenant was changed meanwhile; the metadata holds the stored etag.", "Read again and repeat the change."},
	{string(cleanup.ReasonChanged), codes.Aborted, "What was planned for a cleanup is not what is there now.", "Look at a new plan with `tms cleanup plan`."},
	{string(cleanup.ReasonRefused), codes.FailedPrecondition, "A version cannot be removed; PreconditionFailure lists all that stands in the way.", "Follow the remedy of each, see docs/operations.md."},
	{reasonConflict, codes.Aborted, "Somebody else changed it meanwhile.", "Read again and repeat the command."},
	{string(tenants.ReasonWrongState), codes.FailedPrecondition, "Not possible in the present state.", "See the remedy in the metadata."},
	{string(tenants.ReasonSnapshotRequired), codes.FailedPrecondition, "A purge needs a verified snapshot of the tenant.", "Take one, or waive it with without_snapshot."},
	{string(tenants.ReasonRolloutRunning), codes.FailedPrecondition, "The tenant is part of a running rollout.", "Cancel it for this tenant, or wait for its end."},
	{string(tenants.ReasonPurgeIncomplete), codes.FailedPrecondition, "A purge found something of the tenant left.", "It is tried again by itself."},
	{string(upgrader.ReasonRefused), codes.FailedPrecondition, "A rollout may not start; PreconditionFailure lists every reason.", "Remove what stands in the way."},
	{reasonReleaseInUse, codes.FailedPrecondition, "A release is built in, or used: PreconditionFailure lists by what.", "Remove what uses it first; what rollouts name stays for good."},
	{reasonReleaseRefused, codes.FailedPrecondition, "A release bundle is not consistent; PreconditionFailure lists everything by file and line.", "Correct the bundle; `tms release validate` says the same."},
	{string(backups.ReasonInvalid), codes.InvalidArgument, "A value of a request about backups is wrong.", "Correct it."},
	{string(backups.ReasonNotFound), codes.NotFound, "No such repository, snapshot or restore, or no such tenant in it.", "See `tms backup list`."},
	{string(backups.ReasonRefused), codes.FailedPrecondition, "A repository or a restore is refused; PreconditionFailure lists every reason.", "Remove what stands in the way."},
	{string(backups.ReasonRepository), codes.FailedPrecondition, "The search engine cannot work with the repository.", "See its words in the message, and its log."},
	{string(backups.ReasonWrongState), codes.FailedPrecondition, "Not possible in the present state of the snapshot or restore.", "See the remedy in the metadata."},
	{string(backups.ReasonEngine), codes.Unavailable, "The search engine does not answer.", "Try again."},
	{string(tenants.ReasonNoCredentials), codes.Unauthenticated, "Neither an API key nor a token was sent.", "Send `Authorization: Bearer KEY`."},
	{string(tenants.ReasonKeyUnknown), codes.Unauthenticated, "The API key was never made here.", "Check it, or ask an administrator for one."},
	{string(tenants.ReasonKeyRevoked), codes.Unauthenticated, "The API key, or that of the token, was revoked.", "Ask an administrator for another one."},
	{string(tenants.ReasonKeyExpired), codes.Unauthenticated, "The API key, or that of the token, has expired or was rotated.", "Use its successor."},
	{string(tenants.ReasonTokenInvalid), codes.Unauthenticated, "The token was not signed with a SECRET in force.", "Get a new one from /api-key/{key}."},
	{string(tenants.ReasonTokenExpired), codes.Unauthenticated, "The token has expired.", "Get a new one from /api-key/{key}."},
	{string(tenants.ReasonRoleTooSmall), codes.PermissionDenied, "The role of the key does not allow the call.", "Use a key whose role does."},
	{string(tenants.ReasonTenantNotAllowed), codes.PermissionDenied, "The key is restricted to other tenants.", "Use a key without that restriction."},
	{reasonNoCertificate, codes.PermissionDenied, "TMS_TLS_CLIENT_CA is set, and the client showed no certificate.", "Call with a certificate of those authorities."},
	{string(tenants.ReasonRateLimited), codes.ResourceExhausted, "The key, or an address without a valid key, makes too many calls; RetryInfo and Retry-After say how long to wait.", "Slow down, or raise TMS_RATE_LIMIT or TMS_STRANGER_RATE_LIMIT."},
	{string(tenants.ReasonWatchTooOld), codes.FailedPrecondition, "What happened since the resume token is kept no longer, or the database was restored.", "Watch without a resume token: all tenants come first."},
	{string(tenants.ReasonWatchTooSlow), codes.ResourceExhausted, "The follower of a watch took no message for too long.", "Go on with the last resume token."},
	{string(tenants.ReasonWatchTooMany), codes.ResourceExhausted, "Too many watches run in this process, or with this key.", "End some."},
	{string(tenants.ReasonWebhookNotFound), codes.NotFound, "No webhook has this id.", "See `tms webhook list`."},
	{string(tenants.ReasonWebhookTooMany), codes.FailedPrecondition, "There are as many webhooks as may be.", "Delete one."},
	{string(tenants.ReasonClusterNotFound), codes.NotFound, "No search cluster has this name.", "See `tms cluster list`."},
	{string(clusters.ReasonExists), codes.AlreadyExists, "The name is taken, or the cluster has another name already.", "Use the one that is registered, or choose another name."},
	{string(clusters.ReasonInUse), codes.FailedPrecondition, "Tenants live in the cluster, or snapshot repositories belong to it.", "Purge and remove them first."},
	{string(clusters.ReasonUnreachable), codes.FailedPrecondition, "The cluster does not answer under the values that were given.", "Check addresses, credentials and certificates."},
	{string(clusters.ReasonOther), codes.FailedPrecondition, "The new addresses lead to another cluster than the one in which the tenants live.", "Add it under a name of its own."},
	{string(tenants.ReasonClusterSilent), codes.Unavailable, "A cluster other than the default one does not answer.", "See `tms cluster verify`, then try again."},
	{string(clusters.ReasonFull), codes.FailedPrecondition, "No cluster has room for another tenant.", "See `tms capacity`, or name a cluster."},
	{string(tenants.ReasonNotMoved), codes.FailedPrecondition, "The tenant's cluster holds something of it, and TMS does not move tenants between clusters.", "Leave the cluster as it is."},
	{reasonTooLarge, codes.ResourceExhausted, "The request is larger than allowed.", "Send less at once."},
	{string(tenants.ReasonStoreUnavailable), codes.Unavailable, "Postgres does not answer.", "Try again; then check DATABASE_URL and Postgres."},
	{string(tenants.ReasonTokenUnreadable), codes.Unavailable, "The install token was sealed with another SECRET.", "Set TMS_SECRET_OLD to the former SECRET, or make a new install token."},
	{reasonEngine, codes.Unavailable, "The search engine does not answer.", "Check TMS_ELASTIC_URLS and the cluster's health."},
	{string(upgrader.ReasonUnavailable), codes.Unavailable, "Search engine or database do not answer.", "Try again."},
	{reasonServer, codes.Unavailable, "This process is starting or ending.", "Try again."},
	{reasonDeadline, codes.DeadlineExceeded, "It took longer than the client or the server allows.", "Try again with a later deadline."},
	{reasonCanceled, codes.Canceled, "The client went away.", "Nothing to do."},
	{reasonUnknownCall, codes.Unimplemented, "This TMS does not know the call or the path.", "Compare the versions of client and server."},
	{reasonInternal, codes.Internal, "Nobody foresaw this.", "Look for the request id in the server's log, and report it."},
}

// errorsDocument is docs/errors.md.
func errorsDocument() string {
	var b strings.Builder
	b.WriteString(`# Errors

Every error of gRPC and of REST under /v1 carries a ` + "`google.rpc.ErrorInfo`" + ` with
the domain ` + "`" + errorDomain + "`" + `, one of the reasons below, and metadata such as the
field and the remedy. Programs decide by the reason; the message is for people
and may change. Tracardi's own routes answer with the same HTTP status, except
that wrong values and ids that are taken are 422, failed preconditions (400
below) 409, and revoked or expired keys 403 where a token is fetched.

This file is made from the table in server/reasons.go: ` + "`go test ./server -run TestErrorsDocument -update`" + `.

| Reason | gRPC | HTTP | Meaning | Remedy |
|---|---|---|---|---|
`)
	rows := slices.SortedFunc(slices.Values(reasonTable), func(a, b reasonRow) int { return strings.Compare(a.reason, b.reason) })
	for _, r := range rows {
		fmt.Fprintf(&b, "| `%s` | %s | %d | %s | %s |\n", r.reason, r.code, runtime.HTTPStatusFromCode(r.code), r.meaning, r.remedy)
	}
	return b.String()
}
