package events

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/tenants"
)

// How deliveries are tried again.
const (
	// DeliveryLease is how long one process may be at a webhook; another one
	// takes over after it.
	DeliveryLease = 2 * time.Minute
	// turn is how long a process stays at a webhook that has much to take.
	turn = time.Minute
	// SendTimeout bounds one attempt.
	SendTimeout = 15 * time.Second
	// DisableAfter is how long every attempt may fail before the webhook is
	// disabled: longer than a weekend, shorter than events are kept.
	DisableAfter = 5 * 24 * time.Hour
	maxPause     = time.Hour
)

// WebhookStore keeps webhooks. The contract of tenants.Store holds for it.
type WebhookStore interface {
	// CreateWebhook stores a webhook that begins behind the newest event.
	CreateWebhook(ctx context.Context, w *Webhook, a tenants.Audit) (*Webhook, error)
	// Webhook returns one; ReasonWebhookNotFound.
	Webhook(ctx context.Context, id string) (*Webhook, error)
	// Webhooks returns all, by id.
	Webhooks(ctx context.Context) ([]*Webhook, error)
	// ChangeWebhook locks it, lets change alter it, and stores both.
	ChangeWebhook(ctx context.Context, id string, a tenants.Audit, change func(*Webhook) error) (*Webhook, error)
	// DeleteWebhook removes it and its deliveries; ReasonWebhookNotFound.
	DeleteWebhook(ctx context.Context, id string, a tenants.Audit) error
	// Deliveries returns attempts before an id, newest first; before 0 is all.
	Deliveries(ctx context.Context, id string, failed bool, before int64, limit int) ([]Delivery, error)

	// ClaimWebhook makes owner the only one who delivers until the lease ends;
	// nil when it is not due, disabled or taken.
	ClaimWebhook(ctx context.Context, id, owner string, lease time.Duration) (*Webhook, error)
	// Progress stores the position and how attempts went, with the attempt
	// when there is one; ok is false when owner has lost the claim.
	Progress(ctx context.Context, w *Webhook, owner string, d *Delivery) (ok bool, err error)
	// WebhookGap stores the last gap, and the audit record when it is another
	// one than before; ok is false when owner has lost the claim.
	WebhookGap(ctx context.Context, id, owner string, g Gap, a tenants.Audit) (ok bool, err error)
	// ReleaseWebhook ends owner's claim; it is due again after pause.
	ReleaseWebhook(ctx context.Context, id, owner string, pause time.Duration) error
}

// WebhooksConfig configures Webhooks.
type WebhooksConfig struct {
	Store  WebhookStore
	Log    Log
	Sender Sender
	Pages  *tenants.Pages
	Owner  string           // names this process in leases
	Now    func() time.Time // nil for time.Now
	Logger *slog.Logger     // nil discards
}

// Webhooks sends events to addresses of others: at least once, for each
// webhook in order. It is safe for concurrent use.
type Webhooks struct{ c WebhooksConfig }

// NewWebhooks wires Webhooks.
func NewWebhooks(c WebhooksConfig) *Webhooks {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Webhooks{c}
}

func (s *Webhooks) audit(c tenants.Caller, action, id string, detail map[string]any) tenants.Audit {
	return tenants.Audit{At: s.c.Now(), Caller: c, Action: action, Subject: "webhook/" + id, Detail: detail}
}

// Create makes a webhook; its Secret is set in the answer and nowhere else.
func (s *Webhooks) Create(ctx context.Context, c tenants.Caller, w *Webhook) (*Webhook, error) {
	if err := w.validate(s.c.Sender); err != nil {
		return nil, err
	}
	w.ID, w.Secret, w.CreatedBy, w.CreatedAt = "wh"+strings.ToLower(rand.Text()[:14]), newSecret(), c.KeyID, s.c.Now()
	made, err := s.c.Store.CreateWebhook(ctx, w, s.audit(c, "webhook.create", w.ID, map[string]any{"after": w.shown(changeable)}))
	if err != nil {
		return nil, err
	}
	made.Secret = w.Secret
	return made, nil
}

// Get returns a webhook.
func (s *Webhooks) Get(ctx context.Context, id string) (*Webhook, error) {
	return s.c.Store.Webhook(ctx, id)
}

// List returns all webhooks.
func (s *Webhooks) List(ctx context.Context) ([]*Webhook, error) { return s.c.Store.Webhooks(ctx) }

// WebhookUpdate changes the fields in Mask to the values in Webhook.
type WebhookUpdate struct {
	Webhook *Webhook
	Etag    string // the stored one, or tenants.AnyEtag
	Mask    []string
}

