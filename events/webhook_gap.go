package events

import (
	"context"
	"fmt"
	"time"

	"github.com/tracardi/tms/tenants"
)

// Gap is a run of events that a webhook cannot get any more: it was away for
// longer than they are kept.
type Gap struct {
	From, To int64     // numbers of the first and the last event that is missing
	At       time.Time // when it was found
}

// missing says which events behind the webhook's position are kept no longer;
// next are the next ones that are. Numbers have no gaps of their own.
func (s *Webhooks) missing(ctx context.Context, w *Webhook, next []Event) (*Gap, error) {
	first, until := w.Position+1, w.Position
	if len(next) > 0 {
		until = next[0].Number - 1
	} else {
		head, err := s.c.Log.Advance(ctx)
		if err != nil {
			return nil, err
		}
		until = max(until, head.Floor)
	}
	if until < first {
		return nil, nil
	}
	return &Gap{From: first, To: until, At: s.c.Now()}, nil
}

// tellGap writes the gap down and returns the event that takes its place, so
// that the receiver learns of it before what comes behind; nil when the
// webhook is another process's now.
func (s *Webhooks) tellGap(ctx context.Context, w *Webhook, g *Gap) (*Event, error) {
	if w.Gap == nil || w.Gap.From != g.From {
		s.c.Logger.WarnContext(ctx, "webhook has lost events that are kept no longer", "webhook", w.ID, "from", g.From, "to", g.To)
	}
	detail := map[string]any{"from": g.From, "to": g.To}
	ok, err := s.c.Store.WebhookGap(ctx, w.ID, s.c.Owner, *g, s.audit(tenants.Caller{KeyID: tenants.AutomaticKey}, "webhook.gap", w.ID, detail))
	if err != nil || !ok {
		return nil, err
	}
	w.Gap = g
	return &Event{Number: g.To, At: g.At, Type: TypeGap, Subject: w.ID, Data: detail}, nil
}

func gapID(e Event) string { return fmt.Sprintf("gap_%v_%v", e.Data["from"], e.Data["to"]) }
