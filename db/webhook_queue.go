package db

import (
	"context"
	"log/slog"

	"github.com/riverqueue/river"

	"github.com/tracardi/tms/events"
)

// webhookArgs is a wake-up for one webhook. As with rollouts, the webhook's
// own row says what is to be done, who may do it and when.
type webhookArgs struct {
	Webhook string `json:"webhook"`
	Slot    int64  `json:"slot"` // unix time in units of freshness
}

func webhookWake(id string) river.JobArgs { return webhookArgs{Webhook: id, Slot: slot()} }

// Kind implements river.JobArgs.
func (webhookArgs) Kind() string { return "webhook_delivery" }

// InsertOpts implements river.JobArgsWithInsertOpts.
func (webhookArgs) InsertOpts() river.InsertOpts { return oncePerArgs() }

// webhookWorker is a turn on one webhook.
type webhookWorker struct {
	river.WorkerDefaults[webhookArgs]
	webhooks *events.Webhooks
	log      *slog.Logger
}

// Work implements river.Worker. Errors are logged and not returned: the
// webhook's own row says when to try again.
func (w *webhookWorker) Work(ctx context.Context, job *river.Job[webhookArgs]) error {
	if err := w.webhooks.Work(ctx, job.Args.Webhook); err != nil && ctx.Err() == nil {
		w.log.Warn("webhook's turn ended early", "webhook", job.Args.Webhook, "error", err)
	}
	return nil
}

// WebhookWork lets a Queue wake and do deliveries.
func WebhookWork(store *Webhooks, webhooks *events.Webhooks) QueuePart {
	return QueuePart{
		register: func(ws *river.Workers, log *slog.Logger) error {
			return addWorker(ws, &webhookWorker{webhooks: webhooks, log: log})
		},
		attach: func(*Queue) {},
		due: func(ctx context.Context, q *Queue) error {
			ids, err := store.due(ctx, workers)
			if err != nil {
				return err
			}
			return q.wakeAll(ctx, ids, webhookWake)
		},
	}
}
