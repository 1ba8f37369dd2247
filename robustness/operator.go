package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// lenient reads answers of a newer contract too.
var lenient = protojson.UnmarshalOptions{DiscardUnknown: true}

// insist repeats a call to one process after the other until one answers. What
// is refused (400 to 499 but too many) is an answer. Every call here may be
// repeated.
func (s *site) insist(ctx context.Context, method, path string, in any, out proto.Message) error {
	n := 0
	return s.eventuallyUnlessRefused(ctx, func() error {
		raw, err := s.ask(ctx, n%len(s.processes), method, path, in)
		n++
		if err != nil || out == nil {
			return err
		}
		return lenient.Unmarshal(raw, out)
	})
}

func (s *site) eventuallyUnlessRefused(ctx context.Context, do func() error) error {
	var refused error
	err := s.eventually(ctx, func() error {
		err := do()
		var r *refusal
		if errors.As(err, &r) && r.status < 500 && r.status != http.StatusTooManyRequests {
			refused = err
			return nil
		}
		return err
	})
	return errors.Join(err, refused)
}

// start begins a rollout of all tenants to the new release.
func (s *site) start(ctx context.Context, requestID string, hold bool) (*tmsv1.Rollout, error) {
	r := &tmsv1.Rollout{}
	err := s.insist(ctx, http.MethodPost, "/v1/rollouts", map[string]any{
		"toRelease": newRelease, "requestId": requestID,
		"options": map[string]any{"holdSwitch": hold, "maxTenants": len(s.tenants), "fenceTimeout": "20s"},
	}, r)
	return r, err
}

// rollouts lists all, newest first.
func (s *site) rollouts(ctx context.Context) ([]*tmsv1.Rollout, error) {
	list := &tmsv1.ListRolloutsResponse{}
	err := s.insist(ctx, http.MethodGet, "/v1/rollouts?pageSize=100", nil, list)
	return list.GetRollouts(), err
}

func (s *site) command(ctx context.Context, rollout, name string) error {
	return s.insist(ctx, http.MethodPost, "/v1/rollouts/"+url.PathEscape(rollout)+":"+name, map[string]any{}, nil)
}

// fickleLimit bounds a call of an operator who does not insist.
const fickleLimit = 5 * time.Second

// meddle gives the newest rollout a command at random, once, to some process.
// Whether it arrives, or is refused, does not matter.
func meddle(ctx context.Context, s *site, k strike) (func(context.Context) error, error) {
	commands := []string{"pause", "resume", "resume", "cancel", "retry", "retry", "switch", "switch", "rollback"}
	name := commands[k.Draw%uint64(len(commands))]
	ctx, cancel := context.WithTimeout(ctx, fickleLimit)
	defer cancel()
	n := int(k.Draw>>8) % len(s.processes)
	list := &tmsv1.ListRolloutsResponse{}
	raw, err := s.ask(ctx, n, http.MethodGet, "/v1/rollouts?pageSize=1", nil)
	if err == nil {
		err = lenient.Unmarshal(raw, list)
	}
	if err != nil || len(list.GetRollouts()) == 0 {
		return nothing, nil
	}
	r := list.GetRollouts()[0]
	body := map[string]any{}
	if k.Draw>>16%2 == 0 { // one tenant only, where that can be said
		if t := s.tenants[int(k.Draw>>24)%len(s.tenants)].Name(); name != "pause" && name != "resume" {
			body["tenants"] = []string{t}
		}
	}
	_, err = s.ask(ctx, n, http.MethodPost, "/v1/rollouts/"+url.PathEscape(r.GetId())+":"+name, body)
	s.journal.note("command", "name", name, "rollout", r.GetId(), "tenants", body["tenants"], "answer", fmt.Sprint(err))
	return nothing, nil
}

// secondRollout starts another one. While the first works on a tenant it must
// be refused; the model looks in the tables whether it was (see model.go).
func secondRollout(ctx context.Context, s *site, k strike) (func(context.Context) error, error) {
	ctx, cancel := context.WithTimeout(ctx, fickleLimit)
	defer cancel()
	_, err := s.ask(ctx, int(k.Draw>>8)%len(s.processes), http.MethodPost, "/v1/rollouts", map[string]any{
		"toRelease": newRelease, "requestId": fmt.Sprintf("second-%d-%d", s.opts.seed, k.Draw),
	})
	s.journal.note("second rollout", "answer", fmt.Sprint(err))
	return nothing, nil
}

// goBack rolls back every tenant that is on the new release, through the
// rollout that brought it there.
func (s *site) goBack(ctx context.Context) (some bool, err error) {
	list, err := s.rollouts(ctx)
	if err != nil {
		return false, err
	}
	for _, r := range list {
		if !slices.ContainsFunc(r.GetTenants(), func(t *tmsv1.RolloutTenant) bool { return t.GetState() == "switched" && t.GetIndices() > 0 }) {
			continue
		}
		err := s.command(ctx, r.GetId(), "rollback")
		var refused *refusal
		switch {
		case errors.As(err, &refused): // its tenants went back before
		case err != nil:
			return some, err
		default:
			some = true
		}
	}
	return some, nil
}

// active are the rollouts in which something is still to be done.
func active(list []*tmsv1.Rollout) []*tmsv1.Rollout {
	return slices.DeleteFunc(slices.Clone(list), func(r *tmsv1.Rollout) bool {
		return r.GetState() != "running" && r.GetState() != "paused"
	})
}
