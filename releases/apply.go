package releases

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Every function here has a twin of the same name in painless.go. Whoever
// changes one changes the other; TestPainlessEqualsGo holds them together.

// Apply performs the transform on doc in place. Numbers in doc are
// json.Number, as DecodeDoc gives them. The only error is ErrDropped, wrapped
// with the reason; doc is then to be discarded. The operations must be valid
// (Op.Validate), as those of a loaded release are.
func (t Transform) Apply(doc map[string]any) error {
	for _, op := range t.Ops {
		if c := op.When; c != nil && !c.holds(doc) {
			continue
		}
		switch op.Kind {
		case OpMove, OpCopy, OpRename:
			shared, from, to := op.route()
			move(doc, shared, from, to, op.onto(), op.Kind == OpCopy)
		case OpSet, OpDefault:
			put(doc, names(op.Field), op.Value, op.Kind == OpDefault)
		case OpRemove:
			remove(doc, names(op.Field), op.Only == OnlyEmpty)
		case OpWrap:
			wrap(doc, names(op.Field), op.Under)
		case OpConvert:
			convert(doc, names(op.Field), op.To, op.onError())
		case OpDropDocument:
			return fmt.Errorf("%w: %s", ErrDropped, op.Reason)
		}
	}
	return nil
}

func names(path string) []string { return strings.Split(path, ".") }

func (o Op) onto() string {
	if o.Onto == "" {
		return OntoKeep
	}
	return o.Onto
}

func (o Op) onError() string {
	if o.OnError == "" {
		return OnErrorKeep
	}
	return o.OnError
}

// route splits a move into the path both sides share and what differs.
func (o Op) route() (shared, from, to []string) {
	if o.Kind == OpRename {
		p := names(o.Field)
		n := len(p) - 1
		return p[:n], p[n:], []string{o.To}
	}
	from, to = names(o.From), names(o.To)
	n := 0
	for n < min(len(from), len(to))-1 && from[n] == to[n] {
		n++
	}
	return from[:n], from[n:], to[n:]
}

func move(n any, shared, from, to []string, onto string, copying bool) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			move(e, shared, from, to, onto, copying)
		}
	case map[string]any:
		if len(shared) > 0 {
			move(n[shared[0]], shared[1:], from, to, onto, copying)
			return
		}
		moveWithin(n, from, to, onto, copying)
	}
}

func moveWithin(n map[string]any, from, to []string, onto string, copying bool) {
	source := n
	for _, k := range from[:len(from)-1] {
		next, ok := source[k].(map[string]any)
		if !ok {
			return
		}
		source = next
	}
	key := from[len(from)-1]
	v := source[key]
	if v == nil {
		if !copying {
			delete(source, key)
		}
		return
	}
	var held any = n
	for _, k := range to {
		if held == nil {
			break
		}
		m, ok := held.(map[string]any)
		if !ok {
			return
		}
		held = m[k]
	}
	if held != nil && onto != OntoReplace {
		if onto == OntoDiscard {
			delete(source, key)
		}
		return
	}
	if !copying {
		delete(source, key)
	}
	put(n, to, v, false)
}

// put sets the value at a path, and makes the objects that lead there.
func put(n any, path []string, v any, missing bool) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			put(e, path, v, missing)
		}
	case map[string]any:
		k := path[0]
		if len(path) == 1 {
			if !missing || n[k] == nil {
				n[k] = dup(v)
			}
			return
		}
		if n[k] == nil {
			n[k] = map[string]any{}
		}
		put(n[k], path[1:], v, missing)
	}
}

func remove(n any, path []string, empty bool) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			remove(e, path, empty)
		}
	case map[string]any:
		k := path[0]
		if len(path) > 1 {
			remove(n[k], path[1:], empty)
		} else if !empty || hollow(n[k]) {
			delete(n, k)
		}
	}
}

