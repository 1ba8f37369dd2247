package server

import (
	"context"
	"errors"
	"maps"

	"buf.build/go/protovalidate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/cleanup"
	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
)

// errorDomain names us in ErrorInfo (AIP-193).
const errorDomain = "tms.tracardi.com"

// The tables from what a domain says to what gRPC says. REST follows from
// gRPC's codes in the gateway.
var (
	registryCodes = map[tenants.Code]codes.Code{
		tenants.CodeInvalid:            codes.InvalidArgument,
		tenants.CodeNotFound:           codes.NotFound,
		tenants.CodeAlreadyExists:      codes.AlreadyExists,
		tenants.CodeConflict:           codes.Aborted,
		tenants.CodeFailedPrecondition: codes.FailedPrecondition,
		tenants.CodeUnauthenticated:    codes.Unauthenticated,
		tenants.CodePermissionDenied:   codes.PermissionDenied,
		tenants.CodeUnavailable:        codes.Unavailable,
		tenants.CodeExhausted:          codes.ResourceExhausted,
	}
	upgradeCodes = map[upgrader.Reason]codes.Code{
		upgrader.ReasonInvalid:       codes.InvalidArgument,
		upgrader.ReasonRequestReused: codes.InvalidArgument,
		upgrader.ReasonNotFound:      codes.NotFound,
		upgrader.ReasonRefused:       codes.FailedPrecondition,
		upgrader.ReasonWrongState:    codes.FailedPrecondition,
		upgrader.ReasonUnavailable:   codes.Unavailable,
	}
	backupCodes = map[backups.Reason]codes.Code{
		backups.ReasonInvalid:    codes.InvalidArgument,
		backups.ReasonNotFound:   codes.NotFound,
		backups.ReasonRefused:    codes.FailedPrecondition,
		backups.ReasonRepository: codes.FailedPrecondition,
		backups.ReasonWrongState: codes.FailedPrecondition,
		backups.ReasonEngine:     codes.Unavailable,
	}
)

// statusOf turns any error into what the client sees. What nobody foresaw is
// "internal error": its text is for the log.
func statusOf(err error) *status.Status {
	if st, ok := status.FromError(err); ok {
		return explained(st) // nil, or made by gRPC itself
	}
	var registry *tenants.Error
	var upgrade *upgrader.ServiceError
	var bounds *budget.Error
	var backup *backups.Error
	var clean *cleanup.Error
	var invalid *protovalidate.ValidationError
	var engine *upgrader.EngineError
	var bundle *releases.BundleError
	var conflict *releases.ConflictError
	var used *releases.InUseError
	switch {
	case errors.As(err, &registry):
		return registryStatus(registry)
	case errors.As(err, &upgrade):
		return upgradeStatus(upgrade)
	case errors.As(err, &bounds):
		return upgradeStatus(&upgrader.ServiceError{Reason: upgrader.ReasonInvalid, Field: bounds.Field, Message: bounds.Message, Remedy: bounds.Remedy, Err: bounds})
	case errors.As(err, &backup):
		return backupStatus(backup)
	case errors.As(err, &clean):
		return cleanupStatus(clean)
	case errors.As(err, &invalid):
		return validationStatus(invalid)
	case errors.As(err, &bundle):
		return bundleStatus(bundle)
	case errors.As(err, &conflict):
		return detailed(codes.AlreadyExists, conflict.Error(), info(reasonReleaseExists, meta("version", conflict.Version)))
	case errors.As(err, &used):
		return usedStatus(used)
	case errors.Is(err, context.Canceled):
		return detailed(codes.Canceled, "the client went away", info(reasonCanceled, nil))
	case errors.Is(err, context.DeadlineExceeded):
		return detailed(codes.DeadlineExceeded, "it took too long (try again, with a later deadline)", info(reasonDeadline, nil))
	case errors.As(err, &engine) && engine.Retryable():
		return detailed(codes.Unavailable, "the search engine does not answer (check TMS_ELASTIC_URLS and the cluster's health)", info(reasonEngine, nil))
	case errors.Is(err, upgrader.ErrConflict):
		return detailed(codes.Aborted, "changed by somebody else meanwhile (read it again and repeat the command)", info(reasonConflict, nil))
	}
	return detailed(codes.Internal, "internal error (the server's log has the details under this request id)", info(reasonInternal, nil))
}

// explained adds a reason to a status that the libraries made, so that no
// error goes without one (AIP-193).
func explained(st *status.Status) *status.Status {
	if st.Code() == codes.OK {
		return st
	}
	for _, d := range st.Details() {
		if _, ok := d.(*errdetails.ErrorInfo); ok {
			return st
		}
	}
	reason, ok := libraryReasons[st.Code()]
	if !ok {
		reason = reasonInternal
	}
	return detailed(st.Code(), st.Message(), info(reason, nil))
}

