package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) tenantWatchCommand() *cobra.Command {
	var token, filter string
	var deleted, once bool
	cmd := &cobra.Command{
		Use: "watch", Short: "Follow what happens to tenants, as it happens",
		Long: `Follow what happens to tenants, as it happens.

First come all tenants as they are, then "synced", then every change, one a
line, until it is interrupted. A lost connection is taken up where it broke.
With -o json every line is one message with its resume_token, with which a
later command goes on by --resume.`,
		Example: "  tms tenant watch --filter 'label.tier:gold'\n  tms tenant watch --once -o json",
		Args:    cobra.NoArgs,
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, _ []string, s *session) error {
		w := &tenantWatch{
			session: s, out: a.out, note: a.err, once: once,
			request: &tmsv1.WatchTenantsRequest{ResumeToken: token, Filter: filter, ShowDeleted: deleted},
		}
		return w.run(ctx)
	})
	cmd.Flags().StringVar(&token, "resume", "", "go on behind the message with this resume_token")
	cmd.Flags().StringVar(&filter, "filter", "", "conditions: state:active release:0.8.1 cluster:default label.tier:gold")
	cmd.Flags().BoolVar(&deleted, "show-deleted", false, "deleted tenants too")
	cmd.Flags().BoolVar(&once, "once", false, "end at \"synced\", or with --resume at the first sign that nothing waits")
	return cmd
}

// tenantWatch follows tenants over lost connections.
type tenantWatch struct {
	*session
	request *tmsv1.WatchTenantsRequest
	out     io.Writer
	note    io.Writer
	once    bool
}

func (w *tenantWatch) run(ctx context.Context) error { return w.outlive(ctx, w.note, w.follow) }

// outlive follows a stream over lost connections and restarts of the server,
// until follow returns without an error or the server cannot be reached for the
// reconnect time.
func (s *session) outlive(ctx context.Context, note io.Writer, follow func(context.Context) (heard bool, err error)) error {
	pause := &backoff.ExponentialBackOff{InitialInterval: 100 * time.Millisecond, RandomizationFactor: 0.3, Multiplier: 1.6, MaxInterval: 2 * time.Second}
	pause.Reset()
	lost := time.Time{}
	for {
		heard, err := follow(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !transient(err):
			return err
		}
		if heard || lost.IsZero() {
			lost = time.Now()
			pause.Reset()
			if _, err := fmt.Fprintln(note, "connection to TMS lost, trying again"); err != nil {
				return err
			}
		}
		if time.Since(lost) > s.settings.Reconnect {
			return fmt.Errorf("TMS not reached for %s: %w", s.settings.Reconnect, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause.NextBackOff()):
		}
	}
}

// follow prints one stream; no error says that enough was seen.
func (w *tenantWatch) follow(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.events.WatchTenants(ctx, w.request)
	if err != nil {
		return false, err
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return heard, status.Error(codes.Unavailable, "the stream ended")
		}
		if err != nil {
			return heard, err
		}
		heard = true
		if err := w.print(m); err != nil {
			return heard, err
		}
		if t := m.GetResumeToken(); t != "" {
			w.request.ResumeToken = t
		}
		if k := m.GetKind(); w.once && (k == "synced" || k == "bookmark") {
			return heard, nil
		}
	}
}

// print writes a line: for people what they can see, for programs all.
func (w *tenantWatch) print(m *tmsv1.WatchTenantsResponse) error {
	if w.json {
		raw, err := tmsv1.JSON(m)
		if err == nil {
			_, err = fmt.Fprintf(w.out, "%s\n", raw)
		}
		return err
	}
	t, e := m.GetTenant(), m.GetEvent()
	var line string
	switch m.GetKind() {
	case "bookmark":
		return nil
	case "event":
		line = strings.Join([]string{stamp(e.GetTime()), e.GetType(), e.GetSubject(), eventText(e)}, "  ")
	case "present":
		line = strings.Join([]string{"present", t.GetId(), t.GetState(), t.GetRelease()}, "  ")
	default:
		line = m.GetKind()
	}
	_, err := fmt.Fprintln(w.out, strings.TrimRight(line, " "))
	return err
}

// eventText says in a few words what changed.
func eventText(e *tmsv1.Event) string {
	data := e.GetData().AsMap()
	var parts []string
	for _, name := range []string{"state", "release"} {
		if was, ok := data["previous_"+name]; ok {
			parts = append(parts, fmt.Sprintf("%v -> %v", was, data[name]))
		}
	}
	if fields, ok := data["fields"].([]any); ok {
		parts = append(parts, strings.Trim(fmt.Sprint(fields), "[]"))
	}
	return strings.Join(parts, ", ")
}
