package strategy

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// File says in which waves a rollout goes, what has to be true between
// them, and when tenants may start. It is plain text and numbers, as in the
// file; Problems says what is wrong with it, and everything else may rely on
// there being none.
type File struct {
	// Canary is the first wave.
	Canary *Wave `yaml:"canary" json:"canary,omitempty"`
	// Waves come after the canary; whoever is in none of them forms one more,
	// the last.
	Waves []Wave `yaml:"waves" json:"waves,omitempty"`
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
	// FinalizeAfter is how long old versions are kept, where the rollout does not
	// say: "7d".
	FinalizeAfter string `yaml:"finalize_after" json:"finalize_after,omitempty"`
}

// Values of File; the first of each is the default.
const (
	FenceAllow = "allow"
	FenceWait  = "wait"

	OrderLargeFirst = "large_first"
	OrderSmallFirst = "small_first"

	InactiveUpgrade = "upgrade"
	InactiveWait    = "wait"
	InactiveExcept  = "except"
)

// Wave chooses the tenants of a wave by exactly one of Size, Label and
// Tenants.
type Wave struct {
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
	Tolerate string `yaml:"tolerate" json:"tolerate,omitempty"` // "2" or "5%" of the wave, rounded down; empty is 0
	Then     Action `yaml:"then" json:"then,omitempty"`
}

// Action is what happens past a failure budget, and when checks do not
// pass in time.
type Action string

// Actions; the first is the default of a rollout with a strategy, the last
// that of one without.
const (
	ThenPause    Action = "pause"    // as if the operator had said pause
	ThenStop     Action = "stop"     // nothing more starts; what is in work finishes
	ThenContinue Action = "continue" // go on
)

// Window is a stretch of time that comes again on certain days of the week.
type Window struct {
	Days []string `yaml:"days" json:"days,omitempty"` // "mon", "mon-fri"; on which it begins; none is every day
	From string   `yaml:"from" json:"from"`           // "22:00"
	To   string   `yaml:"to" json:"to"`               // "04:00" is of the next day when not after From; "24:00"
	Zone string   `yaml:"zone" json:"zone,omitempty"` // "Europe/Warsaw"; empty is UTC
}

// budgetOf is the budget of a wave, complete.
func (s *File) budgetOf(w *Wave) FailureBudget {
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
func (s *File) betweenOf(w *Wave) Between {
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

// Tolerated is the number of failures of a wave of so many tenants that the
// budget allows.
func (b FailureBudget) Tolerated(tenants int) int {
	q, _ := parseQuantity(b.Tolerate)
	return q.n + tenants*q.percent/100
}

// Rule is what the strategy says about one wave, complete.
type Rule struct {
	Between       Between       `json:"between,omitzero"`
	FailureBudget FailureBudget `json:"failure_budget"`
}
