package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/errgroup"
)

// scrollPage is as many documents as the comparison asks for at once.
const scrollPage = 2_000

// plain asks for no compression, which costs the engine more than the answer
// does on its way.
var plain = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 4}}

// scrollBoth reads both sides at the same time the way the engine does it
// fastest, in no order, and throws the documents away.
func (b *bench) scrollBoth(ctx context.Context, p pair) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, index := range []string{b.source, p.target} {
		g.Go(func() error { return b.scroll(ctx, index) })
	}
	return g.Wait()
}

func (b *bench) scroll(ctx context.Context, index string) error {
	n := 0
	var page bytes.Buffer // made once: to grow one for each page costs as much as to read it
	answer, err := b.post(ctx, &page, "/"+index+"/_search?scroll=1m",
		map[string]any{"size": scrollPage, "sort": []string{"_doc"}})
	for {
		if err != nil {
			return err
		}
		hits := bytes.Count(answer, []byte(`"_source":`))
		if n += hits; hits == 0 {
			break
		}
		id := gjson.GetBytes(answer, "_scroll_id").Str
		answer, err = b.post(ctx, &page, "/_search/scroll", map[string]any{"scroll": "1m", "scroll_id": id})
	}
	if n != b.docs {
		return fmt.Errorf("scrolled %d of %d documents of %s", n, b.docs, index)
	}
	return nil
}

func (b *bench) post(ctx context.Context, into *bytes.Buffer, path string, body any) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url+path, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := plain.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	into.Reset()
	_, err = into.ReadFrom(res.Body)
	answer := into.Bytes()
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %d: %.300s", path, res.StatusCode, answer)
	}
	return answer, err
}
