package releases

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf8"
	"unsafe"
)

// maxDepth bounds the nesting of a document, as encoding/json does. Engines
// refuse far less for mapped fields; objects that are not mapped may be deep.
const maxDepth = 10000

// scanner reads JSON as Elasticsearch accepts it: RFC 8259 without duplicate
// keys. It differs from encoding/json in what it keeps: half of a surrogate
// pair, written as \ud800, survives (as the three bytes WTF-8 has for it),
// because the engine keeps it too.
type scanner struct {
	buf   []byte
	pos   int
	depth int
	// lent says that nobody keeps what is read for longer than the buffer:
	// strings may be parts of it, and objects come from here, to go back
	// afterwards. nil for documents that are kept.
	lent *objects
}

// objects are maps to be used again.
type objects struct {
	all  []map[string]any
	used int
}

// Bounds of what is kept for the next document. To clear a map costs as much
// as it once held.
const (
	keptObjects = 64
	keptMembers = 64
)

func (s *scanner) newObject() map[string]any {
	o := s.lent
	if o == nil {
		return map[string]any{}
	}
	if o.used == len(o.all) {
		o.all = append(o.all, map[string]any{})
	}
	o.used++
	return o.all[o.used-1]
}

// takeBack ends the use of all objects.
func (o *objects) takeBack() {
	for i, m := range o.all[:o.used] {
		if len(m) > keptMembers {
			o.all[i] = map[string]any{}
		} else {
			clear(m)
		}
	}
	o.used = 0
	if len(o.all) > keptObjects {
		clear(o.all[keptObjects:])
		o.all = o.all[:keptObjects]
	}
}

// own is a part of the buffer as a string.
func (s *scanner) own(part []byte) string {
	if s.lent != nil {
		return unsafe.String(unsafe.SliceData(part), len(part))
	}
	return string(part)
}

// SyntaxError says where a document is not JSON.
type SyntaxError struct {
	Offset int // bytes
	Text   string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not a JSON document: %s at byte %d", e.Text, e.Offset)
}

func (s *scanner) fail(text string) error { return &SyntaxError{Offset: s.pos, Text: text} }

