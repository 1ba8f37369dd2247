package verify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tracardi/tms/upgrader/stream"
	"github.com/tracardi/tms/upgrader/verify"
)

// memory is an engine that holds documents of one shard per index, and may
// break down after some pages.
type memory struct {
	docs  map[string][]stream.Doc // ascending
	known map[string]bool
	pages atomic.Int64
	last  int64 // the page that fails; 0 for none
}

var errDown = errors.New("the engine is down")

func (m *memory) Page(_ context.Context, p stream.PageRequest) ([]stream.Doc, error) {
	if n := m.pages.Add(1); m.last > 0 && n >= m.last {
		return nil, errDown
	}
	var out []stream.Doc
	for _, d := range m.docs[p.Index] {
		if d.SeqNo > p.From && d.SeqNo <= p.To && len(out) < p.Size {
			out = append(out, d)
		}
	}
	return out, nil
}

func (m *memory) put(index, id, source string) {
	seq := int64(0)
	if n := len(m.docs[index]); n > 0 {
		seq = m.docs[index][n-1].SeqNo + 1
	}
	if m.known[index+id] {
		m.docs[index] = slices.DeleteFunc(m.docs[index], func(d stream.Doc) bool { return d.ID == id })
	}
	m.known[index+id] = true
	m.docs[index] = append(m.docs[index], stream.Doc{Index: index, ID: id, SeqNo: seq, Source: []byte(source)})
}

func (m *memory) top(index string) stream.Checkpoint {
	d := m.docs[index]
	return stream.Checkpoint{0: d[len(d)-1].SeqNo}
}

// Whatever differs between two sides is suspected, and nothing else; also when
// the comparison breaks down in the middle, documents change on both sides
// meanwhile, and another process goes on.
func TestComparisonFindsWhatDiffers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := &memory{docs: map[string][]stream.Doc{}, known: map[string]bool{}}
		n := rapid.IntRange(3_000, 9_000).Draw(t, "documents")
		for i := range n {
			m.both(fmt.Sprint(i), i)
		}
		wrong := map[string]bool{}
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 5).Draw(t, "wrong") {
			wrong[fmt.Sprint(i)] = true
		}
		for id := range wrong {
			m.put("target", id, `{"wrong":true}`)
		}
		written := rapid.Bool().Draw(t, "as written")
		progress := map[verify.SideName]verify.SideProgress{}
		saved := make(chan verify.SideProgress, 100)
		compare := func() (*verify.Comparison, *verify.Sums, error) {
			c := &verify.Comparison{
				Engine: m, Target: verify.Side{Index: "target", To: m.top("target")}, Sources: []verify.Side{{Index: "source", To: m.top("source")}},
				Written: written, Resume: progress, SaveDocs: 1, SaveEvery: 1,
				Save: func(_ context.Context, p verify.SideProgress) error {
					at := map[string]stream.Checkpoint{}
					for k, v := range p.At {
						at[k] = stream.Checkpoint{0: v[0]}
					}
					p.At = at
					saved <- p
					return nil
				},
			}
			sums, err := c.Run(context.Background())
			for len(saved) > 0 {
				p := <-saved
				progress[p.Side] = p
			}
			return c, sums, err
		}
		m.last = int64(rapid.IntRange(1, 8).Draw(t, "breaks down at page"))
		c, sums, err := compare()
		if err != nil {
			require.ErrorIs(t, err, errDown)
			// Writers go on, and what they write is copied.
			for _, i := range rapid.SliceOfN(rapid.IntRange(0, n-1), 0, 5).Draw(t, "changed") {
				if id := fmt.Sprint(i); !wrong[id] {
					m.both(id, -i)
				}
			}
			m.last = 0
			c, sums, err = compare()
			require.NoError(t, err)
		}
		m.last = 0
		var found []string
		require.NoError(t, c.Suspects(context.Background(), sums, func(ids []string) (bool, error) {
			found = append(found, ids...)
			return false, nil
		}))
		for id := range wrong {
			require.Contains(t, found, id)
		}
		require.Len(t, found, len(wrong))
	})
}

