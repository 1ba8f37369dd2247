package releases

import "strings"

// Canonicaliser returns a function that appends the canonical form of what the
// transform makes of a document: the same as DecodeDoc, Apply and Canonical,
// but only those fields are decoded that an operation names. Most of
// a document is of others, so this is several times faster. The transform must
// not be opaque. The function is safe for concurrent use; its errors are those
// of DecodeDoc and Apply.
func (t Transform) Canonicaliser() func(dst, raw []byte) ([]byte, error) {
	if t.Empty() {
		return CanonicalJSON
	}
	named, run := t.named(), t.program()
	return func(dst, raw []byte) ([]byte, error) {
		w := writers.Get().(*writer)
		defer writers.Put(w)
		w.exact, w.members, w.aside, w.kept = false, w.members[:0], w.aside[:0], w.kept[:0]
		w.src = scanner{buf: raw, lent: &w.lent}
		out, err := w.transformed(dst, named, run)
		w.lent.takeBack()
		w.src = scanner{}
		if err != nil {
			return dst, err
		}
		return out, nil
	}
}

// branch is a field that an operation names, or one that leads there.
type branch struct {
	name string
	// whole fields are decoded with all that they hold: an operation takes them
	// as they are.
	whole bool
	// under are the named fields below, by name, and encoded by the canonical
	// encoding of their names.
	under, encoded map[string]*branch
}

func (b *branch) add(path []string) {
	for _, name := range path {
		if b.under == nil {
			b.under, b.encoded = map[string]*branch{}, map[string]*branch{}
		}
		next := b.under[name]
		if next == nil {
			next = &branch{name: name}
			text := appendText(nil, name)
			b.under[name], b.encoded[string(text[1:len(text)-1])] = next, next
		}
		b = next
	}
	b.whole = true
}

// named are the fields that the transform may read or write. What is no path
// (the target of a conversion) does no harm here.
func (t Transform) named() *branch {
	root := &branch{}
	for _, op := range t.Ops {
		paths := []string{op.Field, op.From}
		switch {
		case op.Kind == OpRename:
			paths = append(paths, strings.TrimSuffix(op.Field, lastName(op.Field))+op.To)
		case op.Kind != OpRoute:
			paths = append(paths, op.To)
		case op.byDate():
			paths = append(paths, op.By)
		}
		if op.When != nil {
			paths = append(paths, op.When.Field)
		}
		for _, p := range paths {
			if p != "" {
				root.add(names(p))
			}
		}
	}
	return root
}

// untouched is a value that no operation looks into: where its canonical form
// stands in writer.aside. A pointer to it, unlike the value, is put into an
// object without memory of its own.
type untouched struct{ from, to int }

func (w *writer) transformed(dst []byte, named *branch, run program) ([]byte, error) {
	s := &w.src
	if s.peek() != '{' {
		return nil, &SyntaxError{Text: "a document must be an object"}
	}
	dst = append(dst, '{')
	start, base := len(dst), len(w.members)
	doc := s.newObject()
	dst, err := w.split(dst, doc, named)
	if err == nil {
		err = s.end()
	}
	if err == nil {
		err = run.run(doc)
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

// split reads the document at hand: fields that are named into doc, the
// others, in canonical form, into dst.
func (w *writer) split(dst []byte, doc map[string]any, named *branch) ([]byte, error) {
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
		if b := named.encoded[string(dst[m.start+1:m.keyEnd])]; b != nil {
			dst = dst[:m.start]
			if _, dup := doc[b.name]; dup {
				return nil, s.fail("a key that is there twice")
			}
			if doc[b.name], err = w.partly(b); err != nil {
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

// partly decodes the value at hand as far as operations look into it. Elements
// of a list are as the list: paths lead through lists.
func (w *writer) partly(b *branch) (any, error) {
	s := &w.src
	c := s.peek()
	switch {
	case b.whole || c != '{' && c != '[':
		return s.value()
	case c == '[':
		return s.listOf(func() (any, error) { return w.partly(b) })
	}
	return s.objectOf(func(key string) (any, error) {
		if below := b.under[key]; below != nil {
			return w.partly(below)
		}
		if s.peek() == 'n' {
			return nil, s.word("null")
		}
		from := len(w.aside)
		var err error
		w.aside, err = w.raw(w.aside)
		w.kept = append(w.kept, untouched{from, len(w.aside)})
		return &w.kept[len(w.kept)-1], err
	})
}
