package releases

import (
	"encoding/json"
	"fmt"
)

// DecodeDoc reads a document. Numbers become json.Number, with the literal as
// it stood. Half a surrogate pair is kept (see EncodeDoc), so strings need not
// be valid UTF-8. The error is a *SyntaxError.
func DecodeDoc(raw []byte) (map[string]any, error) {
	s := scanner{buf: raw}
	v, err := s.value()
	if err == nil {
		err = s.end()
	}
	if err != nil {
		return nil, err
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, &SyntaxError{Text: "a document must be an object"}
	}
	return doc, nil
}

// EncodeDoc writes a document that DecodeDoc read: numbers as their literals,
// nothing escaped that need not be, keys sorted. The error names a value of a
// type that DecodeDoc does not give.
func EncodeDoc(doc map[string]any) (raw []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			raw, err = nil, fmt.Errorf("encode document: %v", r)
		}
	}()
	w := writer{exact: true}
	return w.value(nil, doc), nil
}

func (s *scanner) value() (any, error) {
	switch s.peek() {
	case '{':
		return s.object()
	case '[':
		return s.list()
	case '"':
		return s.str()
	case 't':
		return true, s.word("true")
	case 'f':
		return false, s.word("false")
	case 'n':
		return nil, s.word("null")
	}
	lit, _, err := s.number()
	return json.Number(s.own(lit)), err
}

func (s *scanner) object() (any, error) {
	return s.objectOf(func(string) (any, error) { return s.value() })
}

// objectOf reads an object; read takes the value at hand, of the given key.
func (s *scanner) objectOf(read func(key string) (any, error)) (any, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	out := s.newObject()
	if s.peek() == '}' {
		s.pos++
		s.depth--
		return out, nil
	}
	for {
		s.space()
		key, err := s.str()
		if err != nil {
			return nil, err
		}
		if _, dup := out[key]; dup {
			return nil, s.fail("a key that is there twice")
		}
		if err := s.expect(':', "a colon"); err != nil {
			return nil, err
		}
		v, err := read(key)
		if err != nil {
			return nil, err
		}
		out[key] = v
		if s.peek() != ',' {
			break
		}
		s.pos++
	}
	s.depth--
	return out, s.expect('}', "a comma or the end of the object")
}

func (s *scanner) list() (any, error) { return s.listOf(s.value) }

// listOf reads a list; read takes the element at hand.
func (s *scanner) listOf(read func() (any, error)) (any, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	out := []any{}
	if s.peek() == ']' {
		s.pos++
		s.depth--
		return out, nil
	}
	for {
		v, err := read()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if s.peek() != ',' {
			break
		}
		s.pos++
	}
	s.depth--
	return out, s.expect(']', "a comma or the end of the list")
}
