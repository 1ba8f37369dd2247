package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"

	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/stream"
)

// Page implements upgrader.Engine. Index must be the name of an index, not an
// alias. All Sources of a page share one buffer, that of the request if it has
// one: copy what is kept for long.
//
// The shard is read from whichever copy answers; with replicas, refresh
// before reading, for each copy refreshes on its own.
func (c *Client) Page(ctx context.Context, p stream.PageRequest) ([]stream.Doc, error) {
	op := fmt.Sprintf("read documents of %s, shard %d, after sequence number %d", p.Index, p.Shard, p.From)
	if err := checkNames(op, p.Index); err != nil {
		return nil, err
	}
	if p.Size < 1 || p.Size > maxHits {
		return nil, fmt.Errorf("%s: page size %d is not in 1..%d", op, p.Size, maxHits)
	}
	into := p.Into
	if into == nil {
		into = &stream.Buffer{}
	}
	ctx, cancel := c.patient(ctx) // documents may be large, and the way slow
	defer cancel()
	body := fmt.Appendf(nil, `{"size":%d,"query":{"range":{"_seq_no":{"gt":%d,"lte":%d}}},"sort":[{"_seq_no":"asc"}],`+
		`"seq_no_primary_term":true,"track_total_hits":false,"_source":%t}`, p.Size, p.From, p.To, !p.IDsOnly)
	res, err := c.fetch(ctx, call{op: op, request: fixed(request{
		method: http.MethodPost, path: "/" + p.Index + "/_search", body: body,
		query: query("preference", "_shards:"+strconv.Itoa(p.Shard),
			"allow_partial_search_results", "false", "request_cache", "false"),
	}), into: into.Body})
	if err != nil {
		return nil, err
	}
	into.Body = res.body
	into.Docs, err = decodePage(op, res.body, p, into.Docs[:0])
	return into.Docs, err
}

// decodePage appends the documents of an answer to docs. It goes through the
// answer once: a page is megabytes, nearly all of it _source, of which nothing
// but the end is looked for.
func decodePage(op string, body []byte, p stream.PageRequest, docs []stream.Doc) ([]stream.Doc, error) {
	root := gjson.Parse(unsafe.String(unsafe.SliceData(body), len(body))) // no copy
	if shards := root.Get("_shards.total").Int(); shards != 1 {
		return nil, fmt.Errorf("%s: %d shards answered instead of one; there is no such shard, or %s is an alias", op, shards, p.Index)
	}
	if root.Get("timed_out").Bool() || root.Get("_shards.failed").Int() != 0 {
		return nil, &upgrader.EngineError{
			Op: op, Status: http.StatusServiceUnavailable, Type: "shards_failed", Reason: "the answer is not complete",
		}
	}
	first := root.Get("hits.hits.0")
	if !first.Exists() {
		if hits := root.Get("hits.hits"); !hits.IsArray() {
			return nil, fmt.Errorf("%s: the answer has no hits, not even an empty list of them", op)
		}
		return docs, nil
	}
	docs = slices.Grow(docs, p.Size)
	c := cursor{buf: body, pos: first.Index}
	for {
		d, ok := c.document(p.Index)
		if !ok {
			return nil, fmt.Errorf("%s: the answer is no JSON at byte %d", op, c.pos)
		}
		d.Shard = p.Shard
		if d.ID == "" || d.SeqNo < 0 || (d.Source == nil) != p.IDsOnly {
			return nil, fmt.Errorf("%s: hit %q lacks its sequence number or _source; is _source switched off in the mapping?", op, d.ID)
		}
		docs = append(docs, d)
		switch c.next() {
		case ',':
			c.pos++
		case ']':
			return docs, nil
		default:
			return nil, fmt.Errorf("%s: the answer is no JSON at byte %d", op, c.pos)
		}
	}
}

// cursor goes through JSON of which it needs little. It sees where values end,
// not whether they are well formed: whoever looks into them does.
type cursor struct {
	buf []byte
	pos int
}

// document reads the hit at hand. Source is a part of the buffer, byte for byte
// as the engine stored it; strings are copies, so that they do not hold on to it.
func (c *cursor) document(index string) (stream.Doc, bool) {
	d := stream.Doc{Index: index, SeqNo: -1}
	if c.next() != '{' {
		return d, false
	}
	c.pos++
	if c.next() == '}' {
		c.pos++
		return d, true
	}
	for {
		key, ok := c.value()
		if !ok || c.next() != ':' {
			return d, false
		}
		c.pos++
		v, ok := c.value()
		if !ok {
			return d, false
		}
		switch string(key) {
		case `"_index"`:
			if x := text(v); x != index {
				d.Index = strings.Clone(x)
			}
		case `"_id"`:
			d.ID = strings.Clone(text(v))
		case `"_routing"`:
			d.Routing = strings.Clone(text(v))
		case `"_seq_no"`:
			d.SeqNo = integer(v)
		case `"_primary_term"`:
			d.Term = integer(v)
		case `"_source"`:
			d.Source = json.RawMessage(v)
		}
		switch c.next() {
		case ',':
			c.pos++
		case '}':
			c.pos++
			return d, true
		default:
			return d, false
		}
	}
}

// text is the string that a literal stands for. It may be a part of the buffer.
func text(literal []byte) string {
	return gjson.Parse(unsafe.String(unsafe.SliceData(literal), len(literal))).String()
}

func integer(literal []byte) int64 {
	return gjson.Parse(unsafe.String(unsafe.SliceData(literal), len(literal))).Int()
}

// next skips white space and tells the byte at hand, 0 at the end.
func (c *cursor) next() byte {
	for c.pos < len(c.buf) {
		if b := c.buf[c.pos]; b > ' ' {
			return b
		}
		c.pos++
	}
	return 0
}

// value skips the value at hand and returns it. It cannot be grown.
func (c *cursor) value() ([]byte, bool) {
	b, from := c.next(), c.pos
	var ok bool
	switch b {
	case '"':
		ok = c.skipString()
	case '{', '[':
		ok = c.skipNested()
	default:
		for c.pos < len(c.buf) && c.buf[c.pos] > ' ' && !bytes.ContainsRune(endsLiteral, rune(c.buf[c.pos])) {
			c.pos++
		}
		ok = c.pos > from
	}
	return c.buf[from:c.pos:c.pos], ok
}

var endsLiteral = []byte(",]}:")

// skipNested skips the object or list at hand.
func (c *cursor) skipNested() bool {
	depth := 0
	buf := c.buf
	for i := c.pos; i < len(buf); i++ {
		b := buf[i]
		if b == '"' {
			i = stringEnd(buf, i+1)
			continue
		}
		if b < '[' { // most of what is between strings: commas and colons
			continue
		}
		switch b {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				c.pos = i + 1
				return true
			}
		}
	}
	return false
}

// skipString skips the string at the opening quote.
func (c *cursor) skipString() bool {
	end := stringEnd(c.buf, c.pos+1)
	c.pos = min(end+1, len(c.buf))
	return end < len(c.buf)
}

// stringEnd is where the closing quote of a string stands, from a byte of it
// on, or beyond the buffer if it has none. Most strings are short: looking at
// each byte beats a call of bytes.IndexByte.
func stringEnd(buf []byte, i int) int {
	for i < len(buf) && buf[i] != '"' {
		if buf[i] == '\\' {
			i++
		}
		i++
	}
	return i
}
