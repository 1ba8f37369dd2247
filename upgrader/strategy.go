package upgrader

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Strategy says in which waves a rollout goes, what has to be true between
// them, and when tenants may start. It is plain text and numbers, as in the
// file; Problems says what is wrong with it, and everything else may rely on
// there being none.
type Strategy struct {
	// Canary is the first wave.
	Canary *WaveSpec `yaml:"canary" json:"canary,omitempty"`
	// Waves come after the canary; whoever is in none of them forms one more,
	// the last.
	Waves []WaveSpec `yaml:"waves" json:"waves,omitempty"`
	// Between holds after every wave but the last, unless the wave has its own.
	Between Between `yaml:"between" json:"between,omitzero"`
	// FailureBudget is that of every wave, unless the wave has its own.
	FailureBudget FailureBudget `yaml:"failure_budget" json:"failure_budget,omitzero"`
	// Windows are the hours in which tenants may start; none is always.
	Windows []Window `yaml:"windows" json:"windows,omitempty"`
	// FenceOutside says whether a tenant that is in work may be fenced and
	// switched outside of the windows: FenceAllow or FenceWait.
	FenceOutside string `yaml:"fence_outside" json:"fence_outside,omitempty"`
	// Order within a wave: OrderLargeFirst or OrderSmallFirst, by documents.
	Order string `yaml:"order" json:"order,omitempty"`
	// PriorityLabel names a label that comes before size: lower numbers first,
	// then other values by alphabet, then tenants without it.
	PriorityLabel string `yaml:"priority_label" json:"priority_label,omitempty"`
	// Inactive says what happens to suspended and expired tenants:
	// InactiveUpgrade, InactiveWait or InactiveExcept.
	Inactive string `yaml:"inactive" json:"inactive,omitempty"`
	// FinalizeAfter is Options.FinalizeAfter where that is not given: "7d".
	FinalizeAfter string `yaml:"finalize_after" json:"finalize_after,omitempty"`
}

// Values of Strategy; the first of each is the default.
const (
	FenceAllow = "allow"
	FenceWait  = "wait"

	OrderLargeFirst = "large_first"
	OrderSmallFirst = "small_first"

	InactiveUpgrade = "upgrade"
	InactiveWait    = "wait"
	InactiveExcept  = "except"
)

// WaveSpec chooses the tenants of a wave by exactly one of Size, Label and
// Tenants.
type WaveSpec struct {
	Name string `yaml:"name" json:"name,omitempty"`
	// Size is a number of tenants ("5"), a part of the tenants that have to be
	// upgraded ("10%", rounded up), or "rest".
	Size string `yaml:"size" json:"size,omitempty"`
	// Label is name=value.
	Label         string         `yaml:"label" json:"label,omitempty"`
	Tenants       []string       `yaml:"tenants" json:"tenants,omitempty"`
	Between       *Between       `yaml:"between" json:"between,omitempty"`
	FailureBudget *FailureBudget `yaml:"failure_budget" json:"failure_budget,omitempty"`
}

// Between is what has to be true after a wave before the next one opens, in
// this order: time, checks, approval, and that its old versions are deleted.
type Between struct {
	Soak   string  `yaml:"soak" json:"soak,omitempty"` // a time span: "30m"
	Checks []Check `yaml:"checks" json:"checks,omitempty"`
	// CheckFor is how long checks are repeated until all pass.
	CheckFor string `yaml:"check_for" json:"check_for,omitempty"`
	Approval bool   `yaml:"approval" json:"approval,omitempty"`
	// Finalize deletes the old versions of the wave's tenants. It holds after
	// the last wave too when that has it of its own.
	Finalize bool `yaml:"finalize" json:"finalize,omitempty"`
	// WithoutSnapshot waives the snapshots that finalizing asks for.
	WithoutSnapshot bool `yaml:"without_snapshot" json:"without_snapshot,omitempty"`
}

// DefaultCheckFor is CheckFor where it is left out.
const DefaultCheckFor = 5 * time.Minute

// Check is one of HTTP, Query and Webhook.
type Check struct {
	Name    string        `yaml:"name" json:"name,omitempty"`
	HTTP    *HTTPCheck    `yaml:"http" json:"http,omitempty"`
	Query   *QueryCheck   `yaml:"query" json:"query,omitempty"`
	Webhook *WebhookCheck `yaml:"webhook" json:"webhook,omitempty"`
}

// HTTPCheck asks an address of every switched tenant of the wave.
type HTTPCheck struct {
	// URL with {tenant} and {label:NAME} in it.
	URL string `yaml:"url" json:"url"`
	// Status that is right; empty is any of 200 to 299.
	Status []int `yaml:"status" json:"status,omitempty"`
	// Contains is text that the first 64 KiB of the answer must hold.
	Contains string `yaml:"contains" json:"contains,omitempty"`
}

// QueryCheck counts documents of every switched tenant of the wave.
type QueryCheck struct {
	// Alias as Tracardi names it, without the tenant: "tracardi-event".
	Alias string `yaml:"alias" json:"alias"`
	// Environment is "production" (the default) or "staging".
	Environment string `yaml:"environment" json:"environment,omitempty"`
	// Match is the engine's query; empty is all documents.
	Match   map[string]any `yaml:"match" json:"match,omitempty"`
	AtLeast *int64         `yaml:"at_least" json:"at_least,omitempty"`
	AtMost  *int64         `yaml:"at_most" json:"at_most,omitempty"`
}

// WebhookCheck asks a service of the operator's whether to go on.
type WebhookCheck struct {
	URL string `yaml:"url" json:"url"`
}

