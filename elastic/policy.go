package elastic

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/upgrader"
)

// NativePolicies implements backups.NativePolicies: Elasticsearch's snapshot
// lifecycle management (x-pack) or OpenSearch's snapshot management (a
// plugin). A distribution without them has none.
func (c *Client) NativePolicies(ctx context.Context) ([]backups.NativePolicy, error) {
	id, err := c.identify(ctx)
	if err != nil {
		return nil, err
	}
	read := c.slmPolicies
	if id.Product == OpenSearch {
		read = c.smPolicies
	}
	found, err := read(ctx)
	if noSuchRoute(err) {
		return nil, nil
	}
	slices.SortFunc(found, func(a, b backups.NativePolicy) int { return strings.Compare(a.Name, b.Name) })
	return found, err
}

// noSuchRoute says that the engine does not know the path: it lacks the
// feature. Engines take an unknown path for an index, or say that they have no
// handler.
func noSuchRoute(err error) bool {
	var e *upgrader.EngineError
	return errors.As(err, &e) && slices.Contains([]int{http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed}, e.Status)
}

func millis(n int64) (t time.Time) {
	if n > 0 {
		t = time.UnixMilli(n).UTC()
	}
	return t
}

// slmRun is how SLM tells the end of a run.
type slmRun struct {
	Snapshot string          `json:"snapshot_name"`
	Time     int64           `json:"time"`
	Details  json.RawMessage `json:"details"`
}

func (r *slmRun) outcome(ok bool) *backups.Outcome {
	if r == nil {
		return nil
	}
	o := &backups.Outcome{Run: r.Snapshot, At: millis(r.Time), OK: ok}
	if !ok {
		var text string
		if json.Unmarshal(r.Details, &text) != nil {
			text = string(r.Details)
		}
		o.Reason = shortened(text)
	}
	return o
}

func (c *Client) slmPolicies(ctx context.Context) ([]backups.NativePolicy, error) {
	var body map[string]struct {
		Policy struct {
			Schedule   string `json:"schedule"`
			Repository string `json:"repository"`
		} `json:"policy"`
		Next    int64   `json:"next_execution_millis"`
		Success *slmRun `json:"last_success"`
		Failure *slmRun `json:"last_failure"`
	}
	err := c.do(ctx, call{op: "list policies of snapshot lifecycle management", request: fixed(request{method: http.MethodGet, path: "/_slm/policy"})}, &body)
	if err != nil {
		return nil, err
	}
	var out []backups.NativePolicy
	for name, p := range body {
		out = append(out, backups.NativePolicy{
			Name: name, Kind: "slm", Schedule: p.Policy.Schedule, Repository: p.Policy.Repository, NextAt: millis(p.Next),
			LastSuccess: p.Success.outcome(true), LastFailure: p.Failure.outcome(false),
		})
	}
	return out, nil
}

// smState is what the explanation of snapshot management tells of a policy.
type smState struct {
	Name     string `json:"name"`
	Creation struct {
		Trigger struct {
			Time int64 `json:"time"`
		} `json:"trigger"`
		Latest *struct {
			Status string `json:"status"`
			End    int64  `json:"end_time"`
			Info   struct {
				Message string `json:"message"`
			} `json:"info"`
		} `json:"latest_execution"`
	} `json:"creation"`
}

// addTo puts next run and last outcome into p.
func (s smState) addTo(p *backups.NativePolicy) {
	p.NextAt = millis(s.Creation.Trigger.Time)
	last := s.Creation.Latest
	switch {
	case last == nil || last.End == 0: // none, or it runs
	case last.Status == "SUCCESS":
		p.LastSuccess = &backups.Outcome{At: millis(last.End), OK: true}
	default:
		p.LastFailure = &backups.Outcome{At: millis(last.End), Reason: shortened(last.Status + ": " + last.Info.Message)}
	}
}

func (c *Client) smPolicies(ctx context.Context) ([]backups.NativePolicy, error) {
	const path = "/_plugins/_sm/policies"
	var body struct {
		Policies []struct {
			Policy struct {
				Name     string `json:"name"`
				Creation struct {
					Schedule struct {
						Cron struct {
							Expression string `json:"expression"`
							Zone       string `json:"timezone"`
						} `json:"cron"`
					} `json:"schedule"`
				} `json:"creation"`
				Config struct {
					Repository string `json:"repository"`
				} `json:"snapshot_config"`
			} `json:"sm_policy"`
		} `json:"policies"`
	}
	err := c.do(ctx, call{op: "list policies of snapshot management", request: fixed(request{
		method: http.MethodGet, path: path, query: query("size", "1000"),
	})}, &body)
	if err != nil || len(body.Policies) == 0 {
		return nil, err
	}
	var states struct {
		Policies []smState `json:"policies"`
	}
	err = c.do(ctx, call{op: "explain policies of snapshot management", request: fixed(request{method: http.MethodGet, path: path + "/*/_explain"})}, &states)
	if err != nil {
		return nil, err
	}
	var out []backups.NativePolicy
	for _, b := range body.Policies {
		p := backups.NativePolicy{
			Name: b.Policy.Name, Kind: "sm", Repository: b.Policy.Config.Repository,
			Schedule: strings.TrimSpace(b.Policy.Creation.Schedule.Cron.Expression + " " + b.Policy.Creation.Schedule.Cron.Zone),
		}
		for _, s := range states.Policies {
			if s.Name == p.Name {
				s.addTo(&p)
			}
		}
		out = append(out, p)
	}
	return out, nil
}
