package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// progress shows a rollout as it goes on. Not safe for concurrent use.
type progress interface {
	update(*tmsv1.Rollout)
	// progress shows paces and what is left.
	progress(*tmsv1.RolloutProgress)
	note(text string)
	close()
}

// newProgress is bars on a terminal and lines elsewhere.
func (a *app) newProgress() progress {
	if isTerminal(a.err) {
		return newBars(a.err)
	}
	return &lines{out: a.err, seen: map[string]string{}, every: progressPause}
}

// progressPause is between lines that tell of nothing but progress.
const progressPause = 15 * time.Second

// lines prints one line per change of state, for logs, and in between one in a
// while that tells how far the whole is.
type lines struct {
	out   io.Writer
	seen  map[string]string // tenant -> what was printed last
	every time.Duration
	told  time.Time
}

func (l *lines) progress(p *tmsv1.RolloutProgress) {
	for _, t := range p.GetTenants() {
		key := "stalled " + t.GetTenantId()
		was, stalled := l.seen[key], t.GetStalled() != ""
		switch {
		case stalled && was == "":
			l.seen[key] = "stalled"
			l.print(t.GetTenantId() + " stalled: " + t.GetStalled())
		case !stalled && was != "":
			delete(l.seen, key)
			l.print(t.GetTenantId() + " goes on")
		}
	}
	if l.told.IsZero() {
		l.told = time.Now() // the first one after a while
	}
	if time.Since(l.told) < l.every {
		return
	}
	l.told = time.Now()
	l.print(partText(p.GetFleet()))
}

func (l *lines) update(r *tmsv1.Rollout) {
	if text := r.GetState() + withReason(r.GetReason()); l.seen[""] != gist(text) {
		l.seen[""] = gist(text)
		l.print("rollout " + r.GetId() + ": " + text)
	}
	for _, t := range r.GetTenants() {
		key := gist(t.GetState() + withReason(t.GetReason()))
		if l.seen[t.GetTenantId()] == key {
			continue
		}
		l.seen[t.GetTenantId()] = key
		l.print(tenantLine(t))
	}
}

// gist is a reason without its figures: a cluster that is slowed down to another
// percentage every second is one line in a log.
func gist(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
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
	if t.GetExcepted() != "" && t.GetReason() == "" {
		return "excepted: " + t.GetExcepted()
	}
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

// partText says how far a wave, or the fleet, is: "34 % of the work, 5,200
// documents/s, 10m to 14m left".
func partText(p *tmsv1.PartProgress) string {
	parts := []string{fmt.Sprintf("%.0f %% of the work", 100*p.GetShare())}
	a := p.GetAmount()
	if a.GetDocumentsTotal() > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s documents", grouped(a.GetDocuments()), grouped(a.GetDocumentsTotal())))
	}
	if a.GetBytesTotal() > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s", size(a.GetBytes()), size(a.GetBytesTotal())))
	}
	text := strings.Join(parts, ", ") + perSecond(a) + leftText(p.GetLeft())
	if n := p.GetStalled(); n > 0 {
		text += fmt.Sprintf(", %d stalled", n)
	}
	return text
}

// shareText is partText as short as a terminal of 100 columns wants it.
func shareText(p *tmsv1.PartProgress) string {
	text := fmt.Sprintf("%.0f %%", 100*p.GetShare())
	if a := p.GetAmount(); a.GetDocumentsTotal() > 0 {
		text += fmt.Sprintf(" %s/%s", grouped(a.GetDocuments()), grouped(a.GetDocumentsTotal()))
	}
	text += perSecond(p.GetAmount()) + leftText(p.GetLeft())
	if n := p.GetStalled(); n > 0 {
		text += fmt.Sprintf(", %d stalled", n)
	}
	return text
}

// paceText is what is told of a tenant beside its documents.
func paceText(t *tmsv1.TenantProgress) string {
	if t.GetStalled() != "" {
		return ", STALLED: " + t.GetStalled()
	}
	return perSecond(t.GetAmount()) + leftText(t.GetLeft())
}

func perSecond(a *tmsv1.Amount) string {
	if a.GetDocumentsPerSecond() <= 0 {
		return ""
	}
	return fmt.Sprintf(", %s/s", grouped(int64(a.GetDocumentsPerSecond())))
}

// leftText is a range, as coarse as it is known.
func leftText(l *tmsv1.TimeLeft) string {
	if l == nil {
		return ""
	}
	low, high := coarse(l.GetLowSeconds()), coarse(l.GetHighSeconds())
	if low == high {
		return ", about " + high + " left"
	}
	return ", " + low + " to " + high + " left"
}

// coarse rounds a time to what anybody can know of it beforehand.
func coarse(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return d.Round(time.Second).String()
	case d < 2*time.Minute:
		return d.Round(5 * time.Second).String()
	case d < 2*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return strings.TrimSuffix(d.Round(10*time.Minute).String(), "0s")
}

// grouped writes a number with a comma at every thousand.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// size writes bytes in the largest unit that they fill.
func size(n int64) string {
	const units = "kMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < len(units)-1 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.1f %cB", f, units[unit])
}
