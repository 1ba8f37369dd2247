package hooks

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	public := guard{}
	for _, a := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
		"192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fc00::1", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::10.0.0.1",
		"64:ff9b::a00:1", "2002:a00:1::", "2001::1", "2001:db8::1", "fe80::1%eth0",
	} {
		require.Error(t, public.permits(netip.MustParseAddr(a)), a)
	}
	for _, a := range []string{"93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"} {
		require.NoError(t, public.permits(netip.MustParseAddr(a)), a)
	}
	allowed, err := ParseNetworks([]string{"10.1.0.0/16"})
	require.NoError(t, err)
	listed := guard{allowed: allowed, listedOnly: true}
	require.NoError(t, listed.permits(netip.MustParseAddr("10.1.9.9")))
	require.NoError(t, listed.permits(netip.MustParseAddr("::ffff:10.1.9.9")))
	require.Error(t, listed.permits(netip.MustParseAddr("10.2.0.1")))
	require.Error(t, listed.permits(netip.MustParseAddr("93.184.216.34")), "no TLS on the public Internet")
	_, err = ParseNetworks([]string{"10.1.0.0"})
	require.ErrorContains(t, err, "is no network")
}

// A name that leads to a forbidden address is refused after its resolution,
// whoever answers for the name.
func TestGuardLooksAtTheResolvedAddress(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	g := guard{}
	d := net.Dialer{Control: g.control}
	_, err = d.DialContext(context.Background(), "tcp", "localhost:"+port)
	var refused *forbiddenError
	require.ErrorAs(t, err, &refused)
}
