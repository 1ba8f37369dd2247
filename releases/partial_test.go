package releases

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What is not decoded comes out the same as if it had been, whatever the
// document and the transform.
func TestCanonicaliserEqualsApply(t *testing.T) {
	t.Parallel()
	names := []string{"a", "b", "c", "d", "é\"", "zz"}
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.Custom(func(t *rapid.T) string {
			p := rapid.SampledFrom(names).Draw(t, "root")
			if rapid.Bool().Draw(t, "deep") {
				p += "." + rapid.SampledFrom(names).Draw(t, "name")
			}
			return p
		})
		var tr Transform
		for range rapid.IntRange(1, 4).Draw(t, "operations") {
			op := Op{Kind: rapid.SampledFrom([]OpKind{OpMove, OpCopy, OpRename, OpSet, OpDefault, OpRemove, OpConvert, OpDropDocument}).Draw(t, "kind")}
			switch op.Kind {
			case OpMove, OpCopy:
				op.From, op.To = path.Draw(t, "from"), path.Draw(t, "to")
				if op.From == op.To {
					continue
				}
			case OpRename:
				op.Field, op.To = path.Draw(t, "field"), rapid.SampledFrom(names).Draw(t, "to")
			case OpConvert:
				op.Field, op.To = path.Draw(t, "field"), "string"
			case OpDropDocument:
				op.When, op.Reason = &Condition{Field: path.Draw(t, "field"), Is: IsNumber}, "r"
			default:
				op.Field, op.Value = path.Draw(t, "field"), json.Number("7")
			}
			if op.Kind != OpDropDocument && rapid.Bool().Draw(t, "conditional") {
				op.When = &Condition{Field: path.Draw(t, "field"), Is: IsPresent}
			}
			tr.Ops = append(tr.Ops, op)
		}
		raw := rapid.Custom(func(t *rapid.T) []byte {
			doc := map[string]any{}
			for _, n := range names {
				switch rapid.IntRange(0, 4).Draw(t, "value of "+n) {
				case 0:
					doc[n] = rapid.Float64().Draw(t, "number")
				case 1:
					doc[n] = rapid.String().Draw(t, "text")
				case 2:
					doc[n] = map[string]any{rapid.SampledFrom(names).Draw(t, "inner"): 1.50, "x": nil}
				case 3:
					doc[n] = []any{map[string]any{"b": true, "a": "ü"}, nil}
				}
			}
			out, err := json.MarshalIndent(doc, " ", "\t")
			require.NoError(t, err)
			return out
		}).Draw(t, "document")
		doc, err := DecodeDoc(raw)
		require.NoError(t, err)
		want := tr.Apply(doc)
		got, err := tr.Canonicaliser()([]byte("before"), raw)
		if want != nil {
			require.EqualError(t, err, want.Error())
			return
		}
		require.NoError(t, err)
		require.Equal(t, "before"+string(Canonical(nil, doc)), string(got))
	})
}

func TestCanonicaliserRefusesWhatIsNoDocument(t *testing.T) {
	t.Parallel()
	f := Transform{Ops: []Op{{Kind: OpRemove, Field: "a"}}}.Canonicaliser()
	for _, bad := range []string{``, `[]`, `1`, `{"a":1,"a":2}`, `{"b":1,"b":2}`, `{"b":1`, `{"b":1}x`, `{"a" 1}`, `{"a":}`, `{"b":tru}`} {
		_, err := f(nil, []byte(bad))
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax, bad)
	}
	for good, want := range map[string]string{`{}`: `{}`, ` { "a" : 1 } `: `{}`, `{"b":1.0,"a":[{}]}`: `{"b":1}`} {
		got, err := f(nil, []byte(good))
		require.NoError(t, err, good)
		require.Equal(t, want, string(got))
	}
}

func BenchmarkCanonicaliser(b *testing.B) {
	c, err := Builtin()
	require.NoError(b, err)
	r, err := c.Get("0.8.2")
	require.NoError(b, err)
	raw, f := sampleEvent(), r.Migration.Steps["event"].Transform.Canonicaliser()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		dst, _ = f(dst[:0], raw)
	}
}
