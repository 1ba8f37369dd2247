package elastic

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/upgrader/stream"
)

const pageHead = `{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"max_score":null,"hits":`

func page(t *testing.T, ids bool, hits string) ([]stream.Doc, error) {
	t.Helper()
	return decodePage("page", []byte(pageHead+hits+"}}"), stream.PageRequest{Index: "a", Shard: 3, Size: 10, IDsOnly: ids}, nil)
}

func TestDecodePage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		hits string
		ids  bool
		want []stream.Doc
		err  string
	}{
		"none": {hits: `[]`},
		"two, in any order and spacing": {
			hits: `[{"_index":"a","_id":"1","_seq_no":5,"_primary_term":2,"_score":null,"_source":{"a":["}\"\\",{}]},"sort":[5]} ,` +
				"\n" + ` { "_source" : { } , "_routing":"r", "_primary_term" : 3,"_seq_no":6 , "_id":"\u00fc\"2", "_index":"b" } ]`,
			want: []stream.Doc{
				{Index: "a", ID: "1", SeqNo: 5, Term: 2, Shard: 3, Source: json.RawMessage(`{"a":["}\"\\",{}]}`)},
				{Index: "b", ID: `ü"2`, Routing: "r", SeqNo: 6, Term: 3, Shard: 3, Source: json.RawMessage(`{ }`)},
			},
		},
		"ids only":            {ids: true, hits: `[{"_id":"1","_seq_no":0}]`, want: []stream.Doc{{Index: "a", ID: "1", Shard: 3}}},
		"no source":           {hits: `[{"_id":"1","_seq_no":0}]`, err: "switched off in the mapping"},
		"no sequence number":  {hits: `[{"_id":"1","_source":{}}]`, err: `hit "1" lacks its sequence number`},
		"a source unasked":    {ids: true, hits: `[{"_id":"1","_seq_no":0,"_source":{}}]`, err: "lacks"},
		"empty hit":           {hits: `[{}]`, err: `hit "" lacks`},
		"no list":             {hits: `null`, err: "has no hits"},
		"cut in a string":     {hits: `[{"_id":"1`, err: "is no JSON at byte"},
		"cut in an object":    {hits: `[{"_id":"1","_seq_no":0,"_source":{"a":{}`, err: "is no JSON at byte"},
		"cut behind a hit":    {hits: `[{"_id":"1","_seq_no":0,"_source":{}}`, err: "is no JSON at byte"},
		"cut behind a comma":  {hits: `[{"_id":"1","_seq_no":0,"_source":{}},`, err: "is no JSON at byte"},
		"no colon":            {hits: `[{"_id" 1}]`, err: "is no JSON at byte"},
		"cut behind a escape": {hits: `[{"_id":"1\`, err: "is no JSON at byte"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := page(t, c.ids, c.hits)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

// Whatever is JSON comes out as it stood; what is not never passes the end of
// the buffer.
func FuzzDecodePage(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"\\\"]}"}`, `[1,"x",[{}]]`, ` { "a" : [ ] } `, `"\\`, `{"a":`, `12e5`, `null`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		hits := fmt.Sprintf(`[{"_id":"1","_seq_no":0,"_source":%s,"sort":[0]}]`, source)
		docs, err := page(t, false, hits)
		if !json.Valid([]byte(source)) {
			return
		}
		var want []struct {
			Source json.RawMessage `json:"_source"`
		}
		require.NoError(t, json.Unmarshal([]byte(hits), &want))
		require.NoError(t, err, source)
		require.Len(t, docs, 1)
		require.Equal(t, string(want[0].Source), string(docs[0].Source))
	})
}
