package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tracardi/tms/events"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) webhookCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "webhook", Short: "Send events to addresses of others"}
	clientFlags(cmd)
	cmd.AddCommand(a.webhookCreateCommand(), a.webhookListCommand(), a.webhookGetCommand(), a.webhookUpdateCommand(),
		a.webhookDeleteCommand(), a.webhookRotateCommand(), a.webhookTestCommand(), a.webhookDeliveriesCommand())
	return cmd
}

// webhookFlags are the fields of a webhook that can be given.
type webhookFlags struct {
	url, name string
	types     []string
	enabled   bool
}

func (f *webhookFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "url", "", "where events are posted to, https")
	cmd.Flags().StringVar(&f.name, "name", "", "name for people")
	cmd.Flags().StringArrayVar(&f.types, "type", nil, "type of event, or a beginning with a dot at its end; may be repeated, none is all")
	cmd.Flags().BoolVar(&f.enabled, "enabled", true, "whether events are sent")
}

func (f *webhookFlags) webhook(id string) *tmsv1.Webhook {
	return &tmsv1.Webhook{Id: id, Url: f.url, DisplayName: f.name, Types: f.types, Enabled: &f.enabled}
}

func (a *app) webhookCreateCommand() *cobra.Command {
	var f webhookFlags
	cmd := &cobra.Command{
		Use: "create --url URL", Short: "Make a webhook; the secret that signs its deliveries is shown this once",
		Example: "  tms webhook create --url https://example.com/tms --type tenant.created --type tenant.deleted",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		made, err := call(ctx, s, s.webhooks.Create, &tmsv1.CreateWebhookRequest{Webhook: f.webhook("")})
		return a.printWebhookSecret(s, made, err)
	})
	f.bind(cmd)
	needs(cmd, "url")
	return cmd
}

// printWebhookSecret prints what is shown once.
func (a *app) printWebhookSecret(s *session, made *tmsv1.WebhookSecret, err error) error {
	if err != nil {
		return err
	}
	if s.json {
		return writeMessage(a.out, made)
	}
	w := made.GetWebhook()
	return writeFields(a.out, "webhook", w.GetId(), "url", w.GetUrl(), "former secret signs until", stamp(w.GetOldSecretExpireTime()), "secret (not shown again)", made.GetSecret())
}

func (a *app) webhookRotateCommand() *cobra.Command {
	var overlap time.Duration
	cmd := &cobra.Command{
		Use: "rotate ID", Short: "Make a new secret; for the overlap deliveries carry the signatures of both",
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		request := &tmsv1.RotateWebhookSecretRequest{Id: args[0]}
		if cmd.Flags().Changed("overlap") {
			request.Overlap = durationpb.New(overlap)
		}
		made, err := call(ctx, s, s.webhooks.RotateSecret, request)
		return a.printWebhookSecret(s, made, err)
	})
	cmd.Flags().DurationVar(&overlap, "overlap", events.DefaultSecretOverlap, "how long the former secret signs, too, at most 720h; 0 after a leak")
	return cmd
}

func (a *app) webhookListCommand() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List webhooks and how they do", Args: cobra.NoArgs,
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
			all, err := call(ctx, s, s.webhooks.List, &tmsv1.ListWebhooksRequest{})
			if err != nil {
				return err
			}
			if s.json {
				return writeMessages(a.out, all.GetWebhooks())
			}
			var rows [][]string
			for _, w := range all.GetWebhooks() {
				rows = append(rows, []string{w.GetId(), webhookState(w), w.GetUrl(), strings.Join(w.GetTypes(), " "), strconv.FormatInt(w.GetPending(), 10), w.GetDisplayName()})
			}
			return writeTable(a.out, []string{"webhook", "state", "url", "types", "pending", "name"}, rows)
		}),
	}
}

func webhookState(w *tmsv1.Webhook) string {
	switch {
	case !w.GetEnabled():
		return "disabled"
	case w.GetFailures() > 0:
		return "failing"
	}
	return "enabled"
}

func (a *app) webhookGetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "get ID", Short: "Show a webhook", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			w, err := call(ctx, s, s.webhooks.Get, &tmsv1.GetWebhookRequest{Id: args[0]})
			return a.printWebhook(s, w, err)
		}),
	}
}

