package strategy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Problem is one thing that is wrong with a strategy.
type Problem struct {
	Path string // "waves[1].size"
	Line int    // in the file; 0 when not known
	Text string // what is wrong, with the value, and what to write instead
}

func (p Problem) String() string {
	at := p.Path
	if p.Line > 0 {
		at = strings.TrimSuffix(fmt.Sprintf("line %d: %s", p.Line, at), ": ")
	}
	if at == "" {
		return p.Text
	}
	return at + ": " + p.Text
}

// problemList collects what is wrong.
type problemList []Problem

func (p *problemList) add(path, format string, args ...any) {
	*p = append(*p, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

// oneOf checks a word; empty is the default.
func (p *problemList) oneOf(path, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		p.add(path, "%q is unknown: write one of %s", value, strings.Join(allowed, ", "))
	}
}

// bounds of strategies.
const (
	maxWaves   = 50
	maxChecks  = 10
	maxWindows = 20
	maxSoak    = 30 * 24 * time.Hour
	maxCheckOf = 24 * time.Hour
)

// Problems lists everything that is wrong with the strategy.
func (s *File) Problems() []Problem {
	if s == nil {
		return nil
	}
	var p problemList
	if s.Canary != nil {
		p.wave("canary", *s.Canary)
		if s.Canary.Size == "rest" {
			p.add("canary.size", "a canary of all tenants is none: give a number or a percentage")
		}
	}
	if len(s.Waves) > maxWaves {
		p.add("waves", "%d waves are more than %d", len(s.Waves), maxWaves)
	}
	for i, w := range s.Waves {
		p.wave(fmt.Sprintf("waves[%d]", i), w)
		if w.Size == "rest" && i < len(s.Waves)-1 {
			p.add(fmt.Sprintf("waves[%d].size", i), "only the last wave takes the rest")
		}
	}
	p.between("between", s.Between)
	p.budget("failure_budget", s.FailureBudget)
	if len(s.Windows) > maxWindows {
		p.add("windows", "%d windows are more than %d", len(s.Windows), maxWindows)
	}
	for i, w := range s.Windows {
		p.window(fmt.Sprintf("windows[%d]", i), w)
	}
	p.oneOf("fence_outside", s.FenceOutside, FenceAllow, FenceWait)
	p.oneOf("order", s.Order, OrderLargeFirst, OrderSmallFirst)
	p.oneOf("inactive", s.Inactive, InactiveUpgrade, InactiveWait, InactiveExcept)
	p.finalizing(s)
	return p
}

func (p *problemList) wave(path string, w Wave) {
	given := 0
	for _, is := range []bool{w.Size != "", w.Label != "", len(w.Tenants) > 0} {
		if is {
			given++
		}
	}
	if given != 1 {
		p.add(path, "give exactly one of size, label and tenants")
	}
	if w.Size != "" {
		if q, ok := parseQuantity(w.Size); !ok || !q.rest && q.n+q.percent == 0 {
			p.add(path+".size", "%q is no size: write a number of tenants such as 5, a part such as 10%%, or rest", w.Size)
		}
	}
	if name, value, ok := strings.Cut(w.Label, "="); w.Label != "" && (!ok || name == "" || value == "") {
		p.add(path+".label", "%q is no label: write name=value", w.Label)
	}
	if w.Between != nil {
		p.between(path+".between", *w.Between)
	}
	if w.FailureBudget != nil {
		p.budget(path+".failure_budget", *w.FailureBudget)
	}
}

func (p *problemList) between(path string, b Between) {
	p.duration(path+".soak", b.Soak, maxSoak)
	p.duration(path+".check_for", b.CheckFor, maxCheckOf)
	if len(b.Checks) > maxChecks {
		p.add(path+".checks", "%d checks are more than %d", len(b.Checks), maxChecks)
	}
	for i, c := range b.Checks {
		p.check(fmt.Sprintf("%s.checks[%d]", path, i), c)
	}
	if b.WithoutSnapshot && !b.Finalize {
		p.add(path+".without_snapshot", "it waives what finalize asks for, which is not ordered: write finalize: true as well")
	}
}

func (p *problemList) duration(path, text string, most time.Duration) {
	if text == "" {
		return
	}
	if d, err := time.ParseDuration(text); err != nil || d <= 0 || d > most {
		p.add(path, "%q is no time span from 1s to %s: write for instance 30m", text, most)
	}
}

func (p *problemList) check(path string, c Check) {
	given := 0
	if c.HTTP != nil {
		given++
		p.url(path+".http.url", c.HTTP.URL)
		for _, s := range c.HTTP.Status {
			if s < 100 || s > 599 {
				p.add(path+".http.status", "%d is no HTTP status", s)
			}
		}
	}
	if c.Webhook != nil {
		given++
		p.url(path+".webhook.url", c.Webhook.URL)
	}
	if q := c.Query; q != nil {
		given++
		p.query(path+".query", *q)
	}
	if given != 1 {
		p.add(path, "give exactly one of http, query and webhook")
	}
}

func (p *problemList) url(path, text string) {
	if !strings.HasPrefix(text, "https://") && !strings.HasPrefix(text, "http://") {
		p.add(path, "%q is no address: it begins with https:// or http://", text)
	}
}

var basePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

func (p *problemList) query(path string, q QueryCheck) {
	if !basePattern.MatchString(q.Alias) {
		p.add(path+".alias", "%q is no alias: write it without the tenant, for instance tracardi-event", q.Alias)
	}
	p.oneOf(path+".environment", q.Environment, "production", "staging")
	if q.AtLeast == nil && q.AtMost == nil {
		p.add(path, "give at_least, at_most, or both: a check must be able to fail")
	}
	if q.AtLeast != nil && *q.AtLeast < 1 && q.AtMost == nil {
		p.add(path+".at_least", "%d is always true: give 1 or more", *q.AtLeast)
	}
	if q.AtMost != nil && *q.AtMost < 0 {
		p.add(path+".at_most", "%d is never true: give 0 or more", *q.AtMost)
	}
	if _, err := json.Marshal(q.Match); err != nil {
		p.add(path+".match", "is no JSON: %v", err)
	}
}

func (p *problemList) budget(path string, b FailureBudget) {
	if q, ok := parseQuantity(b.Tolerate); b.Tolerate != "" && (!ok || q.rest) {
		p.add(path+".tolerate", "%q is no number of failures: write a number such as 2, or a part such as 5%%", b.Tolerate)
	}
	p.oneOf(path+".then", string(b.Then), string(ThenPause), string(ThenStop), string(ThenContinue))
}

func (p *problemList) window(path string, w Window) {
	if _, err := w.parse(); err != nil {
		p.add(path, "%v", err)
	}
}

// finalizing checks what a strategy says about deleting old versions.
func (p *problemList) finalizing(s *File) {
	if s.Between.Finalize && s.Canary == nil && len(s.Waves) == 0 {
		p.add("between.finalize", "there is but one wave: name a canary or waves, or say finalize_after instead")
	}
	if d, err := ParseSpan(s.FinalizeAfter); err != nil || s.FinalizeAfter != "" && (d < MinFinalizeAfter || d > MaxFinalizeAfter) {
		p.add("finalize_after", "%q is no time span from %s to %s: write for instance 7d", s.FinalizeAfter, MinFinalizeAfter, SpanText(MaxFinalizeAfter))
	}
}
