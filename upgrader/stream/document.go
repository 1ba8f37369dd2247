package stream

import "encoding/json"

// Doc is one document. Source is the stored JSON, byte for byte.
type Doc struct {
	Index   string
	ID      string
	Routing string
	SeqNo   int64
	Term    int64           // primary term: with SeqNo, names this version of the document
	Shard   int             // only set by Pager.Page
	Source  json.RawMessage // nil with PageRequest.IDsOnly
}

// PageRequest asks for one page of one shard.
type PageRequest struct {
	Index string
	Shard int
	From  int64 // exclusive; -1 starts at the beginning
	To    int64 // inclusive; a caller that reads a whole shard moves a window of sequence numbers, so that a page costs what it holds
	Size  int   // most documents returned, 1..10000; a full page means there may be more behind its last document
	// IDsOnly leaves Source empty.
	IDsOnly bool
	// Into, unless nil, is memory that the page may use: it overwrites the page
	// that was read into it before.
	Into *Buffer
}

// Buffer is memory for a page at a time. The zero value is one that grows. Not
// safe for concurrent use.
type Buffer struct {
	Body []byte
	Docs []Doc
}

// IDs are the ids of documents, in their order.
func IDs(docs []Doc) []string {
	out := make([]string, len(docs))
	for i, d := range docs {
		out[i] = d.ID
	}
	return out
}
