package devtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	cleanupLimit = 2 * time.Minute
	// namesPerCall keeps a request line below the engines' 4096 bytes: an
	// index name has at most 255.
	namesPerCall = 14
)

// Prefix returns a tenant id that no other test uses: 12 characters of a–z and
// 2–7, the first a letter. When the test ends, every index, alias, template, ingest
// pipeline and snapshot repository whose name contains it is removed from
// every engine this process has used.
func Prefix(t testing.TB) string {
	t.Helper()
	prefix := "t" + strings.ToLower(rand.Text()[:11])
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
		defer cancel()
		for _, base := range usedEngines() {
			if err := removeAll(ctx, base, prefix); err != nil {
				t.Errorf("remove what the test left in %s: %v", base, err)
			}
		}
	})
	return prefix
}

func usedEngines() []string {
	servers.mu.Lock()
	defer servers.mu.Unlock()
	var urls []string
	for _, started := range servers.engines {
		<-started.ready
		if started.err == nil && !slices.Contains(urls, started.url) {
			urls = append(urls, started.url)
		}
	}
	return urls
}

// removeAll deletes by exact names what a listing by pattern found. Aliases
// whose name has the prefix on indices that have not go with the alias call.
func removeAll(ctx context.Context, base, prefix string) error {
	indices, err := namesOf(ctx, base, "/_settings/index.number_of_shards?expand_wildcards=all", prefix)
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(indices, namesPerCall) {
		target := "/" + escaped(chunk) + "?ignore_unavailable=true"
		if err := call(ctx, http.MethodDelete, base+target, nil); err != nil {
			return err
		}
	}
	if err := removeAliases(ctx, base, prefix); err != nil {
		return err
	}
	for _, kind := range []string{"/_index_template", "/_template", "/_component_template", "/_ingest/pipeline", "/_snapshot"} {
		names, err := namesOf(ctx, base, kind, prefix)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := call(ctx, http.MethodDelete, base+kind+"/"+url.PathEscape(name), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// namesOf lists the names at path that contain the prefix. The answers are
// either an object by name or {"index_templates":[{"name":…}]}.
func namesOf(ctx context.Context, base, path, prefix string) ([]string, error) {
	var answer map[string]json.RawMessage
	if err := call(ctx, http.MethodGet, base+path, &answer); err != nil {
		return nil, err
	}
	var names []string
	for name, content := range answer {
		var listed []struct {
			Name string `json:"name"`
		}
		if json.Unmarshal(content, &listed) == nil {
			for _, entry := range listed {
				names = append(names, entry.Name)
			}
			continue
		}
		names = append(names, name)
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.Contains(name, prefix) }), nil
}

func removeAliases(ctx context.Context, base, prefix string) error {
	var answer map[string]struct {
		Aliases map[string]struct{} `json:"aliases"`
	}
	if err := call(ctx, http.MethodGet, base+"/_alias", &answer); err != nil {
		return err
	}
	for index, content := range answer {
		for alias := range content.Aliases {
			if !strings.Contains(alias, prefix) {
				continue
			}
			target := base + "/" + url.PathEscape(index) + "/_alias/" + url.PathEscape(alias)
			if err := call(ctx, http.MethodDelete, target, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func escaped(names []string) string {
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = url.PathEscape(name)
	}
	return strings.Join(parts, ",")
}

// client opens a connection per call, so that no goroutine is left to goleak.
var client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}

// call accepts 404: what is gone already need not be removed.
func call(ctx context.Context, method, target string, into any) (err error) {
	request, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, target, err)
	}
	if response.StatusCode == http.StatusNotFound {
		return nil
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: status %d: %s", method, target, response.StatusCode, body)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(body, into)
}