func (a *app) webhookUpdateCommand() *cobra.Command {
	var f webhookFlags
	var etag string
	cmd := &cobra.Command{
		Use: "update ID", Short: "Change a webhook; with --enabled it goes on where it stopped",
		Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, cmd *cobra.Command, args []string, s *session) error {
		mask := &fieldmaskpb.FieldMask{}
		for flag, field := range map[string]string{"url": "url", "name": "display_name", "type": "types", "enabled": "enabled"} {
			if cmd.Flags().Changed(flag) {
				mask.Paths = append(mask.Paths, field)
			}
		}
		if len(mask.GetPaths()) == 0 {
			return usage(cmd, errors.New("nothing to change: give --url, --name, --type or --enabled"))
		}
		request := &tmsv1.UpdateWebhookRequest{Webhook: f.webhook(args[0]), UpdateMask: mask}
		if request.Webhook.Etag = etag; etag == "" {
			request.Webhook.Etag = "*"
		}
		w, err := call(ctx, s, s.webhooks.Update, request)
		return a.printWebhook(s, w, err)
	})
	f.bind(cmd)
	cmd.Flags().StringVar(&etag, "etag", "", "refuse when the webhook has changed since this etag was read")
	return cmd
}

func (a *app) printWebhook(s *session, w *tmsv1.Webhook, err error) error {
	if err != nil {
		return err
	}
	if s.json {
		return writeMessage(a.out, w)
	}
	return writeFields(a.out,
		"webhook", w.GetId(), "name", w.GetDisplayName(), "url", w.GetUrl(), "types", strings.Join(w.GetTypes(), " "), "state", webhookState(w), "reason", w.GetReason(),
		"pending", strconv.FormatInt(w.GetPending(), 10), "failing since", stamp(w.GetFailingSince()), "last error", w.GetLastError(), "tried again", stamp(w.GetRetryTime()),
		"events lost", gapText(w.GetGap()),
		"former secret signs until", stamp(w.GetOldSecretExpireTime()), "created", stamp(w.GetCreateTime()), "etag", w.GetEtag())
}

func gapText(g *tmsv1.WebhookGap) string {
	if g == nil {
		return ""
	}
	return fmt.Sprintf("%d to %d, found %s", g.GetFrom(), g.GetTo(), stamp(g.GetTime()))
}

func (a *app) webhookDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Short: "Remove a webhook", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			gone, err := call(ctx, s, s.webhooks.Delete, &tmsv1.DeleteWebhookRequest{Id: args[0]})
			if err != nil {
				return err
			}
			if s.json {
				return writeMessage(a.out, gone)
			}
			_, err = fmt.Fprintf(a.out, "webhook %s is deleted\n", args[0])
			return err
		}),
	}
}

func (a *app) webhookTestCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test ID", Short: "Send a webhook.test event now and show what came back", Args: cobra.ExactArgs(1),
		RunE: a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
			d, err := call(ctx, s, s.webhooks.Test, &tmsv1.TestWebhookRequest{Id: args[0]})
			if err != nil {
				return err
			}
			if s.json {
				err = writeMessage(a.out, d)
			} else {
				err = writeTable(a.out, deliveryHeader, [][]string{deliveryRow(d)})
			}
			if err == nil && d.GetError() != "" {
				err = &outcomeError{"not delivered: " + d.GetError()}
			}
			return err
		}),
	}
}

var deliveryHeader = []string{"time", "message", "type", "subject", "attempt", "status", "took", "error"}

func deliveryRow(d *tmsv1.WebhookDelivery) []string {
	return []string{
		stamp(d.GetTime()), d.GetMessageId(), d.GetType(), d.GetSubject(), strconv.Itoa(int(d.GetAttempt())), strconv.Itoa(int(d.GetStatus())),
		d.GetTook().AsDuration().String(), d.GetError(),
	}
}

func (a *app) webhookDeliveriesCommand() *cobra.Command {
	var failed bool
	var limit int
	cmd := &cobra.Command{Use: "deliveries ID", Short: "List attempts to deliver, newest first", Args: cobra.ExactArgs(1)}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		page, err := call(ctx, s, s.webhooks.ListDeliveries, &tmsv1.ListWebhookDeliveriesRequest{Id: args[0], Failed: failed, PageSize: int32(limit)})
		if err != nil {
			return err
		}
		if s.json {
			return writeMessages(a.out, page.GetDeliveries())
		}
		var rows [][]string
		for _, d := range page.GetDeliveries() {
			rows = append(rows, deliveryRow(d))
		}
		return writeTable(a.out, deliveryHeader, rows)
	})
	cmd.Flags().BoolVar(&failed, "failed", false, "only attempts that failed")
	cmd.Flags().IntVar(&limit, "limit", 100, "most attempts, at most 1000")
	return cmd
}
