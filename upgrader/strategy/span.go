package strategy

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of the time between the last switch of a rollout and the deletion of
// its old versions.
const (
	MinFinalizeAfter = time.Minute
	MaxFinalizeAfter = 400 * 24 * time.Hour
)

// DefaultCheckFor is CheckFor where it is left out.
const DefaultCheckFor = 5 * time.Minute

// SoakTime is Soak; 0 for none.
func (b Between) SoakTime() time.Duration { return lasting(b.Soak) }

// CheckTime is CheckFor, or DefaultCheckFor.
func (b Between) CheckTime() time.Duration { return cmp.Or(lasting(b.CheckFor), DefaultCheckFor) }

// lasting is a time span that Problems has found right; 0 for none.
func lasting(text string) time.Duration {
	d, _ := time.ParseDuration(text)
	return d
}

// ParseSpan reads a time span that may be given in days, as SpanText writes it;
// "" is 0.
func ParseSpan(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

// SpanText is a time as operators write it: whole days as days.
func SpanText(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
