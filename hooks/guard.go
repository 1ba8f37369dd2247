// Package hooks posts webhooks over HTTP. Addresses come from callers, so it
// goes nowhere but to the public Internet, unless a network is allowed.
package hooks

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// reserved are networks that are no part of the public Internet, or lead into
// such by another way (IANA special-purpose address registries).
var reserved = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", // within 2000::/3: Teredo, documentation, 6to4
)

// globalSix is all of IPv6 that is given out for the Internet.
var globalSix = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// ParseNetworks reads networks such as 10.1.0.0/16.
func ParseNetworks(texts []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, t := range texts {
		p, err := netip.ParsePrefix(t)
		if err != nil {
			return nil, fmt.Errorf("%q is no network: write for instance 10.1.0.0/16 or fd00::/8", t)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// guard decides where connections may go.
type guard struct {
	allowed []netip.Prefix
	// listedOnly refuses the public Internet too.
	listedOnly bool
}

// permits says why an address may not be connected to. An IPv4 address in
// the form of IPv6 is what it is.
func (g guard) permits(a netip.Addr) error {
	a = a.Unmap()
	if a.Zone() != "" {
		return fmt.Errorf("address %s is of this link only", a)
	}
	for _, p := range g.allowed {
		if p.Contains(a) {
			return nil
		}
	}
	if g.listedOnly {
		return fmt.Errorf("address %s: http is for networks of TMS_WEBHOOK_ALLOW_NETWORKS only, use https", a)
	}
	public := a.IsGlobalUnicast() && (a.Is4() || globalSix.Contains(a))
	for _, p := range reserved {
		public = public && !p.Contains(a)
	}
	if !public {
		return fmt.Errorf("address %s is not public: add its network to TMS_WEBHOOK_ALLOW_NETWORKS if that is intended", a)
	}
	return nil
}

// control runs with the address that is about to be connected to, after its
// name was resolved: no name can lead elsewhere later.
func (g guard) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return errors.New("address cannot be read")
	}
	if err := g.permits(to.Addr()); err != nil {
		return &forbiddenError{err}
	}
	return nil
}

// forbiddenError is a refusal of ours among those of the network.
type forbiddenError struct{ err error }

func (f *forbiddenError) Error() string { return f.err.Error() }