// FailureBudget is how many tenants of a wave may fail, or be rolled back, and what
// happens when more do.
type FailureBudget struct {
	Tolerate string       `yaml:"tolerate" json:"tolerate,omitempty"` // "2" or "5%" of the wave, rounded down; empty is 0
	Then     BudgetAction `yaml:"then" json:"then,omitempty"`
}

// BudgetAction is what happens past a failure budget, and when checks do not
// pass in time.
type BudgetAction string

// Actions; the first is the default of a rollout with a strategy, the last
// that of one without.
const (
	ThenPause    BudgetAction = "pause"    // as if the operator had said pause
	ThenStop     BudgetAction = "stop"     // nothing more starts; what is in work finishes
	ThenContinue BudgetAction = "continue" // go on
)

// Window is a stretch of time that comes again on certain days of the week.
type Window struct {
	Days []string `yaml:"days" json:"days,omitempty"` // "mon", "mon-fri"; on which it begins; none is every day
	From string   `yaml:"from" json:"from"`           // "22:00"
	To   string   `yaml:"to" json:"to"`               // "04:00" is of the next day when not after From; "24:00"
	Zone string   `yaml:"zone" json:"zone,omitempty"` // "Europe/Warsaw"; empty is UTC
}

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

// budgetOf is the budget of a wave, complete.
func (s *Strategy) budgetOf(w *WaveSpec) FailureBudget {
	if s == nil {
		return FailureBudget{Tolerate: "0", Then: ThenContinue}
	}
	b := s.FailureBudget
	if w != nil && w.FailureBudget != nil {
		b = *w.FailureBudget
	}
	if b.Tolerate == "" {
		b.Tolerate = "0"
	}
	if b.Then == "" {
		b.Then = ThenPause
	}
	return b
}

// betweenOf is what holds after a wave.
func (s *Strategy) betweenOf(w *WaveSpec) Between {
	switch {
	case s == nil:
		return Between{}
	case w != nil && w.Between != nil:
		return *w.Between
	}
	return s.Between
}

// String is the rule in words; "" when nothing has to be true.
func (b Between) String() string {
	var parts []string
	if b.Soak != "" {
		parts = append(parts, "soak "+b.Soak)
	}
	if n := len(b.Checks); n > 0 {
		parts = append(parts, fmt.Sprintf("%d checks", n))
	}
	if b.Approval {
		parts = append(parts, "approval")
	}
	switch {
	case b.Finalize && b.WithoutSnapshot:
		parts = append(parts, "finalize without snapshot")
	case b.Finalize:
		parts = append(parts, "finalize")
	}
	return strings.Join(parts, ", ")
}

// String is the budget in words.
func (b FailureBudget) String() string {
	if b.Then == ThenContinue {
		return "goes on whatever fails"
	}
	return fmt.Sprintf("%s may fail, else %s", b.Tolerate, b.Then)
}

// lasting is a time span that Problems has found right; 0 for none.
func lasting(text string) time.Duration {
	d, _ := time.ParseDuration(text)
	return d
}

// quantity is a size: a number, a part in percent, or the rest.
type quantity struct {
	n, percent int
	rest       bool
}

var quantityPattern = regexp.MustCompile(`^(\d{1,6})(%?)$`)

func parseQuantity(text string) (quantity, bool) {
	if text == "rest" {
		return quantity{rest: true}, true
	}
	m := quantityPattern.FindStringSubmatch(text)
	if m == nil {
		return quantity{}, false
	}
	n, _ := strconv.Atoi(m[1])
	if m[2] == "" {
		return quantity{n: n}, true
	}
	return quantity{percent: n}, n <= 100
}

// tolerated is the number of failures of a wave of so many tenants that the
// budget allows.
func (b FailureBudget) tolerated(tenants int) int {
	q, _ := parseQuantity(b.Tolerate)
	return q.n + tenants*q.percent/100
}

// problems collects what is wrong.
type strategyProblems []Problem

func (p *strategyProblems) add(path, format string, args ...any) {
	*p = append(*p, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

// oneOf checks a word; empty is the default.
func (p *strategyProblems) oneOf(path, value string, allowed ...string) {
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
func (s *Strategy) Problems() []Problem {
	if s == nil {
		return nil
	}
	var p strategyProblems
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

func (p *strategyProblems) wave(path string, w WaveSpec) {
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

func (p *strategyProblems) between(path string, b Between) {
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

func (p *strategyProblems) duration(path, text string, most time.Duration) {
	if text == "" {
		return
	}
	if d, err := time.ParseDuration(text); err != nil || d <= 0 || d > most {
		p.add(path, "%q is no time span from 1s to %s: write for instance 30m", text, most)
	}
}

func (p *strategyProblems) check(path string, c Check) {
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

func (p *strategyProblems) url(path, text string) {
	if !strings.HasPrefix(text, "https://") && !strings.HasPrefix(text, "http://") {
		p.add(path, "%q is no address: it begins with https:// or http://", text)
	}
}

var basePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

func (p *strategyProblems) query(path string, q QueryCheck) {
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

func (p *strategyProblems) budget(path string, b FailureBudget) {
	if q, ok := parseQuantity(b.Tolerate); b.Tolerate != "" && (!ok || q.rest) {
		p.add(path+".tolerate", "%q is no number of failures: write a number such as 2, or a part such as 5%%", b.Tolerate)
	}
	p.oneOf(path+".then", string(b.Then), string(ThenPause), string(ThenStop), string(ThenContinue))
}

func (p *strategyProblems) window(path string, w Window) {
	if _, err := w.parse(); err != nil {
		p.add(path, "%v", err)
	}
}
