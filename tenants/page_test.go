package tenants

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPageTokens(t *testing.T) {
	t.Parallel()
	p, err := NewPages("one")
	require.NoError(t, err)
	changed, err := NewPages("two", "", "one")
	require.NoError(t, err)
	other, err := NewPages("two")
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		query, position := rapid.String().Draw(t, "query"), rapid.SliceOf(rapid.StringMatching(`[ -~]*`)).Draw(t, "position")
		token := p.Token(query, position)
		for _, reader := range []*Pages{p, changed} {
			var got []string
			if err := reader.Read(token, query, &got); err != nil || len(got) != len(position) {
				t.Fatalf("got %v, %v", got, err)
			}
		}
		i := rapid.IntRange(0, len(token)-1).Draw(t, "altered")
		flipped := []byte(token)
		if flipped[i]++; flipped[i] > 'z' {
			flipped[i] = 'A'
		}
		var got []string
		for name, err := range map[string]error{
			"altered":        p.Read(string(flipped), query, &got),
			"cut":            p.Read(token[:i], query+"x", &got),
			"another query":  p.Read(token, query+"x", &got),
			"another secret": other.Read(token, query, &got),
		} {
			if i == 0 && name == "cut" {
				continue // an empty token is the first page
			}
			if !HasReason(err, ReasonInvalidPageToken) || got != nil {
				t.Fatalf("%s: %v, %v", name, got, err)
			}
		}
	})
}

func FuzzPageToken(f *testing.F) {
	p, err := NewPages("one")
	require.NoError(f, err)
	f.Add(p.Token("q", "x"))
	f.Add("AAAA")
	genuine := p.Token("q", "x")
	f.Fuzz(func(t *testing.T, token string) {
		var got string
		if err := p.Read(token, "q", &got); err == nil && token != "" && token != genuine {
			t.Fatalf("accepted %q", token)
		}
	})
}
