package releases

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"unsafe"
)

// The canonical form of a document is the same for every way of writing it
// that the engine regards, or makes, the same: JSON without white space, keys
// sorted by their encoded bytes, strings in UTF-8 with the fewest escapes, and
// numbers by value:
//
//   - a literal without fraction and exponent keeps all its digits, however
//     many (the engine holds it as Integer, Long or BigInteger);
//   - any other becomes the nearest float64 (the engine's Double), in the
//     shortest form that reads back as the same one; whole ones below 1e21 are
//     written like integers, so 1e3, 1000.0 and 1000 are equal;
//   - a literal beyond float64, 1e400, becomes the text "Infinity", because
//     that is what the engine makes of it when a script has run.

// Canonical appends the canonical form of a decoded value: nil, bool, string,
// json.Number, float64, int, int64, []any, map[string]any. Other types panic:
// they cannot come from a document.
func Canonical(dst []byte, doc any) []byte {
	w := writers.Get().(*writer)
	defer writers.Put(w)
	w.exact = false
	return w.value(dst, doc)
}

// CanonicalJSON appends the canonical form of raw JSON. It equals decoding and
// Canonical, and is several times faster. The error is a *SyntaxError.
func CanonicalJSON(dst, raw []byte) ([]byte, error) {
	w := writers.Get().(*writer)
	defer writers.Put(w)
	w.members = w.members[:0]
	w.src = scanner{buf: raw}
	out, err := w.raw(dst)
	if err == nil {
		err = w.src.end()
	}
	w.src.buf = nil
	if err != nil {
		return dst, err
	}
	return out, nil
}

var writers = sync.Pool{New: func() any { return new(writer) }}

// writer builds canonical JSON. Members of an object are written in the order
// they come, each with a comma behind it, and brought into order afterwards:
// most objects are small and many are sorted already.
type writer struct {
	src     scanner
	members []member // of all objects that are open, as a stack
	scratch []byte
	// What is used for transformed documents, see partial.go.
	aside []byte
	kept  []untouched
	lent  objects
	exact bool // keep number literals
}

// member is where a member of an object stands in the output.
type member struct {
	start, keyEnd, end int
	// prefix are the first eight bytes of the key, set by sort: they tell most
	// keys apart.
	prefix uint64
}

func (w *writer) raw(dst []byte) ([]byte, error) {
	s := &w.src
	switch c := s.peek(); c {
	case '{':
		return w.rawObject(dst)
	case '[':
		return w.rawArray(dst)
	case '"':
		dst, err := s.text(append(dst, '"'), true)
		return append(dst, '"'), err
	case 't':
		return append(dst, "true"...), s.word("true")
	case 'f':
		return append(dst, "false"...), s.word("false")
	case 'n':
		return append(dst, "null"...), s.word("null")
	}
	lit, integer, err := s.number()
	if err != nil {
		return nil, err
	}
	return appendNumber(dst, lit, integer), nil
}

func (w *writer) rawObject(dst []byte) ([]byte, error) {
	s, base := &w.src, len(w.members)
	if err := s.enter(); err != nil {
		return nil, err
	}
	dst = append(dst, '{')
	start := len(dst)
	if s.peek() == '}' {
		s.pos++
		s.depth--
		return append(dst, '}'), nil
	}
	for {
		m := member{start: len(dst)}
		s.space()
		var err error
		if dst, err = s.text(append(dst, '"'), true); err != nil {
			return nil, err
		}
		m.keyEnd = len(dst)
		dst = append(dst, '"', ':')
		if err = s.expect(':', "a colon"); err != nil {
			return nil, err
		}
		if dst, err = w.raw(dst); err != nil {
			return nil, err
		}
		dst = append(dst, ',')
		m.end = len(dst)
		w.members = append(w.members, m)
		if s.peek() != ',' {
			break
		}
		s.pos++
	}
	s.depth--
	if err := s.expect('}', "a comma or the end of the object"); err != nil {
		return nil, err
	}
	if !w.sort(dst, start, base) {
		return nil, s.fail("a key that is there twice")
	}
	dst[len(dst)-1] = '}'
	return dst, nil
}

func (w *writer) rawArray(dst []byte) ([]byte, error) {
	s := &w.src
	if err := s.enter(); err != nil {
		return nil, err
	}
	dst = append(dst, '[')
	if s.peek() == ']' {
		s.pos++
		s.depth--
		return append(dst, ']'), nil
	}
	for {
		var err error
		if dst, err = w.raw(dst); err != nil {
			return nil, err
		}
		if s.peek() != ',' {
			break
		}
		s.pos++
		dst = append(dst, ',')
	}
	s.depth--
	return append(dst, ']'), s.expect(']', "a comma or the end of the list")
}

