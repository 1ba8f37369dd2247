package cli

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// progress shows a rollout as it goes on. Not safe for concurrent use.
type progress interface {
	update(*tmsv1.Rollout)
	note(text string)
	close()
}

// newProgress is bars on a terminal and lines elsewhere.
func (a *app) newProgress() progress {
	if isTerminal(a.err) {
		return newBars(a.err)
	}
	return &lines{out: a.err, seen: map[string]string{}}
}

// lines prints one line per change of state, for logs.
type lines struct {
	out  io.Writer
	seen map[string]string // tenant -> what was printed last
}

func (l *lines) update(r *tmsv1.Rollout) {
	if text := r.GetState() + withReason(r.GetReason()); l.seen[""] != text {
		l.seen[""] = text
		l.print("rollout " + r.GetId() + ": " + text)
	}
	for _, t := range r.GetTenants() {
		key := t.GetState() + withReason(t.GetReason())
		if l.seen[t.GetTenantId()] == key {
			continue
		}
		l.seen[t.GetTenantId()] = key
		l.print(tenantLine(t))
	}
}

func (l *lines) note(text string) { l.print(text) }

func (l *lines) close() {}

func (l *lines) print(text string) {
	_, _ = fmt.Fprintln(l.out, time.Now().UTC().Format(time.TimeOnly), text)
}

func withReason(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// tenantLine says in a line where a tenant stands.
func tenantLine(t *tmsv1.RolloutTenant) string {
	text := t.GetTenantId() + " " + t.GetState()
	switch {
	case t.GetState() == "switched" && t.GetVerification() != nil:
		text += fmt.Sprintf(": %d indices, %d documents, fence %s, %s: %s, %s", t.GetIndices(), t.GetDocuments(),
			milliseconds(t.GetFenceMs()), t.GetVerification().GetLevel(), t.GetVerification().GetVerdict(), seconds(t.GetSeconds()))
	case !ended(t) && t.GetDocumentsTotal() > 0:
		text += fmt.Sprintf(", %d of %d documents", t.GetDocuments(), t.GetDocumentsTotal())
	}
	if t.GetQuarantined() > 0 {
		text += fmt.Sprintf(", %d in quarantine", t.GetQuarantined())
	}
	return text + withReason(reasonOf(t))
}

// reasonOf is a tenant's reason; after a rollback it says what came back.
func reasonOf(t *tmsv1.RolloutTenant) string {
	back := t.GetWayBack()
	if t.GetReason() != "" || back == nil || t.GetState() != "rolled_back" {
		return t.GetReason()
	}
	text := fmt.Sprintf("%d documents carried back, %d deleted, fence %s", back.GetCarried(), back.GetDeleted(), milliseconds(back.GetFenceMs()))
	if n := back.GetNotCarried(); n > 0 {
		text += fmt.Sprintf("; %d in quarantine as not_carried_back", n)
	}
	if n := len(back.GetKept()); n > 0 {
		text += fmt.Sprintf("; %d indices without a place in the old release stay", n)
	}
	return text
}

// maxBars is how many tenants get a bar at once, so that a terminal of 24
// lines holds them.
const maxBars = 16

// bars shows a bar per tenant in flight, one for the fleet below, and above
// them a line per tenant that has ended.
type bars struct {
	all     *mpb.Progress
	fleet   *mpb.Bar
	summary atomic.Pointer[string]
	tenants map[string]*tenantBar
	printed map[string]bool // tenants whose end has been printed
}

type tenantBar struct {
	bar  *mpb.Bar
	text atomic.Pointer[string]
}

func newBars(out io.Writer, options ...mpb.ContainerOption) *bars {
	options = append(options, mpb.WithOutput(out), mpb.WithWidth(32))
	b := &bars{all: mpb.New(options...), tenants: map[string]*tenantBar{}, printed: map[string]bool{}}
	b.fleet = b.all.AddBar(0, mpb.BarPriority(1<<20), mpb.PrependDecorators(decor.Name("fleet ")), mpb.AppendDecorators(text(&b.summary)))
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
	b.fleet.SetTotal(total, false)
	b.fleet.SetCurrent(done)
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
	line := fmt.Sprintf("%s %d/%d%s", t.GetState(), t.GetDocuments(), t.GetDocumentsTotal(), withReason(t.GetReason()))
	shown.text.Store(&line)
	shown.bar.SetTotal(max(t.GetDocumentsTotal(), 1), false)
	shown.bar.SetCurrent(min(t.GetDocuments(), t.GetDocumentsTotal()))
}

func (b *bars) note(text string) {
	_, _ = fmt.Fprintln(b.all, text)
}

func (b *bars) close() {
	for _, t := range b.tenants {
		t.bar.Abort(true)
	}
	b.fleet.Abort(false)
	b.all.Wait()
}
