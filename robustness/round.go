package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// endsWithin bounds the time in which all rollouts end by themselves once
// nothing goes wrong any more: a backoff of half a minute, a lease, and the
// upgrade itself.
const endsWithin = 3 * time.Minute

// run raises an installation, plays rounds until length or kills are reached
// or something is found, and reports.
func run(ctx context.Context, opts options, j *journal) (report *report, err error) {
	report = newReport(opts)
	j.note("robustness", "seed", opts.seed, "processes", opts.processes, "tenants", opts.tenants, "nodes", opts.nodes, "faults", fmt.Sprint(opts.faults))
	s, err := raise(ctx, opts, j)
	defer func() {
		report.finish(s)
		keep := ""
		if opts.keep || err != nil || len(report.Findings) > 0 {
			keep = fmt.Sprintf("robustness-%d", opts.seed)
			report.Kept = keep
		}
		err = errors.Join(err, s.close(keep))
	}()
	if err != nil {
		return report, fmt.Errorf("installation: %w", err)
	}
	j.note("installation is up")
	var spent time.Duration
	for n := 1; len(report.Findings) == 0; n++ {
		if opts.kills > 0 && s.kills.Load() >= int64(opts.kills) || opts.kills == 0 && spent >= opts.length {
			break
		}
		length := opts.round
		if opts.kills == 0 {
			length = min(length, opts.length-spent)
		}
		took, err := s.play(ctx, n, length, report)
		if err != nil {
			return report, fmt.Errorf("round %d: %w", n, err)
		}
		spent += took
	}
	return report, nil
}

// play is one round: forth, or back when the tenants are there, under faults;
// then calm, the end, and the judgement.
func (s *site) play(ctx context.Context, n int, length time.Duration, report *report) (spent time.Duration, err error) {
	s.round.Store(int64(n))
	strikes := schedule(s.opts.seed, n, length, s.opts.faults, s.opts.processes, s.opts.nodes)
	began := time.Now()
	// The command itself meets the faults too.
	stormy, calm := context.WithCancel(ctx)
	defer calm()
	var storm sync.WaitGroup
	storm.Go(func() { s.strikeAll(stormy, strikes, report) })
	err = s.goSomewhere(ctx, n, report)
	if err == nil {
		err = s.awaitEnd(ctx, began.Add(length))
	}
	calm()
	storm.Wait()
	spent = time.Since(began)
	if err != nil {
		return spent, err
	}
	s.journal.note("calm", "round", n, "after", spent.Round(time.Millisecond).String())
	quiet := time.Now()
	if err := s.bringToEnd(ctx, report); err != nil {
		return spent, err
	}
	report.EndedAfter = append(report.EndedAfter, time.Since(quiet))
	return spent, s.judge(ctx, report)
}

// goSomewhere gives the command of the round. Every other round goes back,
// where there is something to go back from.
func (s *site) goSomewhere(ctx context.Context, n int, report *report) error {
	ctx, cancel := context.WithTimeout(ctx, endsWithin)
	defer cancel()
	if n%2 == 0 {
		some, err := s.goBack(ctx)
		if err != nil || some {
			s.journal.note("round", "number", n, "goes", "back", "error", fmt.Sprint(err))
			report.Back++
			return err
		}
	}
	hold := n%4 == 3
	r, err := s.start(ctx, fmt.Sprintf("round-%d-%d", s.opts.seed, n), hold)
	s.journal.note("round", "number", n, "goes", "forth", "rollout", r.GetId(), "hold", hold, "error", fmt.Sprint(err))
	report.Forth++
	var refused *refusal
	if errors.As(err, &refused) && s.excused("shards", "second", "operator", "watermark") {
		return nil // refused with reasons; nothing has begun
	}
	return err
}