// changeable are the fields that a caller may set.
var changeable = []string{"display_name", "url", "types", "enabled"}

// shown are fields for the audit trail. Of the address only the host: paths
// and queries hold secrets of receivers.
func (w *Webhook) shown(fields []string) map[string]any {
	out := map[string]any{}
	for _, f := range fields {
		switch f {
		case "display_name":
			out[f] = w.DisplayName
		case "url":
			out[f] = "***"
			if u, err := url.Parse(w.URL); err == nil {
				out[f] = u.Scheme + "://" + u.Host + "/***"
			}
		case "types":
			out[f] = w.Types
		case "enabled":
			out[f] = w.Enabled
		}
	}
	return out
}

// Update changes a webhook. Enabling it lets it go on where it stopped.
func (s *Webhooks) Update(ctx context.Context, c tenants.Caller, r WebhookUpdate) (*Webhook, error) {
	for _, f := range r.Mask {
		if !slices.Contains(changeable, f) {
			return nil, invalid("update_mask", fmt.Sprintf("%.64q cannot be changed: name some of display_name, url, types, enabled", f))
		}
	}
	if len(r.Mask) == 0 {
		return nil, invalid("update_mask", "is empty: name some of display_name, url, types, enabled")
	}
	detail := map[string]any{"fields": r.Mask} // completed under the lock, before it is written
	a := s.audit(c, "webhook.update", r.Webhook.ID, detail)
	return s.c.Store.ChangeWebhook(ctx, r.Webhook.ID, a, func(w *Webhook) error {
		if r.Etag != tenants.AnyEtag && r.Etag != w.Etag() {
			return &tenants.Error{
				Code: tenants.CodeConflict, Reason: tenants.ReasonEtagMismatch, Field: "etag", Message: fmt.Sprintf("webhook %s has etag %q, not %.64q", w.ID, w.Etag(), r.Etag),
				Remedy: "read it again and repeat the change, or send *", Metadata: map[string]string{"etag": w.Etag()},
			}
		}
		detail["before"] = w.shown(r.Mask)
		for _, f := range r.Mask {
			switch f {
			case "display_name":
				w.DisplayName = r.Webhook.DisplayName
			case "url":
				w.URL = r.Webhook.URL
			case "types":
				w.Types = r.Webhook.Types
			case "enabled":
				w.Enabled, w.Reason = r.Webhook.Enabled, ""
			}
		}
		detail["after"] = w.shown(r.Mask)
		w.Failures, w.FailingSince, w.LastError, w.NextAt = 0, time.Time{}, "", s.c.Now()
		return w.validate(s.c.Sender)
	})
}

func invalid(field, message string) error {
	return &tenants.Error{Code: tenants.CodeInvalid, Reason: tenants.ReasonInvalidField, Field: field, Message: message, Violations: []tenants.Violation{{Field: field, Message: message}}}
}

// Delete removes a webhook.
func (s *Webhooks) Delete(ctx context.Context, c tenants.Caller, id string) error {
	return s.c.Store.DeleteWebhook(ctx, id, s.audit(c, "webhook.delete", id, nil))
}

// Test sends one event of TypeTest now, whether the webhook is enabled or not.
func (s *Webhooks) Test(ctx context.Context, id string) (*Delivery, error) {
	w, err := s.c.Store.Webhook(ctx, id)
	if err != nil {
		return nil, err
	}
	d := s.send(ctx, w, Event{At: s.c.Now(), Type: TypeTest, Subject: w.ID}, 1)
	return &d, nil
}

// Deliveries returns a page of attempts, newest first, and the next token.
func (s *Webhooks) Deliveries(ctx context.Context, id string, failed bool, limit int, pageToken string) ([]Delivery, string, error) {
	query := tenants.QueryHash("deliveries", id, failed)
	var before int64
	if err := s.c.Pages.Read(pageToken, query, &before); err != nil {
		return nil, "", err
	}
	if _, err := s.c.Store.Webhook(ctx, id); err != nil {
		return nil, "", err
	}
	found, err := s.c.Store.Deliveries(ctx, id, failed, before, limit+1)
	if err != nil || len(found) <= limit {
		return found, "", err
	}
	found = found[:limit]
	return found, s.c.Pages.Token(query, found[limit-1].ID), nil
}