// hollow tells whether nothing is lost with a value.
func hollow(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		for _, e := range v {
			if !hollow(e) {
				return false
			}
		}
		return true
	case map[string]any:
		for _, e := range v {
			if !hollow(e) {
				return false
			}
		}
		return true
	}
	return false
}

func wrap(n any, path, under []string) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			wrap(e, path, under)
		}
	case map[string]any:
		k := path[0]
		if len(path) > 1 {
			wrap(n[k], path[1:], under)
			return
		}
		v := n[k]
		if v == nil || holdsObject(v) {
			return
		}
		o := map[string]any{}
		for _, u := range under {
			o[u] = dup(v)
		}
		n[k] = o
	}
}

func holdsObject(v any) bool {
	switch v := v.(type) {
	case []any:
		return slices.ContainsFunc(v, holdsObject)
	case map[string]any:
		return true
	}
	return false
}

func convert(n any, path []string, to, onError string) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			convert(e, path, to, onError)
		}
	case map[string]any:
		k := path[0]
		if len(path) > 1 {
			convert(n[k], path[1:], to, onError)
			return
		}
		v := n[k]
		if v == nil {
			return
		}
		if l, ok := v.([]any); ok {
			n[k] = convertList(l, to, onError)
			return
		}
		if r := converted(v, to); r != nil {
			n[k] = r
		} else if onError == OnErrorNull {
			n[k] = nil
		} else if onError == OnErrorRemove {
			delete(n, k)
		}
	}
}

func convertList(l []any, to, onError string) []any {
	out := make([]any, 0, len(l))
	for _, e := range l {
		if e == nil {
			out = append(out, nil)
			continue
		}
		if inner, ok := e.([]any); ok {
			out = append(out, convertList(inner, to, onError))
			continue
		}
		if r := converted(e, to); r != nil {
			out = append(out, r)
		} else if onError == OnErrorKeep {
			out = append(out, e)
		} else if onError == OnErrorNull {
			out = append(out, nil)
		}
	}
	return out
}

// converted returns nil for what cannot be converted.
func converted(v any, to string) any {
	v = scalar(v)
	switch to {
	case "string":
		return toText(v)
	case "integer":
		return toInteger(v)
	case "float":
		return toFloat(v)
	}
	return toBoolean(v)
}

// scalar makes a number beyond float64 the text that the engine makes of it.
func scalar(v any) any {
	if n, ok := v.(json.Number); ok && !isInteger(n) {
		if f := float(n); math.IsInf(f, 1) {
			return "Infinity"
		} else if math.IsInf(f, -1) {
			return "-Infinity"
		}
	}
	return v
}

// float is the nearest float64, or an infinity.
func float(n json.Number) float64 {
	f, _ := strconv.ParseFloat(string(n), 64)
	return f
}

func integerText(n json.Number) string {
	if n == "-0" {
		return "0"
	}
	return string(n)
}

func toText(v any) any {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		if isInteger(v) {
			return integerText(v)
		}
		return floatText(float(v))
	}
	return nil
}

// floatText writes a number without exponent, with the fewest digits that read
// back as the same one. It is spelled out, because Java's own rendering
// depends on its version and is not always the shortest.
func floatText(f float64) string {
	if f == 0 {
		return "0"
	}
	for p := 1; ; p++ {
		s := strconv.FormatFloat(f, 'e', p-1, 64)
		if back, _ := strconv.ParseFloat(s, 64); back == f || p == 17 {
			return plainDecimal(s)
		}
	}
}

// plainDecimal turns -1.25e-03 into -0.00125.
func plainDecimal(s string) string {
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	mantissa, exponent, _ := strings.Cut(s, "e")
	exp, _ := strconv.Atoi(exponent)
	digits := strings.TrimRight(strings.Replace(mantissa, ".", "", 1), "0")
	switch point := exp + 1; {
	case point <= 0:
		return sign + "0." + strings.Repeat("0", -point) + digits
	case point >= len(digits):
		return sign + digits + strings.Repeat("0", point-len(digits))
	default:
		return sign + digits[:point] + "." + digits[point:]
	}
}