func registryStatus(e *tenants.Error) *status.Status {
	code, ok := registryCodes[e.Code]
	if !ok {
		code = codes.Unknown
	}
	known := meta("field", e.Field, "remedy", e.Remedy)
	maps.Copy(known, e.Metadata)
	details := []protoadapt.MessageV1{info(string(e.Reason), known)}
	if e.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	if len(e.Violations) > 0 {
		bad := &errdetails.BadRequest{}
		for _, v := range e.Violations {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: v.Field, Description: v.Message})
		}
		details = append(details, bad)
	}
	return detailed(code, e.Error(), details...)
}

func upgradeStatus(e *upgrader.ServiceError) *status.Status {
	code, ok := upgradeCodes[e.Reason]
	if !ok {
		code = codes.Unknown
	}
	return refusedStatus(code, e.Error(), info(string(e.Reason), meta("field", e.Field, "remedy", e.Remedy)), e.Refusals)
}

// refusedStatus lists all that stands in the way, each with its remedy.
func refusedStatus(code codes.Code, message string, why *errdetails.ErrorInfo, refusals []upgrader.Refusal) *status.Status {
	details := []protoadapt.MessageV1{why}
	if len(refusals) > 0 {
		failed := &errdetails.PreconditionFailure{}
		for _, r := range refusals {
			failed.Violations = append(failed.Violations, &errdetails.PreconditionFailure_Violation{
				Type: r.Code, Subject: r.TenantID, Description: withRemedy(r.Message, r.Remedy),
			})
		}
		details = append(details, failed)
	}
	return detailed(code, message, details...)
}

// usedStatus lists what keeps a release.
func usedStatus(e *releases.InUseError) *status.Status {
	failed := &errdetails.PreconditionFailure{}
	for _, by := range e.By {
		failed.Violations = append(failed.Violations, &errdetails.PreconditionFailure_Violation{Type: reasonReleaseInUse, Subject: "releases/" + e.Version, Description: by})
	}
	return detailed(codes.FailedPrecondition, e.Error(), info(reasonReleaseInUse, meta("version", e.Version)), failed)
}

func bundleStatus(e *releases.BundleError) *status.Status {
	failed := &errdetails.PreconditionFailure{}
	for _, p := range e.Problems {
		failed.Violations = append(failed.Violations, &errdetails.PreconditionFailure_Violation{Type: "bundle", Description: p.String()})
	}
	return detailed(codes.FailedPrecondition, e.Error(), info(reasonReleaseRefused, nil), failed)
}

func backupStatus(e *backups.Error) *status.Status {
	code, ok := backupCodes[e.Reason]
	if !ok {
		code = codes.Unknown
	}
	return refusedStatus(code, e.Error(), info(string(e.Reason), meta("field", e.Field, "remedy", e.Remedy)), e.Refusals)
}

func validationStatus(e *protovalidate.ValidationError) *status.Status {
	bad := &errdetails.BadRequest{}
	message, first := "", ""
	for _, v := range e.Violations {
		field, text := protovalidate.FieldPathString(v.Proto.GetField()), numberOf(v)+v.Proto.GetMessage()
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{Field: field, Description: text})
		if message != "" {
			message += "; "
		} else {
			first = field
		}
		message += field + ": " + text
	}
	return detailed(codes.InvalidArgument, message, info(string(tenants.ReasonInvalidField), meta("field", first)), bad)
}

// numberOf is the value that is wrong where it is a number: what else a request
// holds may be a secret.
func numberOf(v *protovalidate.Violation) string {
	if v.FieldDescriptor == nil || !v.FieldValue.IsValid() || v.FieldDescriptor.IsList() || v.FieldDescriptor.IsMap() {
		return ""
	}
	switch v.FieldValue.Interface().(type) {
	case int32, int64, uint32, uint64, float32, float64:
		return v.FieldValue.String() + " "
	}
	return ""
}

func withRemedy(message, remedy string) string {
	if remedy == "" {
		return message
	}
	return message + " (" + remedy + ")"
}

func info(reason string, metadata map[string]string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Reason: reason, Domain: errorDomain, Metadata: metadata}
}

// meta makes a map of the pairs that have a value.
func meta(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i]] = pairs[i+1]
		}
	}
	return m
}

func detailed(code codes.Code, message string, details ...protoadapt.MessageV1) *status.Status {
	st := status.New(code, message)
	if with, err := st.WithDetails(details...); err == nil {
		return with
	}
	return st
}
