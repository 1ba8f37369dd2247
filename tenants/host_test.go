package tenants

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/idna"
	"pgregory.net/rapid"
)

func TestResolveHost(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	for host, want := range map[string]struct {
		id      string
		refused HostRefusal
	}{
		// The rule.
		"company-x.example.com": {"companyx", ""}, "acme.example.com": {"acme", ""}, "a.cme.example.com": {"", HostShortID},
		"acme.api.eu.example.com": {"acme", ""}, "my_shop.example.com": {"myshop", ""}, "-a-b-c-.example.com": {"abc", ""},
		"acme.com": {"", HostTooShort}, "localhost": {"", HostTooShort}, "ab.example.com": {"", HostShortID}, "a-b.example.com": {"", HostShortID},
		"---.example.com": {"", HostShortID}, "123.example.com": {"", HostNumericID}, "1-2-3.example.com": {"", HostNumericID}, "12a.example.com": {"12a", ""},
		long + ".example.com": {long, ""}, "x" + long + ".example.com": {"", HostInvalid}, long + ".x" + long + ".com": {"", HostInvalid},
		// Case, port, trailing dot.
		"Acme.Example.COM": {"acme", ""}, "acme.example.com:8686": {"acme", ""}, "acme.example.com:": {"acme", ""}, "acme.example.com.": {"acme", ""},
		"acme.example.com.:80": {"acme", ""}, "acme.com.": {"", HostTooShort}, "acme.example.com..": {"", HostInvalid}, "acme..com": {"", HostInvalid},
		".acme.example.com": {"", HostInvalid}, "acme.example.com:http": {"", HostInvalid}, "acme.example.com:65536": {"", HostInvalid},
		"acme.example.com:+80": {"", HostInvalid}, ":80": {"", HostInvalid}, ".": {"", HostInvalid}, "": {"", HostInvalid},
		// Addresses.
		"10.0.0.1": {"", HostAddress}, "127.0.0.1:80": {"", HostAddress}, "127.0.0.1.": {"", HostAddress}, "abc.0.0.1": {"", HostAddress}, "2130706433": {"", HostAddress},
		"[::1]": {"", HostAddress}, "[::1]:80": {"", HostAddress}, "::1": {"", HostAddress}, "fe80::1%eth0": {"", HostAddress}, "[::ffff:10.0.0.1]:1": {"", HostAddress},
		"[::1": {"", HostInvalid}, "[::1]80": {"", HostInvalid}, "[acme.example.com]": {"", HostInvalid}, "acme.example.com:80:80": {"", HostInvalid},
		// International names, as written and as sent.
		"müller.example.com": {"xnmllerkva", ""}, "MÜLLER.example.com": {"xnmllerkva", ""}, "xn--mller-kva.example.com": {"xnmllerkva", ""},
		"acme.münchen.example": {"acme", ""}, "acme。example。com": {"acme", ""}, "ａｃｍｅ.example.com": {"acme", ""}, "１２３.example.com": {"", HostNumericID},
		"acme.example.com\u00ad": {"acme", ""}, "\xff.example.com": {"", HostInvalid}, "\u200e.example.com": {"", HostInvalid},
		// What no Host header holds.
		"http://acme.example.com": {"", HostInvalid}, "acme.example.com/x": {"", HostInvalid}, "you@acme.example.com": {"", HostInvalid}, "acme.example.com?x": {"", HostInvalid},
		" acme.example.com": {"", HostInvalid}, "acme.example.com\n": {"", HostInvalid}, "ac\x00me.example.com": {"", HostInvalid}, "ac%6de.example.com": {"", HostInvalid},
		strings.Repeat("a.", 127) + "com": {"", HostInvalid}, strings.Repeat("a.", 1<<20): {"", HostInvalid},
	} {
		id, refused := ResolveHost(host)
		require.Equal(t, want.id, id, "%.80q", host)
		require.Equal(t, want.refused, refused, "%.80q", host)
		require.Equal(t, want.refused == "", refused.Sentence() == "")
	}
}

// A tenant's id finds itself in its own host name, whatever surrounds it.
func TestIDAndHostAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.StringMatching(`[a-z0-9]{1,70}`).Draw(t, "id")
		host := id + rapid.SampledFrom([]string{".example.com", ".API.example.com.", ".example.co.uk:8686"}).Draw(t, "rest")
		got := IDFromHost(host)
		if ValidateID(id) == nil && got != id {
			t.Fatalf("host %q names %q", host, got)
		}
		if ValidateID(id) != nil && got != "" {
			t.Fatalf("%q is no tenant, host %q names %q", id, host, got)
		}
	})
}

// Whatever host name Tracardi reads a tenant from, the registry can hold the
// tenant; a refusal has a sentence; and how a name is written does not matter.
func FuzzResolveHost(f *testing.F) {
	for _, seed := range []string{"company-x.example.com", "müller.example.com:80", "[::1]:80", "10.0.0.1", "a..b.c", "xn--a.b.c", "１２３.example.com.", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		id, refused := ResolveHost(host)
		if (id == "") != (refused != "") || (refused == "") != (refused.Sentence() == "") {
			t.Fatalf("%q: id %q, refused %q (%s)", host, id, refused, refused.Sentence())
		}
		if id == "" {
			return
		}
		if err := ValidateID(id); err != nil {
			t.Fatalf("%q names the impossible tenant %q: %v", host, id, err)
		}
		if !strings.Contains(host, ":") && !strings.HasSuffix(host, ".") {
			if ascii, err := idna.Lookup.ToASCII(host); err == nil && strings.Count(ascii, ".") >= 2 {
				if again, why := ResolveHost(strings.ToUpper(ascii) + ".:443"); again != id {
					t.Fatalf("%q names %q, the same name %q names %q (%s)", host, id, ascii, again, why)
				}
			}
		}
	})
}
