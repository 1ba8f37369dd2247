package elastic

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/tracardi/tms/upgrader/stream"
)

// BenchmarkDecodePage decodes a page of 1000 documents of 1 kB.
func BenchmarkDecodePage(b *testing.B) {
	var body bytes.Buffer
	body.WriteString(`{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},"hits":{"max_score":null,"hits":[`)
	source := `{"id":"x","list":[` + string(bytes.Repeat([]byte(`{"word":"lorem ipsum","n":1.0},`), 31)) + `{}],"n":1.0}`
	for i := range 1000 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"_index":"a","_type":"_doc","_id":"%d","_seq_no":%d,"_primary_term":1,"_score":null,"_source":%s,"sort":[%d]}`, i, i, source, i)
	}
	body.WriteString(`]}}`)
	b.SetBytes(int64(body.Len()))
	b.ReportAllocs()
	var docs []stream.Doc
	for b.Loop() {
		var err error
		docs, err = decodePage("bench", body.Bytes(), stream.PageRequest{Index: "a", Size: 1000}, docs[:0])
		if err != nil || len(docs) != 1000 {
			b.Fatal(err, len(docs))
		}
	}
}