// sort orders the members from base on, which fill dst from start on, and
// forgets them. It is false when two keys are equal.
func (w *writer) sort(dst []byte, start, base int) bool {
	ms := w.members[base:]
	w.members = w.members[:base]
	compare := func(a, b member) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return bytes.Compare(dst[a.start+1:a.keyEnd], dst[b.start+1:b.keyEnd])
	}
	sorted, unique := true, true
	for i := range ms {
		ms[i].prefix = prefix(dst, ms[i].start+1, ms[i].keyEnd)
		if i > 0 && sorted {
			c := compare(ms[i-1], ms[i])
			sorted, unique = c <= 0, unique && c != 0
		}
	}
	if sorted {
		return unique
	}
	slices.SortFunc(ms, compare)
	out := w.scratch[:0]
	for i, m := range ms {
		if i > 0 && compare(ms[i-1], m) == 0 {
			return false
		}
		out = append(out, dst[m.start:m.end]...)
	}
	copy(dst[start:], out)
	w.scratch = out
	return true
}

// prefix are the first eight bytes of a key, as a number that orders like them.
// A shorter key is filled up with zeros, which no canonical key holds.
func prefix(dst []byte, from, to int) uint64 {
	if from+8 <= len(dst) {
		p := binary.BigEndian.Uint64(dst[from:])
		if n := to - from; n < 8 {
			p &= ^uint64(0) << (64 - 8*n)
		}
		return p
	}
	var p uint64
	for i := range 8 {
		p <<= 8
		if from+i < to {
			p |= uint64(dst[from+i])
		}
	}
	return p
}

func (w *writer) value(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...)
	case bool:
		return strconv.AppendBool(dst, v)
	case string:
		return appendText(dst, v)
	case json.Number:
		if w.exact {
			return append(dst, v...)
		}
		return appendNumber(dst, unsafe.Slice(unsafe.StringData(string(v)), len(v)), isInteger(v))
	case float64:
		return appendFloat(dst, v)
	case int:
		return strconv.AppendInt(dst, int64(v), 10)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case *untouched:
		return append(dst, w.aside[v.from:v.to]...)
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = w.value(dst, e)
		}
		return append(dst, ']')
	case map[string]any:
		return w.object(dst, v)
	}
	panic(fmt.Sprintf("releases: a %T is no part of a JSON document", v))
}

func (w *writer) object(dst []byte, v map[string]any) []byte {
	dst = append(dst, '{')
	if len(v) == 0 {
		return append(dst, '}')
	}
	start, base := len(dst), len(w.members)
	for k, e := range v {
		m := member{start: len(dst)}
		dst = appendText(dst, k)
		m.keyEnd = len(dst) - 1
		dst = append(w.value(append(dst, ':'), e), ',')
		m.end = len(dst)
		w.members = append(w.members, m)
	}
	w.sort(dst, start, base)
	dst[len(dst)-1] = '}'
	return dst
}

// appendText appends a string in canonical encoding, with quotes.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		if plainByte[s[i]] {
			continue
		}
		r, width := rune(s[i]), 1
		if s[i] == 0xED {
			var ok bool
			if r, ok = surrogateAt(s[i:]); !ok {
				continue
			}
			width = 3
		}
		dst = appendRune(append(dst, s[from:i]...), r, true)
		i += width - 1
		from = i + 1
	}
	return append(append(dst, s[from:]...), '"')
}

func isInteger(n json.Number) bool {
	for i := range len(n) {
		if c := n[i]; c == '.' || c == 'e' || c == 'E' {
			return false
		}
	}
	return true
}

func appendNumber(dst, lit []byte, integer bool) []byte {
	if integer {
		if len(lit) == 2 && lit[0] == '-' && lit[1] == '0' {
			lit = lit[1:]
		}
		return append(dst, lit...)
	}
	if out, ok := appendShortDecimal(dst, lit); ok {
		return out
	}
	// ParseFloat keeps no reference to its argument when it succeeds, and its
	// error is not used.
	f, _ := strconv.ParseFloat(unsafe.String(unsafe.SliceData(lit), len(lit)), 64)
	return appendFloat(dst, f)
}

// appendShortDecimal handles literals without exponent and with at most 15
// digits (float64 distinguishes all of these), which read back as themselves:
// only zeros at the end have to go.
func appendShortDecimal(dst, lit []byte) ([]byte, bool) {
	if len(lit) > 16 { // 15 digits and the point
		return dst, false
	}
	dot, digit, nonzero := -1, lit, false
	for i, c := range digit {
		switch {
		case c == '.':
			dot = i
		case c == '-':
		case c-'0' > 9:
			return dst, false
		case c != '0' && (dot < 0 || i-dot <= 6):
			nonzero = true // at least 1e-6: below, the exponent form is used
		}
	}
	if !nonzero {
		return dst, false
	}
	end := len(lit)
	for lit[end-1] == '0' {
		end--
	}
	if end-1 == dot {
		end--
	}
	return append(dst, lit[:end]...), true
}

func appendFloat(dst []byte, f float64) []byte {
	switch abs := math.Abs(f); {
	case f == 0:
		return append(dst, '0')
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case abs < 1e-6 || abs >= 1e21:
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}
