package releases

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// One row per rule of docs/releases.md.
func TestApply(t *testing.T) {
	t.Parallel()
	when := func(field, is string) *Condition { return &Condition{Field: field, Is: is} }
	equals := func(field string, v any) *Condition { return &Condition{Field: field, Equals: v} }
	for _, c := range []struct {
		name     string
		op       Op
		in, want string
	}{
		{"move", Op{Kind: OpMove, From: "a.b", To: "c.d"}, `{"a":{"b":1,"x":2}}`, `{"a":{"x":2},"c":{"d":1}}`},
		{"move: parent missing", Op{Kind: OpMove, From: "a.b", To: "c"}, `{"x":1}`, `{"x":1}`},
		{"move: parent null", Op{Kind: OpMove, From: "a.b", To: "c"}, `{"a":null}`, `{"a":null}`},
		{"move: parent scalar", Op{Kind: OpMove, From: "a.b", To: "c"}, `{"a":"x"}`, `{"a":"x"}`},
		{"move: null has nothing to move", Op{Kind: OpMove, From: "a", To: "c"}, `{"a":null}`, `{}`},
		{"move: null does not overwrite", Op{Kind: OpMove, From: "a", To: "c", Onto: OntoReplace}, `{"a":null,"c":1}`, `{"c":1}`},
		{"move: empty text is a value", Op{Kind: OpMove, From: "a", To: "c"}, `{"a":""}`, `{"c":""}`},
		{"move: target null is no value", Op{Kind: OpMove, From: "a", To: "c"}, `{"a":1,"c":null}`, `{"c":1}`},
		{"move: target parent null", Op{Kind: OpMove, From: "a", To: "c.d"}, `{"a":1,"c":null}`, `{"c":{"d":1}}`},
		{"move: target parent scalar", Op{Kind: OpMove, From: "a", To: "c.d"}, `{"a":1,"c":5}`, `{"a":1,"c":5}`},
		{"move: target parent list", Op{Kind: OpMove, From: "a", To: "c.d"}, `{"a":1,"c":[{}]}`, `{"a":1,"c":[{}]}`},
		{"move keep", Op{Kind: OpMove, From: "a", To: "c"}, `{"a":1,"c":2}`, `{"a":1,"c":2}`},
		{"move replace", Op{Kind: OpMove, From: "a", To: "c", Onto: OntoReplace}, `{"a":1,"c":2}`, `{"c":1}`},
		{"move discard", Op{Kind: OpMove, From: "a", To: "c", Onto: OntoDiscard}, `{"a":1,"c":2}`, `{"c":2}`},
		{"move in every element", Op{Kind: OpMove, From: "l.a", To: "l.b.c"}, `{"l":[{"a":1},{"x":2},3,null,[{"a":4}]]}`, `{"l":[{"b":{"c":1}},{"x":2},3,null,[{"b":{"c":4}}]]}`},
		{"move out of a list is undecided", Op{Kind: OpMove, From: "l.a", To: "b"}, `{"l":[{"a":1}]}`, `{"l":[{"a":1}]}`},
		{"copy", Op{Kind: OpCopy, From: "a", To: "c"}, `{"a":{"x":1}}`, `{"a":{"x":1},"c":{"x":1}}`},
		{"copy keep", Op{Kind: OpCopy, From: "a", To: "c"}, `{"a":1,"c":2}`, `{"a":1,"c":2}`},
		{"copy null", Op{Kind: OpCopy, From: "a", To: "c"}, `{"a":null}`, `{"a":null}`},
		{"rename", Op{Kind: OpRename, Field: "a.b", To: "c"}, `{"a":[{"b":1},{"b":null}]}`, `{"a":[{"c":1},{}]}`},
		{"set", Op{Kind: OpSet, Field: "a.b", Value: []any{json.Number("1")}}, `{"a":{"b":2}}`, `{"a":{"b":[1]}}`},
		{"set makes parents", Op{Kind: OpSet, Field: "a.b.c", Value: true}, `{"a":null}`, `{"a":{"b":{"c":true}}}`},
		{"set in every element", Op{Kind: OpSet, Field: "a.b", Value: nil}, `{"a":[{},1,{"b":2}]}`, `{"a":[{"b":null},1,{"b":null}]}`},
		{"set below a scalar", Op{Kind: OpSet, Field: "a.b", Value: true}, `{"a":1}`, `{"a":1}`},
		{"default missing", Op{Kind: OpDefault, Field: "a.b", Value: "x"}, `{}`, `{"a":{"b":"x"}}`},
		{"default null", Op{Kind: OpDefault, Field: "a", Value: "x"}, `{"a":null}`, `{"a":"x"}`},
		{"default there", Op{Kind: OpDefault, Field: "a", Value: "x"}, `{"a":""}`, `{"a":""}`},
		{"remove", Op{Kind: OpRemove, Field: "a.b"}, `{"a":[{"b":1,"c":2},{"b":{}}]}`, `{"a":[{"c":2},{}]}`},
		{"remove missing", Op{Kind: OpRemove, Field: "a.b"}, `{"a":1}`, `{"a":1}`},
		{"remove empty", Op{Kind: OpRemove, Field: "a", Only: OnlyEmpty}, `{"a":{"b":[null,{}],"c":null}}`, `{}`},
		{"remove empty, not so", Op{Kind: OpRemove, Field: "a", Only: OnlyEmpty}, `{"a":{"b":[""]}}`, `{"a":{"b":[""]}}`},
		{"wrap", Op{Kind: OpWrap, Field: "a.b", Under: []string{"id", "name"}}, `{"a":{"b":"x"}}`, `{"a":{"b":{"id":"x","name":"x"}}}`},
		{"wrap a list", Op{Kind: OpWrap, Field: "a", Under: []string{"m"}}, `{"a":["x","y"]}`, `{"a":{"m":["x","y"]}}`},
		{"wrap null", Op{Kind: OpWrap, Field: "a", Under: []string{"m"}}, `{"a":null}`, `{"a":null}`},
		{"wrap missing", Op{Kind: OpWrap, Field: "a", Under: []string{"m"}}, `{}`, `{}`},
		{"wrap an object", Op{Kind: OpWrap, Field: "a", Under: []string{"m"}}, `{"a":{"m":1}}`, `{"a":{"m":1}}`},
		{"wrap a list of objects", Op{Kind: OpWrap, Field: "a", Under: []string{"m"}}, `{"a":[1,[{"m":1}]]}`, `{"a":[1,[{"m":1}]]}`},
		{"convert to string", Op{Kind: OpConvert, Field: "a", To: "string"},
			`{"a":[1,-0,1.50,1e3,1e-7,1e22,0.1,true,"x",null,[2],{},123456789012345678901,5e-324,1e400]}`,
			`{"a":["1","0","1.5","1000","0.0000001","10000000000000000000000","0.1","true","x",null,["2"],{},"123456789012345678901","` + tiny + `","Infinity"]}`},
		{"convert to integer", Op{Kind: OpConvert, Field: "a", To: "integer", OnError: OnErrorNull},
			`{"a":[1,1.0,-3e2,1.5,"7","+7","-007","","x","1.0",true,{},"1234567890123456789",1e19,null]}`,
			`{"a":[1,1,-300,null,7,7,-7,null,null,null,null,null,null,null,null]}`},
		{"convert to float", Op{Kind: OpConvert, Field: "a", To: "float", OnError: OnErrorRemove},
			`{"a":[1,1.5,"1.5","1.","-.5e1",".","1e","1e999","x",true,"0x10"," 1","NaN",123456789012345678901]}`,
			`{"a":[1,1.5,1.5,1,-5,123456789012345680000]}`},
		{"convert to boolean", Op{Kind: OpConvert, Field: "a", To: "boolean"}, `{"a":[1,0,1.0,"true","false","TRUE",2,"",true]}`, `{"a":[true,false,true,true,false,"TRUE",2,"",true]}`},
		{"convert, on error remove", Op{Kind: OpConvert, Field: "a", To: "integer", OnError: OnErrorRemove}, `{"a":"x"}`, `{}`},
		{"convert, on error null", Op{Kind: OpConvert, Field: "a", To: "integer", OnError: OnErrorNull}, `{"a":{"b":1}}`, `{"a":null}`},
		{"convert null", Op{Kind: OpConvert, Field: "a", To: "string"}, `{"a":null}`, `{"a":null}`},
		{"when present", Op{Kind: OpRemove, Field: "a", When: when("b", IsPresent)}, `{"a":1,"b":null}`, `{"a":1,"b":null}`},
		{"when absent", Op{Kind: OpRemove, Field: "a", When: when("b.c", IsAbsent)}, `{"a":1,"b":null}`, `{"b":null}`},
		{"when any element is present", Op{Kind: OpRemove, Field: "a", When: when("b.c", IsPresent)}, `{"a":1,"b":[{},{"c":0}]}`, `{"b":[{},{"c":0}]}`},
		{"when of a type", Op{Kind: OpRemove, Field: "a", When: when("b", IsNumber)}, `{"a":1,"b":1e400}`, `{"a":1,"b":"Infinity"}`},
		{"when equals", Op{Kind: OpRemove, Field: "a", When: equals("b", json.Number("1"))}, `{"a":1,"b":["x",1.0]}`, `{"b":["x",1]}`},
		{"when equals not", Op{Kind: OpRemove, Field: "a", When: equals("b", "1")}, `{"a":1,"b":1}`, `{"a":1,"b":1}`},
		{"dotted keys are no paths", Op{Kind: OpRemove, Field: "a.b"}, `{"a.b":1}`, `{"a.b":1}`},
	} {
		require.NoError(t, c.op.Validate(), c.name)
		doc, err := DecodeDoc([]byte(c.in))
		require.NoError(t, err, c.name)
		require.NoError(t, Transform{Ops: []Op{c.op}}.Apply(doc), c.name)
		require.Equal(t, c.want, string(Canonical(nil, doc)), c.name)
	}
}

