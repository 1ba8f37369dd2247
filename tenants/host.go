package tenants

import (
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Bounds of a host name as a request carries it.
const (
	maxHostLength = 253 // RFC 1035, without the trailing dot
	// maxHostInput bounds the work before the name is looked at, in bytes as
	// given: international names are expensive to map.
	maxHostInput  = maxHostLength + len(".:65535")
	minHostLabels = 3 // tenant.domain.tld
)

// HostRefusal is why a host name names no tenant; empty when it does.
type HostRefusal string

// Refusals of host names.
const (
	HostInvalid   HostRefusal = "invalid_host"   // not a host name with an optional port
	HostAddress   HostRefusal = "ip_address"     // IPv4 or IPv6: only names name tenants
	HostTooShort  HostRefusal = "too_few_labels" // fewer than three labels
	HostShortID   HostRefusal = "too_short"      // fewer than three letters and digits in the first label
	HostNumericID HostRefusal = "number"         // only digits in the first label
)

// Sentence explains the refusal to people, with the rule it comes from.
func (r HostRefusal) Sentence() string {
	switch r {
	case "":
		return ""
	case HostInvalid:
		return "not a host name with an optional port"
	case HostAddress:
		return "an IP address names no tenant: use a host name such as tenant.example.com"
	case HostTooShort:
		return "the host name has fewer than three labels: use one such as tenant.example.com"
	case HostShortID:
		return "the first label has fewer than three letters and digits"
	case HostNumericID:
		return "the first label is a number, which Tracardi takes for no tenant"
	}
	return string(r)
}

// reachable maps a name as people write it to what browsers and clients put
// into the Host header. Underscores and the like stay: DNS allows them, and
// Tracardi's rule drops them.
var reachable = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// ResolveHost reads the tenant from a request's host name by Tracardi's rule:
// the first of at least three labels, without everything but letters and
// digits; at least three characters, not a number. Either id or the refusal is
// empty. It says nothing about whether such a tenant exists.
//
// What the rule leaves open is decided so: a port is cut off, and must be one;
// case does not matter; one trailing dot is allowed; IPv4 and IPv6 addresses,
// with or without brackets, are none, and neither is a name whose last label is
// a number (no top-level domain is, so it is an address written otherwise). An
// international name counts in the form that reaches a server, "xn--…", so
// müller.example.com and xn--mller-kva.example.com are the same tenant,
// xnmllerkva. Anything that no Host header may hold is refused.
func ResolveHost(host string) (id string, refused HostRefusal) {
	name, refused := hostName(host)
	if refused != "" {
		return "", refused
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > MaxIDLength { // that of a DNS label
			return "", HostInvalid
		}
	}
	if isNumber(labels[len(labels)-1]) {
		return "", HostAddress
	}
	if len(labels) < minHostLabels {
		return "", HostTooShort
	}
	id = strings.Map(func(r rune) rune {
		if isAlphanumeric(r) {
			return r
		}
		return -1
	}, labels[0])
	switch {
	case len(id) < MinIDLength:
		return "", HostShortID
	case isNumber(id):
		return "", HostNumericID
	}
	return id, ""
}

// hostName takes off port and trailing dot and returns the name in lower case
// ASCII.
func hostName(host string) (string, HostRefusal) {
	if len(host) > maxHostInput || strings.HasPrefix(host, "[") || strings.Count(host, ":") > 1 {
		return "", addressOr(host, HostInvalid)
	}
	name, port, found := strings.Cut(host, ":")
	if found && !isPort(port) {
		return "", HostInvalid
	}
	name = strings.ToLower(name)
	if !isASCII(name) {
		ascii, err := reachable.ToASCII(name)
		if err != nil {
			return "", HostInvalid
		}
		name = ascii
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > maxHostLength {
		return "", HostInvalid
	}
	for _, r := range name {
		// RFC 3986: unreserved and sub-delims of a reg-name. Percent escapes
		// never mean a DNS name and are left out.
		if !isAlphanumeric(r) && !strings.ContainsRune("-._~!$&'()*+,;=", r) {
			return "", HostInvalid
		}
	}
	return name, ""
}

// addressOr says HostAddress for an IPv6 address, bare or as in an URL.
func addressOr(host string, otherwise HostRefusal) HostRefusal {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		address, port, closed := strings.Cut(inner, "]")
		if !closed || port != "" && (port[0] != ':' || !isPort(port[1:])) {
			return otherwise
		}
		host = address
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return otherwise
	}
	return HostAddress
}

// isPort accepts the empty one too: RFC 3986 allows "host:".
func isPort(port string) bool {
	if port == "" {
		return true
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return err == nil && isNumber(port)
}

func isAlphanumeric(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// IDFromHost is the tenant that a host name names, "" when it names none.
func IDFromHost(host string) string {
	id, _ := ResolveHost(host)
	return id
}
