package upgrader

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/upgrader/naming"
	"github.com/tracardi/tms/upgrader/strategy"
)

// Probes make the checks between waves.
type Probes interface {
	// CheckAddress says what is wrong with an address before it is used.
	CheckAddress(url string) error
	// Get asks an address; body is the first 64 KiB of the answer. An error
	// holds no part of the address.
	Get(ctx context.Context, url string) (status int, body string, err error)
	// Ask posts a question to a webhook of the operator's and returns its
	// answer: whether to go on, and why not.
	Ask(ctx context.Context, url string, q WaveQuestion) (yes bool, why string, err error)
}

// WaveQuestion is what a webhook is asked.
type WaveQuestion struct {
	Rollout   string   `json:"rollout"`
	ToRelease string   `json:"to_release"`
	Wave      int      `json:"wave"`
	WaveName  string   `json:"wave_name"`
	Tenants   []string `json:"tenants"` // of the wave, that are on the new release
}

// Bounds of checks.
const (
	// probeTimeout bounds one question.
	probeTimeout = 10 * time.Second
	// roundTimeout bounds a round of all checks of a wave, claimFor is how
	// long a process has the right to make one.
	roundTimeout = 45 * time.Second
	claimFor     = 60 * time.Second
	// roundEvery is the pause between rounds that did not pass.
	roundEvery = 5 * time.Second
	// probesAtOnce are asked at the same time.
	probesAtOnce = 8
	// namedTenants are told by name when a check does not pass.
	namedTenants = 3
)

// checkWaves makes a round of checks where one is due; made when it did.
func (r *Runner) checkWaves(ctx context.Context, v *View) (made bool, err error) {
	if v.Rollout.Wish != WishRun || v.Rollout.State.Ended() {
		return false, nil
	}
	for i := range v.Rollout.Waves {
		w := &v.Rollout.Waves[i]
		if w.State != WaveChecking || w.CheckUntil.IsZero() || w.passed() || !r.calendar().Before(w.CheckUntil) {
			continue
		}
		if len(w.Checks) > 0 && r.calendar().Sub(w.Checks[0].At) < roundEvery {
			continue
		}
		mine, err := r.store.ClaimChecks(ctx, v.Rollout.ID, w.Number, claimFor)
		if err != nil || !mine {
			return false, err
		}
		tenants, err := r.store.WaveTenants(ctx, v.Rollout.ID, w.Number)
		if err != nil {
			return false, err
		}
		results := r.round(ctx, v.Rollout, w, tenants)
		return true, r.store.SaveChecks(ctx, v.Rollout.ID, w.Number, results)
	}
	return false, nil
}

// round makes all checks of a wave, one after the other.
func (r *Runner) round(ctx context.Context, ro *Rollout, w *Wave, tenants []FleetTenant) []CheckResult {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	at := r.calendar()
	var out []CheckResult
	for i, c := range w.Rule.Between.Checks {
		res := CheckResult{Name: c.Title(i), At: at}
		res.OK, res.Text = r.check(ctx, ro, w, c, tenants)
		out = append(out, res)
		r.log.Info("check", "rollout", ro.ID, "wave", w.Number, "check", res.Name, "ok", res.OK, "text", res.Text)
	}
	return out
}

func (r *Runner) check(ctx context.Context, ro *Rollout, w *Wave, c strategy.Check, tenants []FleetTenant) (ok bool, text string) {
	switch {
	case c.Query == nil && r.gates.Probes == nil:
		return false, "this process makes no checks"
	case c.Webhook != nil:
		return r.askWebhook(ctx, ro, w, c.Webhook, tenants)
	case c.HTTP != nil:
		return eachTenant(ctx, tenants, func(ctx context.Context, t FleetTenant) string { return r.probe(ctx, c.HTTP, t) })
	case c.Query != nil:
		return eachTenant(ctx, tenants, func(ctx context.Context, t FleetTenant) string { return r.query(ctx, c.Query, t) })
	}
	return false, "the check is of no known kind"
}

func (r *Runner) askWebhook(ctx context.Context, ro *Rollout, w *Wave, c *strategy.WebhookCheck, tenants []FleetTenant) (bool, string) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	q := WaveQuestion{Rollout: ro.ID, ToRelease: ro.ToRelease, Wave: w.Number, WaveName: w.Name, Tenants: []string{}}
	for _, t := range tenants {
		q.Tenants = append(q.Tenants, t.ID)
	}
	yes, why, err := r.gates.Probes.Ask(ctx, c.URL, q)
	switch {
	case err != nil:
		return false, err.Error()
	case !yes:
		return false, cmp.Or(why, "the answer is no")
	}
	return true, "the answer is yes"
}

// eachTenant asks about every tenant, several at once; ask says what is wrong.
func eachTenant(ctx context.Context, tenants []FleetTenant, ask func(context.Context, FleetTenant) string) (bool, string) {
	var mu sync.Mutex
	var wrong []string
	bad := 0
	var g errgroup.Group
	g.SetLimit(probesAtOnce)
	for _, t := range tenants {
		g.Go(func() error {
			pctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			why := ask(pctx, t)
			if why == "" {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			if bad++; len(wrong) < namedTenants {
				wrong = append(wrong, "tenant "+t.ID+": "+why)
			}
			return nil
		})
	}
	_ = g.Wait() // nobody returns an error
	if bad == 0 {
		return true, fmt.Sprintf("right for %d tenants", len(tenants))
	}
	text := strings.Join(wrong, "; ")
	if bad > len(wrong) {
		text += fmt.Sprintf("; and %d more", bad-len(wrong))
	}
	return false, text
}

// probe asks one tenant's address; "" when all is right.
func (r *Runner) probe(ctx context.Context, c *strategy.HTTPCheck, t FleetTenant) string {
	url, err := c.Address(strategy.Tenant{ID: t.ID, Labels: t.Labels})
	if err != nil {
		return err.Error()
	}
	status, body, err := r.gates.Probes.Get(ctx, url)
	if err != nil {
		return err.Error()
	}
	if !c.Right(status) {
		return fmt.Sprintf("answered %d", status)
	}
	if c.Contains != "" && !strings.Contains(body, c.Contains) {
		return fmt.Sprintf("the answer does not contain %q", c.Contains)
	}
	return ""
}

// query counts one tenant's documents; "" when the number is right.
func (r *Runner) query(ctx context.Context, c *strategy.QueryCheck, t FleetTenant) string {
	mode := naming.Production
	if c.Environment == "staging" {
		mode = naming.Staging
	}
	var match json.RawMessage
	if len(c.Match) > 0 {
		match, _ = json.Marshal(c.Match) // Problems has tried it
	}
	n, err := r.matching(ctx, t, mode, c.Alias, match)
	switch {
	case err != nil:
		return err.Error()
	case c.AtLeast != nil && n < *c.AtLeast:
		return fmt.Sprintf("%d documents match, at least %d should", n, *c.AtLeast)
	case c.AtMost != nil && n > *c.AtMost:
		return fmt.Sprintf("%d documents match, at most %d should", n, *c.AtMost)
	}
	return ""
}

func (r *Runner) matching(ctx context.Context, t FleetTenant, m naming.Mode, base string, match json.RawMessage) (int64, error) {
	engine, err := r.engines.For(ctx, cmp.Or(t.Cluster, DefaultCluster))
	if err != nil {
		return 0, err
	}
	counter, ok := engine.(Matcher)
	if !ok {
		return 0, errors.New("this process counts no documents")
	}
	return counter.CountMatching(ctx, naming.IndexName{Mode: m, Tenant: t.ID, Base: base}.Alias(), match)
}
