package server

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/tracardi/tms/tenants"
)

const (
	// lightFactor is how many more calls are allowed that are answered from
	// memory: they cost about as much less, and every Tracardi container
	// makes one per request of its own.
	lightFactor = 50
	// burstSeconds of the rate may come at once.
	burstSeconds = 2
	// maxThrottled bounds the memory of limiters; past it the one that was
	// used longest ago is forgotten.
	maxThrottled = 10_000
)

// throttle limits the calls of each key, in this process. The zero rate is no
// limit. It is safe for concurrent use.
type throttle struct {
	perSecond float64
	keys      *lru.Cache[throttled, *rate.Limiter]
}

type throttled struct {
	key   string
	light bool
}

func newThrottle(perSecond float64) *throttle {
	keys, err := lru.New[throttled, *rate.Limiter](maxThrottled)
	if err != nil {
		panic(err) // sizes below 1 only
	}
	return &throttle{perSecond: perSecond, keys: keys}
}

// admit takes a call into account, or refuses it; light calls are those that
// are answered from memory.
func (t *throttle) admit(key string, light bool) error {
	if t.perSecond <= 0 {
		return nil
	}
	l := t.limiter(throttled{key, light})
	r := l.Reserve()
	wait := r.Delay()
	if r.OK() && wait == 0 {
		return nil
	}
	r.Cancel()
	wait = max(wait, time.Second) // Retry-After counts in seconds
	return &tenants.Error{
		Code: tenants.CodeExhausted, Reason: tenants.ReasonRateLimited,
		Message: fmt.Sprintf("API key %s makes more than %g calls a second", key, float64(l.Limit())),
		Remedy:  "slow down, or raise --rate-limit (TMS_RATE_LIMIT)", RetryAfter: wait,
		Metadata: map[string]string{"key": key, "calls_per_second": fmt.Sprintf("%g", float64(l.Limit()))},
	}
}

// stranger takes an attempt without a valid key into account: err is its
// refusal, and what is returned is that, or, past the rate of its address, the
// refusal to go on looking. Other errors pass.
func (t *throttle) stranger(address string, err error) error {
	var e *tenants.Error
	if !errors.As(err, &e) || e.Code != tenants.CodeUnauthenticated || t.perSecond <= 0 {
		return err
	}
	who := networkOf(address)
	r := t.limiter(throttled{key: who}).Reserve()
	wait := r.Delay()
	if r.OK() && wait == 0 {
		return err
	}
	r.Cancel()
	return &tenants.Error{
		Code: tenants.CodeExhausted, Reason: tenants.ReasonRateLimited,
		Message: fmt.Sprintf("more than %g calls a second without a valid key come from %s", t.perSecond, who),
		Remedy:  "use a valid key: " + e.Message, RetryAfter: max(wait, time.Second), Err: err,
	}
}

// networkOf is what one caller has for himself: an address of IPv4, a /64 of
// IPv6.
func networkOf(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "an unknown address"
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64) // fits every address of IPv6
	return p.String()
}

func (t *throttle) limiter(k throttled) *rate.Limiter {
	if l, ok := t.keys.Get(k); ok {
		return l
	}
	per := t.perSecond
	if k.light {
		per *= lightFactor
	}
	l := rate.NewLimiter(rate.Limit(per), max(1, int(per*burstSeconds)))
	if first, ok, _ := t.keys.PeekOrAdd(k, l); ok {
		return first // another call was quicker
	}
	return l
}
