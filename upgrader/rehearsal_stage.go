package upgrader

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tracardi/tms/upgrader/budget"
	"github.com/tracardi/tms/upgrader/capacity"
	"github.com/tracardi/tms/upgrader/verify"
)

// stage is where a rehearsal plays: a store that holds one tenant in memory. A
// rehearsal whose worker dies is played again from the beginning, so nothing of
// it has to last. What a rehearsal must see of the world, such as another
// tenant's fence, it sees through the real store.
type stage struct {
	Store
	rehearsals RehearsalStore
	owner      string
	rollout    *Rollout
	account    *budget.Account // that the rehearsal spends from; may be nil

	mu         sync.Mutex
	rehearsal  *Rehearsal
	tenant     RolloutTenant
	aside      map[[2]string]Quarantined // by index and id
	mismatches map[[2]string]Mismatch
	noted      time.Time
}

func newStage(real Store, rehearsals RehearsalStore, r *Rehearsal, owner string) *stage {
	return &stage{
		Store: real, rehearsals: rehearsals, owner: owner, rehearsal: r, aside: map[[2]string]Quarantined{}, mismatches: map[[2]string]Mismatch{},
		rollout: &Rollout{
			ID: r.runID(), ToRelease: r.ToRelease, State: RolloutRunning, Wish: WishRun, CreatedBy: r.CreatedBy, CreatedAt: time.Now(),
			Options: Options{Verify: VerifyFull, AllowQuarantine: MaxQuarantine}.WithDefaults(),
		},
	}
}

// Extend implements Store.
func (s *stage) Extend(ctx context.Context, _ *Lease, ttl time.Duration) error {
	return s.rehearsals.ExtendRehearsal(ctx, s.rehearsal.ID, s.owner, ttl)
}

// Load implements Store.
func (s *stage) Load(context.Context, string, string) (*Rollout, *RolloutTenant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ro, t := *s.rollout, s.tenant
	if s.account.Stopped() != nil {
		ro.Wish = WishStop
	}
	return &ro, &t, nil
}

// SaveTenant implements Store. It lets those who wait see how far it is.
func (s *stage) SaveTenant(ctx context.Context, _ *Lease, t *RolloutTenant) error {
	s.mu.Lock()
	s.tenant = *t
	now := time.Now()
	if now.Sub(s.noted) < time.Second && s.rehearsal.Reason == t.Reason {
		s.mu.Unlock()
		return nil
	}
	s.noted = now
	s.rehearsal.Report.Documents, s.rehearsal.Reason = t.Documents, t.Reason
	shown := *s.rehearsal
	s.mu.Unlock()
	return s.rehearsals.SaveRehearsal(ctx, &shown, s.owner)
}

// TakeRoom implements Store: a rehearsal needs room now, and reserves none.
func (s *stage) TakeRoom(_ context.Context, _ *Lease, _ capacity.Need, decide func(others capacity.Need) bool) error {
	decide(capacity.Need{})
	return nil
}

// SaveMoves implements Store: they are in the session.
func (s *stage) SaveMoves(context.Context, *Lease, ...Move) error { return nil }

// AddQuarantine implements Store. Of the documents it keeps the names only.
func (s *stage) AddQuarantine(_ context.Context, _ *Lease, docs ...Quarantined) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range docs {
		d.Source = nil
		s.aside[[2]string{d.Index, d.ID}] = d
	}
	return nil
}

// DropQuarantine implements Store.
func (s *stage) DropQuarantine(_ context.Context, _ *Lease, index string, ids ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		delete(s.aside, [2]string{index, id})
	}
	return nil
}

// QuarantineSize implements VerificationStore.
func (s *stage) QuarantineSize(context.Context, string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.aside), nil
}

// SaveMismatches implements VerificationStore.
func (s *stage) SaveMismatches(_ context.Context, _ *Lease, found ...Mismatch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range found {
		if len(s.mismatches) < MaxMismatches {
			s.mismatches[[2]string{m.Target, m.ID}] = m
		}
	}
	return nil
}

// DropMismatches implements VerificationStore.
func (s *stage) DropMismatches(context.Context, *Lease) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.mismatches)
	return nil
}

// Progress implements VerificationStore: a comparison is never taken up again.
func (s *stage) Progress(context.Context, string, string, string) ([]verify.SideProgress, error) {
	return nil, nil
}

// SaveProgress implements VerificationStore.
func (s *stage) SaveProgress(context.Context, *Lease, verify.SideProgress) error { return nil }

// DropProgress implements VerificationStore.
func (s *stage) DropProgress(context.Context, *Lease, string) error { return nil }

// findings sums up what did not arrive, by kind and reason. An engine's reason
// names the document: it is cut before that, so that alike ones are counted
// together.
func (s *stage) findings() []Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := map[[2]string]*Finding{}
	add := func(kind, reason, index, id string) {
		key := [2]string{kind, kindOfReason(reason)}
		f := sum[key]
		if f == nil {
			f = &Finding{Kind: kind, Reason: reason, Index: index, ID: id}
			sum[key] = f
		}
		if index+" "+id < f.Index+" "+f.ID { // the same one every time
			f.Index, f.ID, f.Reason = index, id, reason
		}
		f.Count++
	}
	for _, d := range s.aside {
		add(string(d.Kind), d.Reason, d.Index, d.ID)
	}
	for _, m := range s.mismatches {
		add(string(m.Kind), m.reason(), realName(m.Target), m.ID)
	}
	return mostFrequent(sum, maxFindings)
}

// reason is what a mismatch has in common with others.
func (x Mismatch) reason() string {
	if x.Kind == MismatchDiffers {
		return fmt.Sprintf("fields %v", x.Fields)
	}
	return string(x.Kind) + " in the new version"
}
