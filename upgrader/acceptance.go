package upgrader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
	"github.com/tracardi/tms/upgrader/schema"
)

// What an engine does not know is found before anything is made, by asking it:
// it is given the mapping and the settings of every resource to look at, and
// every script of raw Painless to compile. Tables of what which version has
// would be wrong with the next plugin.

// acceptance remembers what engines have taken: bundles do not change, and a
// plan is asked for again and again.
type acceptance struct{ taken sync.Map }

// asksAtOnce is how many questions are under way at one engine.
const asksAtOnce = 8

// question is something that an engine is asked before anything is made.
type question struct {
	key  string // of the answer, with the cluster in front
	code string
	what string
	do   func(ctx context.Context) error
}

// acceptable adds what the engine refuses to the plan.
func (s *Service) acceptable(ctx context.Context, p *planner, e Engine) error {
	questions, err := s.questions(p, e)
	if err != nil || len(questions) == 0 {
		return err
	}
	refusals := make([]*Refusal, len(questions))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(asksAtOnce)
	for i, q := range questions {
		key := p.view.Info.ClusterUUID + " " + p.view.Info.Version + " " + q.key
		if _, known := s.accepted.taken.Load(key); known {
			continue
		}
		g.Go(func() error {
			err := q.do(gctx)
			if err == nil {
				s.accepted.taken.Store(key, true)
				return nil
			}
			words, refused := complaint(err)
			if !refused {
				return err
			}
			refusals[i] = &Refusal{Code: q.code, Message: fmt.Sprintf("%s %s refuses %s: %s", p.view.Info.Product, p.view.Info.Version, q.what, words), Remedy: remedies[q.code]}
			return nil
		})
	}
	err = g.Wait()
	for _, r := range refusals {
		if r != nil {
			p.plan.Refusals = append(p.plan.Refusals, *r)
		}
	}
	return err
}

const (
	codeIndexRefused  = "index_refused"
	codeScriptRefused = "script_refused"
)

var remedies = map[string]string{
	codeIndexRefused:  "use an engine that has it, or bring the release with another mapping for the resource",
	codeScriptRefused: "correct the script in the bundle, or rewrite it as operations, and give the bundle a further number",
}

// complaint is what an engine does not know, in its words; anything else that
// went wrong says nothing about the question.
func complaint(err error) (words string, refused bool) {
	var e *EngineError
	if !errors.As(err, &e) {
		return "", false
	}
	switch e.Status {
	case 400, 404, 405, 422: // what it does not know; 401, 403, 429 and 5xx are about something else
		return e.Reason, true
	}
	return "", false
}

// questions about all that the plan would make. Resources that need flattened
// objects where there are none are refused as such (planner.flattened).
func (s *Service) questions(p *planner, e Engine) ([]question, error) {
	var from []string
	for _, t := range p.plan.Tenants {
		if len(t.Moves) > 0 && !slices.Contains(from, t.FromRelease) {
			from = append(from, t.FromRelease)
		}
	}
	if len(from) == 0 {
		return nil, nil
	}
	var out []question
	for _, r := range p.target.Resources {
		if p.view.Info.Flattened == "" && schema.FieldOf(r.Mapping, "flattened") != "" {
			continue
		}
		out = append(out, question{
			key: p.target.Digest + " " + r.Key, code: codeIndexRefused, what: fmt.Sprintf("the indices of resource %s of %s", r.Key, p.target.Version),
			do: func(ctx context.Context) error {
				return e.CheckIndex(ctx, IndexBody{Settings: finalSettings(r, 0), Mappings: r.Mapping})
			},
		})
	}
	for _, version := range from {
		l, err := newLayout(s.catalogue, version, p.target.Version)
		if err != nil {
			return nil, err
		}
		out = append(out, l.scripts(e)...)
	}
	return out, nil
}

// scripts are those of raw Painless on the way, each once.
func (l *layout) scripts(e Engine) []question {
	var out []question
	seen := map[string]bool{}
	for _, key := range l.opaque() {
		for _, mode := range []string{releases.InStaging, releases.InProduction} {
			script, params := l.lineages[key].transform.In(mode).Painless()
			if script == "" || seen[script] {
				continue
			}
			seen[script] = true
			out = append(out, question{
				key: script, code: codeScriptRefused, what: fmt.Sprintf("the Painless of resource %s from %s to %s", key, l.from.Version, l.to.Version),
				do: func(ctx context.Context) error { return e.CheckScript(ctx, script, params) },
			})
		}
	}
	return out
}
