package releases_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tracardi/tms/releases"
)

// docsPerTransform: many documents share one script, because compiling and
// creating indices is what the test pays for.
const docsPerTransform = 150

// TestPainlessEqualsGo is the reason why a copy can be proven at all: for any
// transform and any document, the engine and Apply come to the same canonical
// form.
func TestPainlessEqualsGo(t *testing.T) {
	t.Parallel()
	e := newEngine(t)
	from, to := newPrefix(t)+"-from", newPrefix(t)+"-to"
	allowCompilations(t, e)
	for _, index := range []string{from, to} {
		e.create(t, index, map[string]any{"enabled": false}, nil)
	}
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		transform := releases.Transform{Ops: rapid.SliceOfN(rapid.Custom(genOp), 1, 8).Draw(r, "ops")}.In(rapid.SampledFrom([]string{releases.InStaging, releases.InProduction}).Draw(r, "in")).Into(genFiling(r))
		docs := rapid.SliceOfN(rapid.Custom(genDoc), docsPerTransform, docsPerTransform).Draw(r, "docs")
		ids := number(fmt.Sprintf("%d-", n), len(docs))
		for i, problem := range e.index(r, from, ids, docs) {
			if problem != "" {
				r.Fatalf("the generator made %s: %s", docs[i], problem)
			}
		}
		e.reindex(r, from, to, ids, transform)
		compare(r, transform, ids, docs, e.documents(r, to, ids))
	})
}

// compare holds what the engine made of documents against what Apply makes.
func compare(t failer, transform releases.Transform, ids []string, docs [][]byte, got map[string]json.RawMessage) {
	t.Helper()
	for i, raw := range docs {
		doc, err := releases.DecodeDoc(raw)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		err = transform.Apply(doc)
		if errors.Is(err, releases.ErrDropped) || errors.Is(err, releases.ErrElsewhere) {
			if got[ids[i]] != nil {
				t.Fatalf("%s: left out in Go, %s in the engine\n%+v", raw, got[ids[i]], transform.Ops)
			}
			continue
		}
		have, err := releases.CanonicalJSON(nil, got[ids[i]])
		if err != nil {
			t.Fatalf("%s: the engine made %q: %v\n%+v", raw, got[ids[i]], err, transform.Ops)
		}
		if want := releases.Canonical(nil, doc); string(want) != string(have) {
			t.Fatalf("document %s\nbecomes  %s in Go\nand      %s in the engine by\n%+v", raw, want, have, transform.Ops)
		}
	}
}

// The names are few, so that paths meet documents.
var fieldNames = []string{"a", "b", "c", "é", "k-1"}

func genPath(r *rapid.T) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(fieldNames), 1, 3).Draw(r, "path"), ".")
}

func genOp(r *rapid.T) releases.Op {
	op := releases.Op{
		Kind: rapid.SampledFrom([]releases.OpKind{releases.OpMove, releases.OpMove, releases.OpCopy, releases.OpRename, releases.OpSet, releases.OpDefault,
			releases.OpRemove, releases.OpWrap, releases.OpConvert, releases.OpConvert, releases.OpDropDocument, releases.OpRoute,
			releases.OpUnwrap, releases.OpUnwrap, releases.OpSplit, releases.OpJoin, releases.OpMap, releases.OpMap, releases.OpDate, releases.OpDate}).Draw(r, "kind"),
		From: genPath(r), To: genPath(r), Field: genPath(r),
		Onto: rapid.SampledFrom([]string{"", releases.OntoKeep, releases.OntoReplace, releases.OntoDiscard}).Draw(r, "onto"),
	}
	if rapid.IntRange(0, 2).Draw(r, "conditional") == 0 || op.Kind == releases.OpDropDocument || op.Kind == releases.OpRoute {
		op.When = genCondition(r)
	}
	if op.Kind != releases.OpRoute {
		op.Mode = rapid.SampledFrom([]string{"", "", releases.InStaging, releases.InProduction}).Draw(r, "mode")
	}
	switch op.Kind {
	case releases.OpRename:
		op.To = rapid.SampledFrom(fieldNames).Draw(r, "name")
	case releases.OpConvert:
		op.To = rapid.SampledFrom([]string{"string", "integer", "float", "boolean"}).Draw(r, "type")
		op.OnError = rapid.SampledFrom([]string{"", releases.OnErrorKeep, releases.OnErrorNull, releases.OnErrorRemove}).Draw(r, "on error")
	case releases.OpSplit, releases.OpJoin:
		op.By = rapid.SampledFrom([]string{",", "--", ".", "é", "😀", "1", " "}).Draw(r, "by")
	case releases.OpMap:
		op.Values = map[string]any{}
		for range rapid.IntRange(1, 4).Draw(r, "entries") {
			if v := genValue(r, 2); v != nil {
				op.Values[rapid.SampledFrom(append([]string{"1", "0", "true", "false"}, oddTexts...)).Draw(r, "old")] = v
			}
		}
		op.OnError = rapid.SampledFrom([]string{"", releases.OnErrorKeep, releases.OnErrorNull, releases.OnErrorRemove}).Draw(r, "on error")
	case releases.OpDate:
		op.From = rapid.SampledFrom([]string{"", releases.DateEpochSecond, releases.DateEpochMillis}).Draw(r, "unit")
		op.To = rapid.SampledFrom([]string{releases.DateISO, releases.DateDay, releases.DateTime, releases.DateEpochSecond, releases.DateEpochMillis}).Draw(r, "format")
		op.OnError = rapid.SampledFrom([]string{"", releases.OnErrorKeep, releases.OnErrorNull, releases.OnErrorRemove}).Draw(r, "on error")
	case releases.OpWrap, releases.OpUnwrap:
		op.Under = rapid.SliceOfNDistinct(rapid.SampledFrom(fieldNames), 1, 2, rapid.ID[string]).Draw(r, "under")
	case releases.OpSet, releases.OpDefault:
		op.Value = genValue(r, 2)
	case releases.OpRemove:
		op.Only = rapid.SampledFrom([]string{"", releases.OnlyEmpty}).Draw(r, "only")
	case releases.OpDropDocument:
		op.Reason = "drawn"
	case releases.OpRoute:
		if op.To, op.Arriving = "other", rapid.Bool().Draw(r, "arriving"); rapid.Bool().Draw(r, "by date") {
			op.To, op.Arriving, op.By = "", false, genPath(r)
		}
	}
	if op.Validate() != nil {
		return releases.Op{Kind: releases.OpRemove, Field: op.Field}
	}
	return op
}