// The smallest float64, 5e-324, in plain digits.
var tiny = "0." + zeros(323) + "5"

func zeros(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '0'
	}
	return string(b)
}

func TestDropDocument(t *testing.T) {
	t.Parallel()
	drop := Transform{Ops: []Op{{Kind: OpDropDocument, Reason: "expired", When: &Condition{Field: "a", Equals: true}}}}
	err := drop.Apply(map[string]any{"a": true})
	require.ErrorIs(t, err, ErrDropped)
	require.ErrorContains(t, err, "expired")
	require.NoError(t, drop.Apply(map[string]any{"a": false}))
}

func TestThenIsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	a := Transform{Ops: []Op{{Kind: OpRename, Field: "a", To: "b"}}}
	b := Transform{Ops: []Op{{Kind: OpWrap, Field: "b", Under: []string{"c"}}}}
	doc := map[string]any{"a": "x"}
	require.NoError(t, a.Then(b).Apply(doc))
	require.Equal(t, map[string]any{"b": map[string]any{"c": "x"}}, doc)
	require.True(t, Transform{}.Then(Transform{}).Empty())
	require.Len(t, a.Ops, 1)
}

func TestCopiesShareNothing(t *testing.T) {
	t.Parallel()
	value := map[string]any{"x": json.Number("1")}
	tr := Transform{Ops: []Op{
		{Kind: OpSet, Field: "l.v", Value: value},
		{Kind: OpCopy, From: "v", To: "w"},
		{Kind: OpSet, Field: "v.x", Value: json.Number("2")},
	}}
	doc, err := DecodeDoc([]byte(`{"l":[{},{}],"v":{"x":5}}`))
	require.NoError(t, err)
	require.NoError(t, tr.Apply(doc))
	require.Equal(t, `{"l":[{"v":{"x":1}},{"v":{"x":1}}],"v":{"x":2},"w":{"x":5}}`, string(Canonical(nil, doc)))
	require.Equal(t, json.Number("1"), value["x"])
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op   Op
		want string
	}{
		{Op{Kind: "shuffle"}, "unknown operation"},
		{Op{Kind: OpMove, From: "", To: "a"}, "is not a path"},
		{Op{Kind: OpMove, From: "a..b", To: "a"}, "is not a path"},
		{Op{Kind: OpMove, From: "a", To: "a.b"}, "use wrap"},
		{Op{Kind: OpMove, From: "a", To: "b", Onto: "merge"}, "unknown onto"},
		{Op{Kind: OpCopy, From: "a", To: "b", Onto: OntoDiscard}, "unknown onto"},
		{Op{Kind: OpRename, Field: "a", To: "b.c"}, "single name"},
		{Op{Kind: OpRename, Field: "b.a", To: "a"}, "to itself"},
		{Op{Kind: OpWrap, Field: "a"}, "at least one name"},
		{Op{Kind: OpWrap, Field: "a", Under: []string{"x", "x"}}, "stated once"},
		{Op{Kind: OpConvert, Field: "a", To: "date"}, "unknown to"},
		{Op{Kind: OpConvert, Field: "a", To: "float", OnError: "fail"}, "unknown on_error"},
		{Op{Kind: OpRemove, Field: "a", Only: "null"}, "unknown only"},
		{Op{Kind: OpSet, Field: "a", Value: 1}, "value of type int"},
		{Op{Kind: OpSet, Field: "a", Value: json.Number("0x1")}, "not a JSON number"},
		{Op{Kind: OpDropDocument, Reason: "x"}, "needs a condition"},
		{Op{Kind: OpRemove, Field: "a", When: &Condition{Field: "b"}}, "one of is and equals"},
		{Op{Kind: OpRemove, Field: "a", When: &Condition{Field: "b", Is: "big"}}, "unknown test"},
		{Op{Kind: OpRemove, Field: "a", When: &Condition{Field: "b", Equals: []any{}}}, "equals must be"},
	} {
		require.ErrorContains(t, c.op.Validate(), c.want)
	}
}
