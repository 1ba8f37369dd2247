package releases

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// These, too, have their twins in painlesslib.go.

func convert(n any, path []string, to string, with any, onError string) {
	switch n := n.(type) {
	case []any:
		for _, e := range n {
			convert(e, path, to, with, onError)
		}
	case map[string]any:
		k := path[0]
		if len(path) > 1 {
			convert(n[k], path[1:], to, with, onError)
			return
		}
		v := n[k]
		if v == nil {
			return
		}
		if l, ok := v.([]any); ok {
			n[k] = convertList(l, to, with, onError)
			return
		}
		if r := converted(v, to, with); r != nil {
			n[k] = r
		} else if onError == OnErrorNull {
			n[k] = nil
		} else if onError == OnErrorRemove {
			delete(n, k)
		}
	}
}

func convertList(l []any, to string, with any, onError string) []any {
	out := make([]any, 0, len(l))
	for _, e := range l {
		if e == nil {
			out = append(out, nil)
			continue
		}
		if inner, ok := e.([]any); ok {
			out = append(out, convertList(inner, to, with, onError))
			continue
		}
		if r := converted(e, to, with); r != nil {
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
func converted(v any, to string, with any) any {
	v = scalar(v)
	switch to {
	case "string":
		return toText(v)
	case "integer":
		return toInteger(v)
	case "float":
		return toFloat(v)
	case "map":
		return mapped(v, with.(map[string]any))
	case "date":
		return dated(v, with.([]string))
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