// genFiling has one partition with the beginning of 1970, where small numbers
// lie, one with most dates that are drawn, and one of our time.
func genFiling(r *rapid.T) releases.Filing {
	day := int64(24 * time.Hour / time.Millisecond)
	f := releases.Filing{Own: rapid.IntRange(-1, 2).Draw(r, "own"), Here: rapid.IntRange(0, 2).Draw(r, "here")}
	for _, at := range []string{"1970-01-01", "2023-02-01", "2024-02-01"} {
		from, err := time.Parse(time.DateOnly, at)
		if err != nil {
			panic(err)
		}
		f.Spans = append(f.Spans, releases.Span{From: from.UnixMilli(), Until: from.UnixMilli() + 28*day})
	}
	return f
}

func genCondition(r *rapid.T) *releases.Condition {
	c := &releases.Condition{Field: genPath(r)}
	tests := []string{releases.IsPresent, releases.IsAbsent, releases.IsString, releases.IsNumber, releases.IsBoolean, releases.IsObject, releases.IsList, ""}
	if c.Is = rapid.SampledFrom(tests).Draw(r, "is"); c.Is != "" {
		return c
	}
	if v := genScalar(r); v != nil {
		c.Equals = v
	} else {
		c.Equals = false
	}
	return c
}

func genDoc(r *rapid.T) []byte {
	doc, _ := genObject(r, 3).(map[string]any)
	raw, err := releases.EncodeDoc(doc)
	if err != nil {
		r.Fatalf("encode: %v", err)
	}
	return raw
}

func genObject(r *rapid.T, depth int) any {
	out := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(r, "members") {
		name := rapid.SampledFrom(append([]string{"", "a.b", "\"", "x y", "😀"}, append(fieldNames, fieldNames...)...)).Draw(r, "name")
		out[name] = genValue(r, depth-1)
	}
	return out
}

func genValue(r *rapid.T, depth int) any {
	kind := rapid.IntRange(0, 9).Draw(r, "value")
	switch {
	case depth > 0 && kind < 4:
		return genObject(r, depth)
	case depth > 0 && kind < 6:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(r, "elements") {
			list = append(list, genValue(r, depth-1))
		}
		return list
	}
	return genScalar(r)
}

var oddTexts = []string{"", " ", "12", "-7", "+7", "007", "1.50", "1e3", ".5", "5.", ".", "e1", "1e", "1e999", "-0", "true", "false", "TRUE", "null", "NaN", "Infinity",
	"١٢", "0x10", "1_0", "12345678901234567890", "123456789012345678", "Grüße", "\u2028", "\x00", "<&>", "a\"b\\c/", "😀", "\xed\xa0\x80x", "9.2e18",
	"a,b,,c", ",", "1--2---3", "éé", "😀😀", "2023-02-01", "2023-02-29", "2024-02-29T23:59:59Z", "2023-12-31 10:00:00.123456", "0001-01-01T00:00:00+18:00", "9999-12-31T23:59:59.999-0100",
	"1969-12-31T23:59:59.999Z", "2023-13-01", "2023-02-01T24:00:00", "2023-02-01T10:00:00.", "2023-02-01T10:00:00.1234567890", "2023-02-01T10:00:00+01", "2000-02-29T10:00:00+01:30", "1900-02-29", "0000-01-01", "2023-02-01T10:00:60"}

var oddNumbers = []string{"0", "-0", "1", "-1", "0.0", "-0.0", "1.0", "1.10", "1e3", "1E-7", "2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
	"123456789012345678901234567890", "0.1", "1e22", "1e23", "2e-3", "4.9e-324", "1.7976931348623157e308", "1e400", "-1e400", "9007199254740993", "9.2e18", "9.3e18",
	"0.1000000000000000055511151231257827", "2.2250738585072014e-308", "9007199254740992.0", "1125899906842624.125",
	"1675245600", "1675245600123", "-1", "1675245600.0", "-62135596800000", "253402300799999", "253402300800000", "1675245600.5"}

func genScalar(r *rapid.T) any {
	switch rapid.IntRange(0, 7).Draw(r, "scalar") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(r, "bool")
	case 2:
		return rapid.String().Draw(r, "text")
	case 3, 4:
		return rapid.SampledFrom(oddTexts).Draw(r, "odd text")
	case 5:
		return json.Number(strconv.FormatInt(rapid.Int64().Draw(r, "integer"), 10))
	case 6:
		return json.Number(strconv.FormatFloat(rapid.Float64Range(-1e300, 1e300).Draw(r, "float"), 'g', rapid.IntRange(-1, 25).Draw(r, "precision"), 64))
	}
	return json.Number(rapid.SampledFrom(oddNumbers).Draw(r, "odd number"))
}
