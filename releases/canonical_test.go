package releases

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCanonicalJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, in, want string }{
		{"keys are sorted", `{ "b" : 1, "a" : {"d":1,"c":[1, 2]} }`, `{"a":{"c":[1,2],"d":1},"b":1}`},
		{"a prefix comes first", `{"ab":1,"a":2,"":3}`, `{"":3,"a":2,"ab":1}`},
		{"empty things", `{"a":{},"b":[],"c":"","d":null}`, `{"a":{},"b":[],"c":"","d":null}`},
		{"integers keep digits", `[123456789012345678901234567890,-0,0]`, `[123456789012345678901234567890,0,0]`},
		{"floats by value", `[1e3,1000.0,1.10,-0.0,0.0,1E-7,1e22]`, `[1000,1000,1.1,0,0,1e-07,1e+22]`},
		{"floats are rounded", `[0.1000000000000000055511151231257827,123456789012345678.5]`, `[0.1,123456789012345680]`},
		{"small decimals", `[0.000001,0.0000010,0.00000012,-0.5000]`, `[0.000001,0.000001,1.2e-07,-0.5]`},
		{"beyond float64", `[1e400,-1e400]`, `["Infinity","-Infinity"]`},
		{"escapes", `"\u00e9\/\"\\\b\n\u001f\ud83d\ude00"`, `"é/\"\\\u0008\u000a\u001f😀"`},
		{"half a surrogate", `["\ud800x","\uDC00\uD800"]`, `["\ud800x","\udc00\ud800"]`},
		{"words", ` [true,false,null] `, `[true,false,null]`},
	} {
		got, err := CanonicalJSON(nil, []byte(c.in))
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, string(got), c.name)
	}
}

func TestCanonicalJSONRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{``, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `[1,]`, `01`, `1.`, `.5`, `1e`, `+1`, `-`, `NaN`, `"a`, `"\x"`, `"\u12"`,
		"\"\n\"", `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `1 2`, `tru`, `{a:1}`, `[1 2]`, `{"b":1,"a":1,"b":2}`} {
		_, err := CanonicalJSON(nil, []byte(in))
		var syntax *SyntaxError
		require.ErrorAs(t, err, &syntax, in)
		_, err = decodeAny([]byte(in))
		require.Error(t, err, in)
	}
	_, err := CanonicalJSON(nil, bytes.Repeat([]byte("["), 2_000_000))
	require.ErrorContains(t, err, "nested too deep")
	_, err = DecodeDoc([]byte(`[1]`))
	require.ErrorContains(t, err, "must be an object")
}

func decodeAny(raw []byte) (any, error) {
	s := scanner{buf: raw}
	v, err := s.value()
	if err == nil {
		err = s.end()
	}
	return v, err
}

func FuzzCanonicalJSON(f *testing.F) {
	for _, s := range []string{`{"b":[1,1.50,"\u00e9\ud800"],"a":{"x":null,"":true}}`, `1e400`, "\"\xed\xa0\x80\xed\"", `{"a":1,"a":2}`,
		`{"k":0.000001,"j":123456789.12345678901,"é":"😀"}`, `-0.00`, `[[[]],{}]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		direct, err := CanonicalJSON([]byte("x"), raw)
		doc, err2 := decodeAny(raw)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("CanonicalJSON: %v, decoder: %v", err, err2)
		}
		if err != nil {
			return
		}
		if got := Canonical([]byte("x"), doc); !bytes.Equal(direct, got) {
			t.Fatalf("CanonicalJSON %q, Canonical %q", direct, got)
		}
		if again, err := CanonicalJSON(nil, direct[1:]); err != nil || !bytes.Equal(again, direct[1:]) {
			t.Fatalf("canonical form %q becomes %q, %v", direct, again, err)
		}
		w := writer{exact: true}
		if kept, err := CanonicalJSON(nil, w.value(nil, doc)); err != nil || !bytes.Equal(kept, direct[1:]) {
			t.Fatalf("encoded %q becomes %q, %v", raw, kept, err)
		}
	})
}

// Numbers against strconv, the other implementation at hand.
func FuzzCanonicalNumber(f *testing.F) {
	f.Add(1.5, 3)
	f.Add(1e-7, 9)
	f.Fuzz(func(t *testing.T, v float64, precision int) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return
		}
		for _, format := range []byte{'f', 'e'} {
			lit := strconv.FormatFloat(v, format, max(1, precision%30), 64)
			got, err := CanonicalJSON(nil, []byte(lit))
			if err != nil {
				t.Fatal(err)
			}
			want, _ := strconv.ParseFloat(lit, 64)
			if back, err := strconv.ParseFloat(string(got), 64); err != nil || back != want {
				t.Fatalf("%s became %s: %v", lit, got, err)
			}
			if string(appendFloat(nil, want)) != string(got) {
				t.Fatalf("%s became %s, by the long way %s", lit, got, appendFloat(nil, want))
			}
		}
	})
}

