package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/releases"
)

// bulkSize is the number of documents in one bulk request of Fill, about a
// megabyte of JSON.
const bulkSize = 1000

// weights says how the documents of a tenant spread over the resources that
// grow with its traffic. Every other resource is configuration.
var weights = []weight{
	{"event", 60}, {"session", 14}, {"profile", 11}, {"log", 6}, {"entity", 3},
	{"item", 2}, {"user-logs", 2}, {"console-log", 2},
}

type weight struct {
	resource string
	share    int // percent
}

// mostConfiguration is the most documents of one kind of configuration.
const mostConfiguration = 5

// draft is a document that is to be written.
type draft struct {
	slot  slot
	month int // index into Tenant.months
}

// Fill loads n generated documents in bulk, spread over resources, modes and
// months, and records them. Three quarters go to production, the younger months
// hold more than the older ones. It may be called again for more.
func (t *Tenant) Fill(ctx context.Context, n int) error {
	resources, err := t.resources(t.release)
	if err != nil {
		return err
	}
	drafts := t.drafts(resources, n)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(2) // two bulk requests in flight keep two cores busy
	for chunk := range slices.Chunk(drafts, bulkSize) {
		first := t.reserve(chunk)
		group.Go(func() error { return t.load(gctx, chunk, first) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("fill tenant %s: %w", t.cfg.Tenant, err)
	}
	return nil
}

// drafts decides what is written where.
func (t *Tenant) drafts(resources []releases.Resource, n int) []draft {
	rng := rand.New(rand.NewPCG(t.cfg.Seed, uint64(n)))
	drafts := make([]draft, 0, n)
	last := len(t.months) - 1
	var growing []releases.Resource
	var bounds []int
	total := 0
	each := min(mostConfiguration, 1+n/1000)
	for _, res := range resources {
		if i := slices.IndexFunc(weights, func(w weight) bool { return w.resource == res.Key }); i >= 0 {
			total += weights[i].share
			growing, bounds = append(growing, res), append(bounds, total)
			continue
		}
		if res.Static || fillers[res.Key] == nil {
			continue
		}
		for range each {
			for _, mode := range modes(res) {
				drafts = append(drafts, draft{slot{mode, res}, last})
			}
		}
	}
	// A tiny fill is still mostly traffic.
	if len(growing) > 0 && len(drafts) > n/2 {
		rng.Shuffle(len(drafts), func(i, j int) { drafts[i], drafts[j] = drafts[j], drafts[i] })
		drafts = drafts[:n/2]
	}
	drafts = drafts[:min(len(drafts), n)]
	for len(growing) > 0 && len(drafts) < n {
		i, _ := slices.BinarySearch(bounds, 1+rng.IntN(total))
		mode := Production
		if rng.IntN(4) == 0 {
			mode = Staging
		}
		// The greater of two draws: younger months are fuller.
		month := max(rng.IntN(len(t.months)), rng.IntN(len(t.months)))
		drafts = append(drafts, draft{slot{existing(growing[i], mode), growing[i]}, month})
	}
	return drafts
}

// existing is the mode, or staging where there is no other.
func existing(res releases.Resource, m Mode) Mode {
	if res.StagingOnly {
		return Staging
	}
	return m
}

// reserve hands out serial numbers for a batch, one per draft.
func (t *Tenant) reserve(drafts []draft) []int {
	t.mu.Lock()
	defer t.mu.Unlock()
	serials := make([]int, len(drafts))
	for i, d := range drafts {
		serials[i] = t.next[d.slot.res.Key]
		t.next[d.slot.res.Key]++
	}
	return serials
}

// load writes one batch and records what was acknowledged.
func (t *Tenant) load(ctx context.Context, drafts []draft, serials []int) error {
	writes := make([]write, len(drafts))
	refs := make([]ref, len(drafts))
	for i, d := range drafts {
		id, doc := t.generate(d.slot.res, serials[i], t.months[d.month])
		raw, err := json.Marshal(doc)
		if err != nil {
			return fmt.Errorf("encode %s %s: %w", d.slot.res.Key, id, err)
		}
		label := partition(d.slot.res.Partitioning, t.months[d.month])
		refs[i] = ref{d.slot.mode, d.slot.res.Key, label, id}
		writes[i] = write{indexName(d.slot.mode, t.release.Prefix, t.named(t.release.Prefix), d.slot.res.Base, label), id, raw}
	}
	verdicts, err := t.engine.bulk(ctx, writes)
	if err != nil {
		for i := range refs {
			t.history.doubt(t.release.Version, refs[i], state{absent: true}, state{serial: serials[i], month: drafts[i].month})
		}
		return err
	}
	var failed []error
	for i, v := range verdicts {
		if !v.acknowledged() && v.status == http.StatusBadRequest {
			// Two documents that teach a field at once refuse each other.
			again, err := t.engine.bulk(ctx, writes[i:i+1])
			if err != nil {
				return err
			}
			v = again[0]
		}
		if v.acknowledged() {
			t.history.commit(t.release.Version, refs[i], state{serial: serials[i], month: drafts[i].month}, false)
		} else if len(failed) < 5 {
			failed = append(failed, fmt.Errorf("%s/%s: %d %s: %s", writes[i].index, writes[i].id, v.status, v.kind, v.reason))
		}
	}
	return errors.Join(failed...)
}

// source renders a recorded state as the JSON that was sent.
func (t *Tenant) source(res releases.Resource, s state) (json.RawMessage, error) {
	if s.source != nil {
		return s.source, nil
	}
	_, doc := t.generate(res, s.serial, t.months[s.month])
	return json.Marshal(doc)
}

// one draws the resource and mode of a single new document of today; nil when
// the tenant has no resource that anything is written to.
func (t *Tenant) one(resources []releases.Resource, rng *rand.Rand) *draft {
	var growing, configured []releases.Resource
	var bounds []int
	total := 0
	for _, res := range resources {
		i := slices.IndexFunc(weights, func(w weight) bool { return w.resource == res.Key })
		switch {
		case i >= 0:
			total += weights[i].share
			growing, bounds = append(growing, res), append(bounds, total)
		case !res.Static && fillers[res.Key] != nil:
			configured = append(configured, res)
		}
	}
	mode := Production
	if rng.IntN(4) == 0 {
		mode = Staging
	}
	d := draft{month: len(t.months) - 1}
	switch {
	case len(configured) > 0 && (len(growing) == 0 || rng.IntN(20) == 0):
		res := configured[rng.IntN(len(configured))]
		d.slot = slot{existing(res, mode), res}
	case len(growing) > 0:
		i, _ := slices.BinarySearch(bounds, 1+rng.IntN(total))
		d.slot = slot{existing(growing[i], mode), growing[i]}
	default:
		return nil
	}
	return &d
}
