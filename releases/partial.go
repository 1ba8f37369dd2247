package releases

import "strings"

// Canonicaliser returns a function that appends the canonical form of what the
// transform makes of a document: the same as DecodeDoc, Apply and Canonical,
// but only those top-level fields are decoded that an operation names. Most of
// a document is of others, so this is several times faster. The transform must
// not be opaque. The function is safe for concurrent use; its errors are those
// of DecodeDoc and Apply.
func (t Transform) Canonicaliser() func(dst, raw []byte) ([]byte, error) {
	if t.Empty() {
		return CanonicalJSON
	}
	roots := t.roots()
	return func(dst, raw []byte) ([]byte, error) {
		w := writers.Get().(*writer)
		defer writers.Put(w)
		w.exact, w.members, w.src = false, w.members[:0], scanner{buf: raw}
		out, err := w.transformed(dst, t, roots)
		w.src.buf = nil
		if err != nil {
			return dst, err
		}
		return out, nil
	}
}

// roots are the top-level fields that the transform may read or write, by
// their canonical encoding. What is no path (the target of a conversion) does
// no harm here.
func (t Transform) roots() map[string]string {
	out := map[string]string{}
	add := func(path string) {
		name, _, _ := strings.Cut(path, ".")
		encoded := appendText(nil, name)
		out[string(encoded[1:len(encoded)-1])] = name
	}
	for _, op := range t.Ops {
		add(op.Field)
		add(op.From)
		if op.Kind != OpRoute {
			add(op.To)
		}
		if op.byDate() {
			add(op.By)
		}
		if op.When != nil {
			add(op.When.Field)
		}
	}
	return out
}

func (w *writer) transformed(dst []byte, t Transform, roots map[string]string) ([]byte, error) {
	s := &w.src
	if s.peek() != '{' {
		return nil, &SyntaxError{Text: "a document must be an object"}
	}
	dst = append(dst, '{')
	start, base := len(dst), len(w.members)
	doc := map[string]any{}
	dst, err := w.split(dst, doc, roots)
	if err == nil {
		err = s.end()
	}
	if err == nil {
		err = t.Apply(doc)
	}
	if err != nil {
		return nil, err
	}
	for k, v := range doc {
		m := member{start: len(dst)}
		dst = appendText(dst, k)
		m.keyEnd = len(dst) - 1
		dst = append(w.value(append(dst, ':'), v), ',')
		m.end = len(dst)
		w.members = append(w.members, m)
	}
	if len(dst) == start {
		return append(dst, '}'), nil
	}
	if !w.sort(dst, start, base) {
		return nil, s.fail("a key that is there twice")
	}
	dst[len(dst)-1] = '}'
	return dst, nil
}

// split reads the document at hand: fields in roots into doc, the others, in
// canonical form, into dst.
func (w *writer) split(dst []byte, doc map[string]any, roots map[string]string) ([]byte, error) {
	s := &w.src
	if err := s.enter(); err != nil {
		return nil, err
	}
	if s.peek() == '}' {
		s.pos++
		return dst, nil
	}
	for {
		m := member{start: len(dst)}
		s.space()
		var err error
		if dst, err = s.text(append(dst, '"'), true); err != nil {
			return nil, err
		}
		m.keyEnd = len(dst)
		if err = s.expect(':', "a colon"); err != nil {
			return nil, err
		}
		if name, ok := roots[string(dst[m.start+1:m.keyEnd])]; ok {
			dst = dst[:m.start]
			if _, dup := doc[name]; dup {
				return nil, s.fail("a key that is there twice")
			}
			if doc[name], err = s.value(); err != nil {
				return nil, err
			}
		} else {
			if dst, err = w.raw(append(dst, '"', ':')); err != nil {
				return nil, err
			}
			dst = append(dst, ',')
			m.end = len(dst)
			w.members = append(w.members, m)
		}
		if s.peek() != ',' {
			break
		}
		s.pos++
	}
	return dst, s.expect('}', "a comma or the end of the object")
}
