package server

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

type auditService struct{ trail Trail }

func (s *auditService) List(ctx context.Context, r *tmsv1.ListAuditRequest) (*tmsv1.ListAuditResponse, error) {
	f := tenants.AuditFilter{
		Subject: r.GetSubject(), Action: r.GetAction(), KeyID: r.GetKeyId(), RequestID: r.GetRequestId(),
		Limit: pageSize(r.GetPageSize(), defaultPageSize),
	}
	var err error
	if f.From, err = timeOf("start_time", r.GetStartTime()); err != nil {
		return nil, err
	}
	if f.Until, err = timeOf("end_time", r.GetEndTime()); err != nil {
		return nil, err
	}
	found, next, err := s.trail.Records(ctx, f, r.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListAuditResponse{NextPageToken: next}
	for _, a := range found {
		detail := &structpb.Struct{}
		if err := detail.UnmarshalJSON(a.Detail); err != nil {
			return nil, fmt.Errorf("audit record %d: %w", a.ID, err)
		}
		out.Records = append(out.Records, &tmsv1.AuditRecord{
			Id: a.ID, Time: stamp(a.At), KeyId: a.Caller.KeyID, Role: string(a.Caller.Role), RequestId: a.Caller.RequestID,
			Origin: a.Caller.Origin, Action: a.Action, Subject: a.Subject, Detail: detail,
		})
	}
	return out, nil
}

// timeOf reads a time of a request; unset is the zero time.
func timeOf(field string, t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if err := t.CheckValid(); err != nil {
		return time.Time{}, invalidField(field, "is not a time")
	}
	return t.AsTime(), nil
}