// send makes one attempt.
func (s *Webhooks) send(ctx context.Context, w *Webhook, e Event, attempt int) Delivery {
	began := s.c.Now()
	d := Delivery{WebhookID: w.ID, Type: e.Type, Subject: e.Subject, At: began, Attempt: attempt}
	m, err := messageOf(w, e, began)
	if d.MessageID = m.ID; err == nil {
		ctx, cancel := context.WithTimeout(ctx, SendTimeout)
		defer cancel()
		d.Status, err = s.c.Sender.Send(ctx, m)
	}
	d.Took = s.c.Now().Sub(began)
	if err != nil {
		d.Error = fmt.Sprintf("%.300s", err.Error())
	}
	return d
}

// Work delivers what waits for a webhook; it may be called at any time by any
// process. What went wrong stands in the webhook, which is tried again.
func (s *Webhooks) Work(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, DeliveryLease-SendTimeout)
	defer cancel()
	w, err := s.c.Store.ClaimWebhook(ctx, id, s.c.Owner, DeliveryLease)
	if err != nil || w == nil {
		return err
	}
	err = s.deliver(ctx, w)
	pause := time.Duration(0)
	if w.Failures > 0 {
		pause = deliveryPause(w.Failures)
	}
	free, done := context.WithTimeout(context.WithoutCancel(ctx), askTimeout)
	defer done()
	return errors.Join(err, s.c.Store.ReleaseWebhook(free, id, s.c.Owner, pause))
}

// deliveryPause grows from five seconds to an hour.
func deliveryPause(failures int) time.Duration {
	return min(5*time.Second<<min(failures-1, 10), maxPause)
}

// deliver goes on until nothing waits, an attempt fails, or the turn is over.
func (s *Webhooks) deliver(ctx context.Context, w *Webhook) error {
	for end := s.c.Now().Add(turn); s.c.Now().Before(end); {
		some, err := s.next(ctx, w)
		if err != nil || len(some) == 0 {
			return err
		}
		for _, e := range some {
			if !s.c.Now().Before(end) {
				return nil
			}
			if more, err := s.deliverOne(ctx, w, e); !more || err != nil {
				return err
			}
		}
		if ok, err := s.c.Store.Progress(ctx, w, s.c.Owner, nil); !ok || err != nil {
			return err
		}
	}
	return nil
}

// next are the next events for a webhook, behind word of those that are lost.
func (s *Webhooks) next(ctx context.Context, w *Webhook) ([]Event, error) {
	some, err := s.c.Log.After(ctx, w.Position, batch)
	if err != nil {
		return nil, err
	}
	gap, err := s.missing(ctx, w, some)
	if err != nil || gap == nil {
		return some, err
	}
	marker, err := s.tellGap(ctx, w, gap)
	if err != nil || marker == nil {
		return nil, err
	}
	return append([]Event{*marker}, some...), nil
}

// deliverOne deals with one event; more says that the next may follow.
func (s *Webhooks) deliverOne(ctx context.Context, w *Webhook, e Event) (more bool, err error) {
	if e.Type != TypeGap && !Wanted(w.Types, e.Type) {
		w.Position = e.Number // stored with the next that is wanted, or at the end
		return true, nil
	}
	d := s.send(ctx, w, e, w.Failures+1)
	if ctx.Err() != nil {
		return false, ctx.Err() // told to stop: nobody knows how it went
	}
	w.LastError = d.Error
	if d.Error == "" {
		w.Position, w.Failures, w.FailingSince = e.Number, 0, time.Time{}
	} else if w.Failures++; w.FailingSince.IsZero() {
		w.FailingSince = d.At
	}
	ok, err := s.c.Store.Progress(ctx, w, s.c.Owner, &d)
	if err != nil || !ok || d.Error == "" {
		return ok, err
	}
	if d.At.Sub(w.FailingSince) >= DisableAfter {
		return false, s.disable(ctx, w, d.Error)
	}
	return false, nil
}

// disable ends the attempts until somebody enables the webhook again.
func (s *Webhooks) disable(ctx context.Context, w *Webhook, why string) error {
	reason := fmt.Sprintf("every attempt has failed since %s: %s", w.FailingSince.UTC().Format(time.RFC3339), why)
	s.c.Logger.WarnContext(ctx, "webhook disabled", "webhook", w.ID, "reason", reason)
	a := s.audit(tenants.Caller{KeyID: tenants.AutomaticKey}, "webhook.disable", w.ID, map[string]any{"reason": reason})
	_, err := s.c.Store.ChangeWebhook(ctx, w.ID, a, func(w *Webhook) error {
		w.Enabled, w.Reason = false, reason
		return nil
	})
	return err
}
