package cli

import (
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// maxBars is how many tenants get a bar at once, so that a terminal of 24
// lines holds them.
const maxBars = 16

// bars shows a bar per tenant in flight, one for the fleet below, and above
// them a line per tenant that has ended.
type bars struct {
	all     *mpb.Progress
	fleet   *mpb.Bar
	share   atomic.Pointer[string] // how far the fleet is
	line    *mpb.Bar               // below it, without a bar
	summary atomic.Pointer[string] // state of the rollout
	shared  bool                   // the fleet's bar shows work, no longer documents
	tenants map[string]*tenantBar
	waves   map[int32]*tenantBar
	indices map[string]*tenantBar // of tenants that are alone
	printed map[string]bool       // tenants whose end has been printed
}

type tenantBar struct {
	bar  *mpb.Bar
	text atomic.Pointer[string]
	base string // what is told without pace and time
	pace string
}

func (t *tenantBar) say() {
	line := t.base + t.pace
	t.text.Store(&line)
}

func newBars(out io.Writer, options ...mpb.ContainerOption) *bars {
	options = append(options, mpb.WithOutput(out), mpb.WithWidth(32))
	b := &bars{all: mpb.New(options...), tenants: map[string]*tenantBar{}, waves: map[int32]*tenantBar{}, indices: map[string]*tenantBar{}, printed: map[string]bool{}}
	b.fleet = b.all.AddBar(0, mpb.BarPriority(lastBar), mpb.PrependDecorators(decor.Name("fleet ", decor.WCSyncWidthR)), mpb.AppendDecorators(text(&b.share)))
	b.line = b.all.New(0, mpb.NopStyle(), mpb.BarPriority(lastBar+1), mpb.PrependDecorators(text(&b.summary)))
	return b
}

func text(p *atomic.Pointer[string]) decor.Decorator {
	return decor.Any(func(decor.Statistics) string {
		if s := p.Load(); s != nil {
			return " " + *s
		}
		return ""
	})
}

func (b *bars) update(r *tmsv1.Rollout) {
	var done, total int64
	for _, t := range r.GetTenants() {
		if ended(t) {
			done += t.GetDocumentsTotal() + 1
		} else {
			done += min(t.GetDocuments(), t.GetDocumentsTotal())
		}
		// A tenant counts for one document more than it has: empty ones are
		// work too.
		total += t.GetDocumentsTotal() + 1
		b.updateTenant(t)
	}
	summary := fmt.Sprintf("%s: %s, %s%s", r.GetState(), tally(r), seconds(r.GetSeconds()), withReason(r.GetReason()))
	b.summary.Store(&summary)
	if !b.shared {
		b.fleet.SetTotal(total, false)
		b.fleet.SetCurrent(done)
	}
}

func (b *bars) updateTenant(t *tmsv1.RolloutTenant) {
	id := t.GetTenantId()
	shown := b.tenants[id]
	switch {
	case ended(t):
		if shown != nil {
			shown.bar.Abort(true)
			delete(b.tenants, id)
		}
		if !b.printed[id] {
			b.printed[id] = true
			b.note(tenantLine(t))
		}
		return
	case t.GetState() == "planned":
		return
	}
	delete(b.printed, id) // a retried tenant ends again
	if shown == nil {
		if len(b.tenants) >= maxBars {
			return
		}
		shown = &tenantBar{}
		shown.bar = b.all.AddBar(0, mpb.PrependDecorators(decor.Name(id+" ", decor.WCSyncWidthR)), mpb.AppendDecorators(text(&shown.text)))
		b.tenants[id] = shown
	}
	shown.base = fmt.Sprintf("%s %s/%s%s", t.GetState(), grouped(t.GetDocuments()), grouped(t.GetDocumentsTotal()), withReason(t.GetReason()))
	shown.say()
	shown.bar.SetTotal(max(t.GetDocumentsTotal(), 1), false)
	shown.bar.SetCurrent(min(t.GetDocuments(), t.GetDocumentsTotal()))
}

func (b *bars) note(text string) {
	_, _ = fmt.Fprintln(b.all, text)
}

func (b *bars) close() {
	for _, all := range []map[string]*tenantBar{b.tenants, b.indices} {
		for _, t := range all {
			t.bar.Abort(true)
		}
	}
	for _, w := range b.waves {
		w.bar.Abort(true)
	}
	b.fleet.Abort(false)
	b.line.Abort(false)
	b.all.Wait()
}

// lastBar is the place of the fleet's bar, with the state of the rollout in the
// line below; waves stand above it, in their order, and indices above those.
const (
	lastBar  = 1 << 20
	waveBars = lastBar / 2
	indexBar = lastBar / 4
	// mostIndices of a tenant get a bar of their own, while no more than
	// fewTenants are in flight.
	mostIndices = 6
	fewTenants  = 2
)

// progress shows paces, what is left, and standstills.
func (b *bars) progress(p *tmsv1.RolloutProgress) {
	share := shareText(p.GetFleet())
	b.share.Store(&share)
	b.shared = true
	b.fleet.SetTotal(shareSteps, false)
	b.fleet.SetCurrent(int64(p.GetFleet().GetShare() * shareSteps))
	for _, w := range p.GetWaves() {
		b.wave(w)
	}
	var running []string
	for _, t := range p.GetTenants() {
		shown := b.tenants[t.GetTenantId()]
		if shown == nil {
			continue
		}
		shown.pace = paceText(t)
		shown.say()
		if len(b.tenants) <= fewTenants {
			for _, ix := range t.GetIndices() {
				if len(running) < mostIndices && ix.GetState() == "copying" {
					running = append(running, ix.GetTarget())
					b.index(ix)
				}
			}
		}
	}
	for target, shown := range b.indices {
		if !slices.Contains(running, target) {
			shown.bar.Abort(true)
			delete(b.indices, target)
		}
	}
}

func (b *bars) wave(w *tmsv1.PartProgress) {
	shown := b.waves[w.GetWave()]
	if shown == nil {
		shown = &tenantBar{}
		shown.bar = b.all.AddBar(int64(shareSteps), mpb.BarPriority(waveBars+int(w.GetWave())),
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("wave %d ", w.GetWave()), decor.WCSyncWidthR)), mpb.AppendDecorators(text(&shown.text)))
		b.waves[w.GetWave()] = shown
	}
	shown.base = shareText(w)
	shown.say()
	shown.bar.SetCurrent(int64(w.GetShare() * shareSteps))
}

// shareSteps is how finely a share is drawn.
const shareSteps = 1000

func (b *bars) index(ix *tmsv1.IndexProgress) {
	shown := b.indices[ix.GetTarget()]
	if shown == nil {
		shown = &tenantBar{}
		shown.bar = b.all.AddBar(0, mpb.BarPriority(indexBar), mpb.PrependDecorators(decor.Name("  "+ix.GetTarget()+" ", decor.WCSyncWidthR)), mpb.AppendDecorators(text(&shown.text)))
		b.indices[ix.GetTarget()] = shown
	}
	a := ix.GetAmount()
	shown.base = fmt.Sprintf("%s/%s%s", grouped(a.GetDocuments()), grouped(a.GetDocumentsTotal()), perSecond(a))
	if n := ix.GetRestarts(); n > 0 {
		shown.base += fmt.Sprintf(", stood still and was started again %d times", n)
	}
	shown.say()
	shown.bar.SetTotal(max(a.GetDocumentsTotal(), 1), false)
	shown.bar.SetCurrent(min(a.GetDocuments(), a.GetDocumentsTotal()))
}
