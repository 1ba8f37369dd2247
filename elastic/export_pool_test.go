package elastic

import "time"

// Expire makes every client due to have its access read again.
func (p *Pool) Expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = func() time.Time { return time.Now().Add(24 * time.Hour) }
	for _, e := range p.clients {
		e.read = time.Time{}
	}
}