// maxWhole bounds the floats that become integers: below 2^63.
const maxWhole = 9.2e18

func toInteger(v any) any {
	switch v := v.(type) {
	case json.Number:
		if isInteger(v) {
			return v
		}
		if f := float(v); f == math.Trunc(f) && math.Abs(f) < maxWhole {
			return json.Number(strconv.FormatInt(int64(f), 10))
		}
	case string:
		if wholeText(v) {
			n, _ := strconv.ParseInt(v, 10, 64)
			return json.Number(strconv.FormatInt(n, 10))
		}
	}
	return nil
}

// wholeText: an optional sign and 1 to 18 digits.
func wholeText(s string) bool {
	i := sign(s)
	if n := len(s) - i; n < 1 || n > 18 {
		return false
	}
	return digitsFrom(s, i) == len(s)
}

func sign(s string) int {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return 1
	}
	return 0
}

func digitsFrom(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}

func toFloat(v any) any {
	var f float64
	switch v := v.(type) {
	case json.Number:
		f = float(v)
	case string:
		if !decimalText(v) {
			return nil
		}
		f, _ = strconv.ParseFloat(v, 64)
	default:
		return nil
	}
	if math.IsInf(f, 0) {
		return nil
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return json.Number(s)
}

// decimalText: sign, digits with at most one point, exponent; at most 64
// characters.
func decimalText(s string) bool {
	if len(s) > 64 {
		return false
	}
	i := sign(s)
	j := digitsFrom(s, i)
	n := j - i
	if j < len(s) && s[j] == '.' {
		k := digitsFrom(s, j+1)
		n, j = n+k-j-1, k
	}
	if n == 0 {
		return false
	}
	if j < len(s) && (s[j] == 'e' || s[j] == 'E') {
		j++
		j += sign(s[j:])
		k := digitsFrom(s, j)
		if k == j {
			return false
		}
		j = k
	}
	return j == len(s)
}

func toBoolean(v any) any {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		switch v {
		case "true":
			return true
		case "false":
			return false
		}
	case json.Number:
		switch float(v) {
		case 1:
			return true
		case 0:
			return false
		}
	}
	return nil
}

// dup is a deep copy: what stands in two places is never the same object.
func dup(v any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = dup(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = dup(e)
		}
		return out
	}
	return v
}

func (c *Condition) holds(doc map[string]any) bool {
	switch {
	case c.Equals != nil:
		return holds(doc, names(c.Field), "equals", c.Equals)
	case c.Is == IsAbsent:
		return !holds(doc, names(c.Field), IsPresent, nil)
	}
	return holds(doc, names(c.Field), c.Is, nil)
}

func holds(n any, path []string, test string, v any) bool {
	if len(path) == 0 {
		if test == "equals" {
			return same(n, v)
		}
		return n != nil && (test == IsPresent || test == kindOf(n))
	}
	switch n := n.(type) {
	case []any:
		return slices.ContainsFunc(n, func(e any) bool { return holds(e, path, test, v) })
	case map[string]any:
		return holds(n[path[0]], path[1:], test, v)
	}
	return false
}

func kindOf(v any) string {
	switch scalar(v).(type) {
	case string:
		return IsString
	case json.Number:
		return IsNumber
	case bool:
		return IsBoolean
	case []any:
		return IsList
	}
	return IsObject
}

func same(x, v any) bool {
	switch x := scalar(x).(type) {
	case []any:
		return slices.ContainsFunc(x, func(e any) bool { return same(e, v) })
	case json.Number:
		n, ok := v.(json.Number)
		if ok && isInteger(x) && isInteger(n) {
			return integerText(x) == integerText(n)
		}
		return ok && float(x) == float(n)
	case string, bool:
		return x == v
	}
	return false
}
