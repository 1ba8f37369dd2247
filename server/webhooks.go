package server

import (
	"context"
	"slices"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/tracardi/tms/events"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/tenants"
)

// Webhooks sends events to addresses of others, *events.Webhooks.
type Webhooks interface {
	Create(context.Context, tenants.Caller, *events.Webhook) (*events.Webhook, error)
	Get(ctx context.Context, id string) (*events.Webhook, error)
	List(ctx context.Context) ([]*events.Webhook, error)
	Update(context.Context, tenants.Caller, events.WebhookUpdate) (*events.Webhook, error)
	Delete(ctx context.Context, c tenants.Caller, id string) error
	RotateSecret(ctx context.Context, c tenants.Caller, id string, overlap time.Duration) (*events.Webhook, error)
	Test(ctx context.Context, id string) (*events.Delivery, error)
	Deliveries(ctx context.Context, id string, failed bool, limit int, pageToken string) ([]events.Delivery, string, error)
}

type webhookService struct{ webhooks Webhooks }

func (s *webhookService) Create(ctx context.Context, r *tmsv1.CreateWebhookRequest) (*tmsv1.WebhookSecret, error) {
	w := webhookFromProto(r.GetWebhook())
	w.Enabled = w.Enabled || r.GetWebhook().Enabled == nil
	made, err := s.webhooks.Create(ctx, callerOf(ctx), w)
	if err != nil {
		return nil, err
	}
	return &tmsv1.WebhookSecret{Webhook: webhookToProto(made), Secret: made.Secret}, nil
}

func (s *webhookService) Get(ctx context.Context, r *tmsv1.GetWebhookRequest) (*tmsv1.Webhook, error) {
	w, err := s.webhooks.Get(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return webhookToProto(w), nil
}

func (s *webhookService) List(ctx context.Context, _ *tmsv1.ListWebhooksRequest) (*tmsv1.ListWebhooksResponse, error) {
	all, err := s.webhooks.List(ctx)
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListWebhooksResponse{}
	for _, w := range all {
		out.Webhooks = append(out.Webhooks, webhookToProto(w))
	}
	return out, nil
}

// settable are the fields that an update without a mask may mean.
var settable = []string{"display_name", "url", "types", "enabled"}

func (s *webhookService) Update(ctx context.Context, r *tmsv1.UpdateWebhookRequest) (*tmsv1.Webhook, error) {
	mask := r.GetUpdateMask().GetPaths()
	if len(mask) == 0 {
		r.GetWebhook().ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
			if name := string(f.Name()); slices.Contains(settable, name) {
				mask = append(mask, name)
			}
			return true
		})
		slices.Sort(mask)
	}
	w, err := s.webhooks.Update(ctx, callerOf(ctx), events.WebhookUpdate{Webhook: webhookFromProto(r.GetWebhook()), Etag: r.GetWebhook().GetEtag(), Mask: mask})
	if err != nil {
		return nil, err
	}
	return webhookToProto(w), nil
}

func (s *webhookService) Delete(ctx context.Context, r *tmsv1.DeleteWebhookRequest) (*tmsv1.DeleteWebhookResponse, error) {
	return &tmsv1.DeleteWebhookResponse{}, s.webhooks.Delete(ctx, callerOf(ctx), r.GetId())
}

func (s *webhookService) RotateSecret(ctx context.Context, r *tmsv1.RotateWebhookSecretRequest) (*tmsv1.WebhookSecret, error) {
	overlap := events.DefaultSecretOverlap
	if r.GetOverlap() != nil {
		overlap = r.GetOverlap().AsDuration()
	}
	w, err := s.webhooks.RotateSecret(ctx, callerOf(ctx), r.GetId(), overlap)
	if err != nil {
		return nil, err
	}
	return &tmsv1.WebhookSecret{Webhook: webhookToProto(w), Secret: w.Secret}, nil
}

func (s *webhookService) Test(ctx context.Context, r *tmsv1.TestWebhookRequest) (*tmsv1.WebhookDelivery, error) {
	d, err := s.webhooks.Test(ctx, r.GetId())
	if err != nil {
		return nil, err
	}
	return deliveryToProto(*d), nil
}

func (s *webhookService) ListDeliveries(ctx context.Context, r *tmsv1.ListWebhookDeliveriesRequest) (*tmsv1.ListWebhookDeliveriesResponse, error) {
	found, next, err := s.webhooks.Deliveries(ctx, r.GetId(), r.GetFailed(), pageSize(r.GetPageSize(), defaultPageSize), r.GetPageToken())
	if err != nil {
		return nil, err
	}
	out := &tmsv1.ListWebhookDeliveriesResponse{NextPageToken: next}
	for _, d := range found {
		out.Deliveries = append(out.Deliveries, deliveryToProto(d))
	}
	return out, nil
}

func webhookFromProto(p *tmsv1.Webhook) *events.Webhook {
	return &events.Webhook{ID: p.GetId(), DisplayName: p.GetDisplayName(), URL: p.GetUrl(), Types: p.GetTypes(), Enabled: p.GetEnabled()}
}

func webhookToProto(w *events.Webhook) *tmsv1.Webhook {
	out := &tmsv1.Webhook{
		Id: w.ID, DisplayName: w.DisplayName, Url: w.URL, Types: w.Types, Enabled: &w.Enabled, Reason: w.Reason, CreatedBy: w.CreatedBy,
		CreateTime: stamp(w.CreatedAt), UpdateTime: stamp(w.UpdatedAt), Etag: w.Etag(),
		Failures: int32(w.Failures), FailingSince: stamp(w.FailingSince), LastError: w.LastError, Pending: w.Pending,
	}
	if w.Failures > 0 && w.Enabled {
		out.RetryTime = stamp(w.NextAt)
	}
	if w.OldSecret != "" {
		out.OldSecretExpireTime = stamp(w.OldSecretUntil)
	}
	if w.Gap != nil {
		out.Gap = &tmsv1.WebhookGap{From: w.Gap.From, To: w.Gap.To, Time: stamp(w.Gap.At)}
	}
	return out
}

func deliveryToProto(d events.Delivery) *tmsv1.WebhookDelivery {
	return &tmsv1.WebhookDelivery{
		Id: d.ID, MessageId: d.MessageID, Type: d.Type, Subject: d.Subject, Time: stamp(d.At), Attempt: int32(d.Attempt),
		Status: int32(d.Status), Took: durationpb.New(d.Took), Error: d.Error,
	}
}
