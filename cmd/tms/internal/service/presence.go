package service

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// silence is how long something that has answered before may say nothing until
// it counts as away. A process, a machine or a server that has too much to do
// misses a deadline for some seconds, and taking its process out of service
// would put the load on the others.
const silence = 10 * time.Second

// presence says whether one dependency is there, by one look after the other.
// Not safe for concurrent use.
type presence struct {
	answered bool      // ever
	silent   time.Time // since when it says nothing; zero while it answers
}

// judge takes the outcome of a look and returns it when the dependency is away:
// at once when it refuses, after a while when it says nothing, and as long as it
// has never answered.
func (p *presence) judge(err error, at time.Time) error {
	if err == nil {
		p.answered, p.silent = true, time.Time{}
		return nil
	}
	if !p.answered || !saysNothing(err) {
		p.answered = false // what has refused is there again when it answers
		return err
	}
	if p.silent.IsZero() {
		p.silent = at
	}
	if at.Sub(p.silent) < silence {
		return nil
	}
	return err
}

// saysNothing tells a missed deadline from an answer that is a refusal, such as
// that of a closed port.
func saysNothing(err error) bool {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return false
	}
	var network net.Error
	return errors.Is(err, errSilent) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}
