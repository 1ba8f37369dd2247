package db

import (
	"context"

	"github.com/tracardi/tms/events"
)

type webhookTurn struct{}

func (webhookTurn) name() string { return "webhook_delivery" }

// WebhookWork lets a Queue wake and do deliveries.
func WebhookWork(store *Webhooks, webhooks *events.Webhooks) QueuePart {
	return turns[webhookTurn]{
		due:  func(ctx context.Context, _ *Queue) ([]string, error) { return store.due(ctx, workers) },
		work: webhooks.Work,
	}.part()
}