// awaitEnd waits until no rollout is active or the time is up. While it waits
// the switch is allowed where it was held, so that something happens.
func (s *site) awaitEnd(ctx context.Context, until time.Time) error {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for looks := 1; time.Now().Before(until); looks++ {
		working, err := s.working(ctx)
		if err == nil && working == 0 {
			return nil
		}
		if looks%40 == 0 {
			s.allowSwitch(ctx)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// allowSwitch is the operator's go for tenants that wait for it, once.
func (s *site) allowSwitch(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fickleLimit)
	defer cancel()
	list, err := s.rollouts(ctx)
	if err != nil {
		return
	}
	for _, r := range active(list) {
		if r.GetOptions().GetHoldSwitch() {
			s.journal.note("go ahead", "rollout", r.GetId(), "answer", fmt.Sprint(s.command(ctx, r.GetId(), "switch")))
		}
	}
}

// strikeAll carries out the schedule and heals everything before it returns.
func (s *site) strikeAll(ctx context.Context, strikes []strike, report *report) {
	began := time.Now()
	var under sync.WaitGroup
	defer under.Wait()
	for _, k := range strikes {
		if !sleep(ctx, time.Until(began.Add(k.At))) {
			return
		}
		under.Go(func() {
			if err := s.strike(ctx, k, report); err != nil {
				report.trouble(fmt.Errorf("%s: %w", k, err))
			}
		})
	}
	<-ctx.Done()
}

// strike inflicts one fault and heals it in time, or when the storm is over.
func (s *site) strike(ctx context.Context, k strike, report *report) error {
	// The repair of the one before may take longer than the schedule thinks.
	thing, _ := s.hit.LoadOrStore(faultByName(k.Fault).thing(k.Target), &sync.Mutex{})
	one, ok := thing.(*sync.Mutex)
	if !ok || !one.TryLock() {
		s.journal.note("left out, still being repaired", "fault", k.Fault, "target", k.Target)
		return nil
	}
	defer one.Unlock()
	ended := time.Now().Add(k.For)
	report.count(k.Fault)
	s.journal.note("strike", "fault", k.Fault, "target", k.Target, "for", k.For.Round(time.Millisecond).String())
	// What has begun is finished: a fault half inflicted could not be healed.
	hctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healLimit+k.For)
	defer cancel()
	heal, err := faultByName(k.Fault).inflict(hctx, s, k)
	if heal == nil {
		return err
	}
	sleep(ctx, time.Until(ended))
	err = errors.Join(err, heal(hctx))
	s.journal.note("healed", "fault", k.Fault, "target", k.Target)
	return err
}

// sleep waits; false means that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// excused says whether one of these faults is part of the run.
func (s *site) excused(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(s.opts.faults, n) })
}

// bringToEnd waits for the end of all rollouts. It helps only where somebody
// has meddled: an operator who paused has to resume, who held has to let go,
// and a tenant that failed for a reason that is gone has to be tried again.
func (s *site) bringToEnd(ctx context.Context, report *report) error {
	ctx, cancel := context.WithTimeout(ctx, endsWithin)
	defer cancel()
	retried := map[string]bool{}
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		list, err := s.rollouts(ctx)
		if err != nil {
			return fmt.Errorf("rollouts: %w", err)
		}
		again, err := s.help(ctx, list, retried, report)
		if err != nil {
			return err
		}
		if len(active(list)) == 0 && !again {
			return nil
		}
		select {
		case <-ctx.Done():
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return ctx.Err() // the run is broken off: that is nothing found
			}
			for _, r := range active(list) {
				report.find(Finding{Rule: "ends by itself", What: fmt.Sprintf("after %s of calm: %s", endsWithin, describe(r))})
			}
			return nil
		case <-tick.C:
		}
	}
}

// help does what only an operator can do. True means that something was done.
func (s *site) help(ctx context.Context, list []*tmsv1.Rollout, retried map[string]bool, report *report) (bool, error) {
	done := false
	for i, r := range list {
		var command string
		switch {
		case r.GetState() == "paused":
			command = "resume"
		case r.GetState() == "running" && r.GetOptions().GetHoldSwitch():
			command = "switch"
		case r.GetState() == "failed" && i == 0 && !retried[r.GetId()]:
			if !slices.ContainsFunc(catalogue, func(f fault) bool { return f.excuse && s.excused(f.name) }) {
				report.find(Finding{Rule: "no operator needed", What: describe(r)})
				return false, nil
			}
			command, retried[r.GetId()] = "retry", true
		case r.GetState() == "failed" && i == 0:
			report.find(Finding{Rule: "a retry helps when the reason is gone", What: describe(r)})
			return false, nil
		default:
			continue
		}
		err := s.command(ctx, r.GetId(), command)
		var refused *refusal
		if err != nil && !errors.As(err, &refused) {
			return done, err
		}
		if command != "switch" {
			s.journal.note("help", "command", command, "rollout", r.GetId(), "reason", describe(r), "answer", fmt.Sprint(err))
			done = true
		}
	}
	return done, nil
}

func describe(r *tmsv1.Rollout) string {
	text := fmt.Sprintf("rollout %s is %s", r.GetId(), r.GetState())
	for _, t := range r.GetTenants() {
		text += fmt.Sprintf("; %s %s (%s)", t.GetTenantId(), t.GetState(), t.GetReason())
	}
	return text
}
