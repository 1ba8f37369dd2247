package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func (a *app) upgradeProgressCommand() *cobra.Command {
	var indices bool
	cmd := &cobra.Command{
		Use: "progress ROLLOUT", Short: "Show how far a rollout is: fleet, waves, tenants, indices; what is left, and what stalls", Args: cobra.ExactArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		request := &tmsv1.GetProgressRequest{Id: args[0]}
		if indices {
			request.View = "full"
		}
		p, err := call(ctx, s, s.progress.Get, request)
		if err != nil {
			return err
		}
		return a.printProgress(s, p)
	})
	cmd.Flags().BoolVar(&indices, "indices", false, "with every target index; otherwise those that are being copied")
	return cmd
}

func (a *app) printProgress(s *session, p *tmsv1.RolloutProgress) error {
	if s.json {
		return writeMessage(a.out, p)
	}
	pairs := []string{"rollout", p.GetRolloutId(), "state", p.GetState(), "fleet", partText(p.GetFleet()) + statesText(p.GetFleet())}
	for _, w := range p.GetWaves() {
		pairs = append(pairs, fmt.Sprintf("wave %d", w.GetWave()), partText(w)+statesText(w))
	}
	if err := writeFields(a.out, pairs...); err != nil {
		return err
	}
	var tenants, indices [][]string
	empty := 0
	for _, t := range p.GetTenants() {
		x := t.GetAmount()
		tenants = append(tenants, []string{
			t.GetTenantId(), t.GetState(), fmt.Sprintf("%.0f %%", 100*t.GetShare()), grouped(x.GetDocuments()), grouped(x.GetDocumentsTotal()), size(x.GetBytesTotal()),
			strings.TrimPrefix(perSecond(x), ", "), strings.TrimPrefix(leftText(t.GetLeft()), ", "), t.GetStalled(),
		})
		for _, ix := range t.GetIndices() {
			n := ix.GetAmount()
			if n.GetDocumentsTotal() == 0 {
				empty++
				continue
			}
			indices = append(indices, []string{ix.GetTarget(), ix.GetState(), grouped(n.GetDocuments()), grouped(n.GetDocumentsTotal()), size(n.GetBytesTotal()), strings.TrimPrefix(perSecond(n), ", "), fmt.Sprint(ix.GetRestarts())})
		}
	}
	_, _ = fmt.Fprintln(a.out)
	err := writeTable(a.out, []string{"tenant", "state", "done", "documents", "of", "bytes", "pace", "left", "stalled"}, tenants)
	if err == nil && len(indices) > 0 {
		_, _ = fmt.Fprintln(a.out)
		err = writeTable(a.out, []string{"index", "state", "documents", "of", "bytes", "pace", "restarts"}, indices)
	}
	if err == nil && empty > 0 {
		_, err = fmt.Fprintf(a.out, "and %d indices into which nothing is copied\n", empty)
	}
	return err
}

// statesText lists tenants by state: "; 12 switched, 1 failed".
func statesText(p *tmsv1.PartProgress) string {
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(p.GetStates())) {
		parts = append(parts, fmt.Sprintf("%d %s", p.GetStates()[state], state))
	}
	return "; " + strings.Join(parts, ", ")
}

func (a *app) upgradeEventsCommand() *cobra.Command {
	var token string
	var once bool
	cmd := &cobra.Command{
		Use: "events [ROLLOUT]", Short: "Follow what happens to rollouts, as it happens, with tokens to go on by",
		Long: `Follow what happens to rollouts, as it happens.

First come the rollouts that have not ended, then "synced", then every event,
one a line, until it is interrupted. A lost connection is taken up where it
broke. With -o json every line is one message with its resume_token, with which
a later command goes on by --resume; they tell how far rollouts are, too.`,
		Args: cobra.MaximumNArgs(1),
	}
	cmd.RunE = a.remote(func(ctx context.Context, _ *cobra.Command, args []string, s *session) error {
		w := &rolloutEvents{session: s, out: a.out, once: once, request: &tmsv1.WatchRolloutsRequest{ResumeToken: token}}
		if len(args) == 1 {
			w.request.RolloutId = args[0]
		}
		return s.outlive(ctx, a.err, w.follow)
	})
	cmd.Flags().StringVar(&token, "resume", "", "go on behind the message with this resume_token")
	cmd.Flags().BoolVar(&once, "once", false, "end at \"synced\", or with --resume at the first sign that nothing waits")
	return cmd
}

// rolloutEvents prints what happens to rollouts.
type rolloutEvents struct {
	*session
	request *tmsv1.WatchRolloutsRequest
	out     io.Writer
	once    bool
}

// follow prints one stream; no error says that enough was seen.
func (w *rolloutEvents) follow(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.session.progress.Watch(ctx, w.request)
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
		if k := m.GetKind(); w.once && k != "present" && k != "event" {
			return heard, nil
		}
	}
}

func (w *rolloutEvents) print(m *tmsv1.WatchRolloutsResponse) error {
	if w.json {
		raw, err := tmsv1.JSON(m)
		if err == nil {
			_, err = fmt.Fprintf(w.out, "%s\n", raw)
		}
		return err
	}
	e, r := m.GetEvent(), m.GetRollout()
	var line string
	switch m.GetKind() {
	case "bookmark", "progress":
		return nil
	case "event":
		tenant, _ := e.GetData().AsMap()["tenant"].(string)
		line = strings.Join([]string{stamp(e.GetTime()), e.GetType(), e.GetSubject(), tenant, eventText(e)}, "  ")
	case "present":
		line = strings.Join([]string{"present", r.GetId(), r.GetState(), r.GetToRelease(), partText(m.GetProgress().GetFleet())}, "  ")
	default:
		line = m.GetKind()
	}
	_, err := fmt.Fprintln(w.out, strings.TrimRight(line, " "))
	return err
}