// both writes a document to both sides, each with its own spelling.
func (m *memory) both(id string, value int) {
	m.put("source", id, fmt.Sprintf(`{"v": %d, "id": %q}`, value, id))
	m.put("target", id, fmt.Sprintf(`{"id": %q, "v": %d}`, id, value))
}

// A comparison that goes on does not begin at the first document again.
func TestComparisonGoesOn(t *testing.T) {
	t.Parallel()
	m := &memory{docs: map[string][]stream.Doc{}, known: map[string]bool{}}
	const n = 20_000
	for i := range n {
		m.both(fmt.Sprint(i), i)
	}
	saved := make(chan verify.SideProgress, 100)
	compare := func(resume map[verify.SideName]verify.SideProgress) (*verify.Sums, error) {
		c := &verify.Comparison{
			Engine: m, Target: verify.Side{Index: "target", To: m.top("target")}, Sources: []verify.Side{{Index: "source", To: m.top("source")}},
			Resume: resume, SaveDocs: 1, SaveEvery: 1,
			Save: func(_ context.Context, p verify.SideProgress) error {
				p.At = map[string]stream.Checkpoint{string(p.Side): {0: p.At[string(p.Side)][0]}}
				saved <- p
				return nil
			},
		}
		return c.Run(t.Context())
	}
	m.last = 15
	_, err := compare(nil)
	require.ErrorIs(t, err, errDown)
	resume := map[verify.SideName]verify.SideProgress{}
	for len(saved) > 0 {
		p := <-saved
		resume[p.Side] = p
	}
	m.last = 0
	m.pages.Store(0)
	sums, err := compare(resume)
	require.NoError(t, err)
	require.Equal(t, sums.Source(), sums.Target())
	require.EqualValues(t, n, sums.Source().Count)
	require.Less(t, m.pages.Load(), int64(12), "of 20 pages on both sides together, at least 10 were behind us")
}

// Documents as they are written are not looked into where both sides are written
// alike. Where all are written differently, the comparison begins again in
// canonical form, instead of looking at one after the other.
func TestComparisonAsWritten(t *testing.T) {
	t.Parallel()
	m := &memory{docs: map[string][]stream.Doc{}, known: map[string]bool{}}
	compare := func() (*verify.Comparison, *verify.Sums) {
		c := &verify.Comparison{Engine: m, Target: verify.Side{Index: "target", To: m.top("target")}, Sources: []verify.Side{{Index: "source", To: m.top("source")}}, Written: true}
		sums, err := c.Run(t.Context())
		require.NoError(t, err)
		return c, sums
	}
	suspects := func(c *verify.Comparison, sums *verify.Sums) (found []string) {
		require.NoError(t, c.Suspects(t.Context(), sums, func(ids []string) (bool, error) {
			found = append(found, ids...)
			return false, nil
		}))
		return found
	}
	for i := range 3000 {
		m.put("source", fmt.Sprint(i), "neither parsed nor changed")
		m.put("target", fmt.Sprint(i), "neither parsed nor changed")
	}
	c, sums := compare()
	require.Equal(t, sums.Source(), sums.Target())
	require.Empty(t, suspects(c, sums))

	clear(m.docs)
	clear(m.known)
	const n = 110_000 // more than are looked at one by one
	for i := range n {
		m.both(fmt.Sprint(i), i)
	}
	m.put("target", "7", `{"wrong":true}`)
	c, sums = compare()
	require.NotEqual(t, sums.Source(), sums.Target())
	before := m.pages.Load()
	require.Equal(t, []string{"7"}, suspects(c, sums))
	require.Less(t, m.pages.Load()-before, int64(5*n/stream.PageSize), "both sides whole, and once more for one bucket")
}