func (s *scanner) space() {
	for s.pos < len(s.buf) {
		switch s.buf[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.pos < len(s.buf) {
		return s.buf[s.pos]
	}
	return 0
}

func (s *scanner) expect(c byte, what string) error {
	if s.peek() != c {
		return s.fail("expected " + what)
	}
	s.pos++
	return nil
}

func (s *scanner) enter() error {
	if s.depth++; s.depth > maxDepth {
		return s.fail("nested too deep")
	}
	s.pos++
	return nil
}

func (s *scanner) word(w string) error {
	if len(s.buf)-s.pos < len(w) || string(s.buf[s.pos:s.pos+len(w)]) != w {
		return s.fail("unknown word")
	}
	s.pos += len(w)
	return nil
}

// end demands that nothing follows.
func (s *scanner) end() error {
	if s.space(); s.pos != len(s.buf) {
		return s.fail("something follows the document")
	}
	return nil
}

func (s *scanner) digits() int {
	from := s.pos
	for s.pos < len(s.buf) && s.buf[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos - from
}

func (s *scanner) at(set string) bool {
	if s.pos == len(s.buf) {
		return false
	}
	for i := range len(set) {
		if s.buf[s.pos] == set[i] {
			return true
		}
	}
	return false
}

// number returns the literal and whether it has no fraction nor exponent.
func (s *scanner) number() (lit []byte, integer bool, err error) {
	from := s.pos
	if s.at("-") {
		s.pos++
	}
	zero := s.at("0")
	n := s.digits()
	if n == 0 || (zero && n > 1) {
		s.pos = from
		return nil, false, s.fail("malformed value")
	}
	integer = true
	if s.at(".") {
		s.pos++
		if integer = false; s.digits() == 0 {
			return nil, false, s.fail("malformed number")
		}
	}
	if s.at("eE") {
		s.pos++
		if s.at("+-") {
			s.pos++
		}
		if integer = false; s.digits() == 0 {
			return nil, false, s.fail("malformed number")
		}
	}
	return s.buf[from:s.pos], integer, nil
}

// plainByte marks the bytes a string may hold that need no second look: not
// the quote, not the backslash, no control character, and not 0xED, which
// begins the three bytes of a surrogate.
var plainByte = func() (t [256]bool) {
	for i := range t {
		t[i] = i >= 0x20 && i != '"' && i != '\\' && i != 0xED
	}
	return t
}()

// plain passes over plain bytes, eight at a time: strings are most of a
// document.
func (s *scanner) plain() {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i, buf := s.pos, s.buf
	for ; i+8 <= len(buf); i += 8 {
		w := binary.LittleEndian.Uint64(buf[i:])
		quote, slash, ed := w^ones*'"', w^ones*'\\', w^ones*0xED
		// Of each of these the lowest bit that is set belongs to the first byte
		// that is not plain; a byte from 0x80 on is no control character.
		if found := ((quote-ones)&^quote | (slash-ones)&^slash | (ed-ones)&^ed | (w-ones*0x20)&^w) & highs; found != 0 {
			s.pos = i + bits.TrailingZeros64(found)/8
			return
		}
	}
	for i < len(buf) && plainByte[buf[i]] {
		i++
	}
	s.pos = i
}

// text appends the string at the opening quote to dst: decoded, or in the
// canonical encoding without its quotes.
func (s *scanner) text(dst []byte, canonical bool) ([]byte, error) {
	if err := s.expect('"', "a string"); err != nil {
		return nil, err
	}
	for {
		from := s.pos
		s.plain()
		dst = append(dst, s.buf[from:s.pos]...)
		if s.pos == len(s.buf) {
			return nil, s.fail("a string without end")
		}
		switch c := s.buf[s.pos]; {
		case c == '"':
			s.pos++
			return dst, nil
		case c == '\\':
			r, err := s.escape()
			if err != nil {
				return nil, err
			}
			dst = appendRune(dst, r, canonical)
		case c == 0xED:
			dst = s.rawSurrogate(dst, canonical)
		default:
			return nil, s.fail("a control character in a string")
		}
	}
}

// str reads the string at the opening quote, decoded.
func (s *scanner) str() (string, error) {
	if s.pos < len(s.buf) && s.buf[s.pos] == '"' {
		end := s.pos + 1
		for end < len(s.buf) && plainByte[s.buf[end]] {
			end++
		}
		if end < len(s.buf) && s.buf[end] == '"' { // nothing to decode
			text := s.own(s.buf[s.pos+1 : end])
			s.pos = end + 1
			return text, nil
		}
	}
	text, err := s.text(nil, false)
	return string(text), err
}

// rawSurrogate copies the 0xED at hand, together with what follows it when
// that makes a surrogate.
func (s *scanner) rawSurrogate(dst []byte, canonical bool) []byte {
	if r, ok := surrogateAt(s.buf[s.pos:]); ok {
		s.pos += 3
		return appendRune(dst, s.pair(r), canonical)
	}
	s.pos++
	return append(dst, 0xED)
}

// pair completes the first half of a surrogate pair with the second, if that
// follows, escaped or not.
func (s *scanner) pair(hi rune) rune {
	if hi < 0xD800 || hi >= 0xDC00 {
		return hi
	}
	back := s.pos
	lo, ok := surrogateAt(s.buf[s.pos:])
	switch {
	case ok:
		s.pos += 3
	case len(s.buf)-s.pos >= 6 && s.buf[s.pos] == '\\' && s.buf[s.pos+1] == 'u':
		s.pos += 2
		lo, ok = s.hex4()
	}
	if !ok || lo < 0xDC00 || lo >= 0xE000 {
		s.pos = back
		return hi
	}
	return 0x10000 + (hi-0xD800)<<10 + (lo - 0xDC00)
}

// surrogateAt recognises the WTF-8 form of half a surrogate pair.
func surrogateAt[T string | []byte](b T) (rune, bool) {
	if len(b) >= 3 && b[0] == 0xED && b[1] >= 0xA0 && b[1] <= 0xBF && b[2]&0xC0 == 0x80 {
		return 0xD000 | rune(b[1]&0x3F)<<6 | rune(b[2]&0x3F), true
	}
	return 0, false
}

func (s *scanner) escape() (rune, error) {
	s.pos++
	if s.pos == len(s.buf) {
		return 0, s.fail("a string without end")
	}
	c := s.buf[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		r, ok := s.hex4()
		if !ok {
			return 0, s.fail("malformed escape")
		}
		return s.pair(r), nil
	}
	return 0, s.fail("unknown escape")
}

func (s *scanner) hex4() (rune, bool) {
	if len(s.buf)-s.pos < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s.buf[s.pos : s.pos+4] {
		switch {
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	s.pos += 4
	return r, true
}

const hexDigits = "0123456789abcdef"

// appendRune appends one character, decoded or in canonical encoding:
// escaped are the quote, the backslash, control characters below 0x20 and
// halves of surrogate pairs; everything else is UTF-8.
func appendRune(dst []byte, r rune, canonical bool) []byte {
	surrogate := r >= 0xD800 && r < 0xE000
	if canonical {
		switch {
		case r == '"' || r == '\\':
			return append(dst, '\\', byte(r))
		case r < 0x20 || surrogate:
			return append(dst, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		}
	} else if surrogate {
		return append(dst, 0xED, byte(0x80|r>>6&0x3F), byte(0x80|r&0x3F))
	}
	return utf8.AppendRune(dst, r)
}