func TestDocKeepsNumbersAndText(t *testing.T) {
	t.Parallel()
	raw := `{"a":1.10,"b":1e400,"c":123456789012345678901234567890,"d":"<&>\u2028\ud800","e":-0}`
	doc, err := DecodeDoc([]byte(raw))
	require.NoError(t, err)
	require.Equal(t, json.Number("1.10"), doc["a"])
	out, err := EncodeDoc(doc)
	require.NoError(t, err)
	require.Equal(t, "{\"a\":1.10,\"b\":1e400,\"c\":123456789012345678901234567890,\"d\":\"<&>\u2028\\ud800\",\"e\":-0}", string(out))
	_, err = EncodeDoc(map[string]any{"x": struct{}{}})
	require.Error(t, err)
}

func TestDigest(t *testing.T) {
	t.Parallel()
	var a, b, c Digest
	for i := range 100 {
		a.Add(fmt.Sprint(i), []byte(`{"n":1}`))
		b.Add(fmt.Sprint(99-i), []byte(`{"n":1}`))
	}
	require.True(t, a.Equal(b), "the order does not matter")
	require.Equal(t, int64(100), a.Count)
	c = a
	c.Remove("7", []byte(`{"n":1}`))
	require.False(t, a.Equal(c))
	c.Add("7", []byte(`{"n":2}`))
	require.False(t, a.Equal(c), "another content")
	c.Remove("7", []byte(`{"n":2}`))
	c.Add("7", []byte(`{"n":1}`))
	require.True(t, a.Equal(c))
	b.Merge(a)
	require.Equal(t, int64(200), b.Count)
	text, err := a.MarshalText()
	require.NoError(t, err)
	var back Digest
	require.NoError(t, back.UnmarshalText(text))
	require.Equal(t, a, back)
	require.Error(t, back.UnmarshalText([]byte("100:zz")))
	var x, y Digest
	x.Add("a", []byte("b"))
	y.Add("", []byte("a\x00b"))
	require.False(t, x.Equal(y))
}

func sampleEvent() []byte {
	return []byte(`{"id":"5d9f8a52-4bb5-4fae-9b2a-0d8f6c1b2a77","metadata":{"aux":{},"time":{"insert":"2023-02-15T10:11:12.123456","create":"2023-02-15T10:11:12.000001","process_time":0.0123456},"ip":"10.1.2.3","status":"processed","channel":null,"processed_by":{"rules":["Rule one","Rule two"],"flows":["Flow"],"third_party":[]},"profile_less":false,"valid":true,"warning":false,"error":false,"debug":false},"type":"purchase-order","name":"Purchase order","properties":{"order":{"id":"A-100234","total":1299.90,"items":[{"sku":"X1","price":19.99,"quantity":2},{"sku":"X2","price":1259.92,"quantity":1}]},"note":"Grüße aus München"},"traits":{},"session":{"id":"0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0","start":"2023-02-15T10:00:00","duration":672.5,"tz":"Europe/Berlin"},"profile":{"id":"11112222-3333-4444-5555-666677778888"},"source":{"id":"src-1"},"context":{"page":{"url":"https://shop.example.com/checkout","path":"/checkout","title":"Checkout"}},"tags":{"values":["shop","order"],"count":2},` +
		`"data":{"contact":{"email":"a.b@example.com","phone":null,"address":{"town":"München","country":"DE"}},"pii":{"name":"Ann","surname":"Berg","birthday":null},` +
		`"ec":{"order":{"id":"A-100234","status":"paid","income":{"revenue":1299.90,"value":null},"cost":{"tax":207.54,"shipping":4.9}}},` +
		`"media":{"image":"https://shop.example.com/i/1","webpage":"https://shop.example.com/x1"}},"aux":{}}`)
}

func BenchmarkCanonicalJSON(b *testing.B) {
	raw := sampleEvent()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		dst, _ = CanonicalJSON(dst[:0], raw)
	}
}

func BenchmarkDigestAdd(b *testing.B) {
	raw, _ := CanonicalJSON(nil, sampleEvent())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	var d Digest
	for b.Loop() {
		d.Add("5d9f8a52-4bb5-4fae-9b2a-0d8f6c1b2a77", raw)
	}
}

// BenchmarkTransform is what the verifier pays for a source document when its
// step has a transform: decode, apply, canonical form.
func BenchmarkTransform(b *testing.B) {
	c, err := Builtin()
	require.NoError(b, err)
	r, err := c.Get("0.8.2")
	require.NoError(b, err)
	raw, transform := sampleEvent(), r.Migration.Steps["event"].Transform
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	var dst []byte
	for b.Loop() {
		doc, _ := DecodeDoc(raw)
		_ = transform.Apply(doc)
		dst = Canonical(dst[:0], doc)
	}
}
