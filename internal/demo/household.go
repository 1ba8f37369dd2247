package demo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tracardi/tms/internal/fleet"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/releases"
)

// names of the first tenants; later ones are numbered.
var names = []string{
	"acorn", "birch", "cedar", "dahlia", "elder", "fern", "ginkgo", "hazel", "iris", "juniper",
	"kale", "larch", "maple", "nettle", "olive", "poplar", "quince", "rowan", "sage", "thyme",
}

// watchShare is the part of a second after which another look at some tenant's
// aliases may follow: twenty looks a second in all leave the engine its time.
const watchShare = 50 * time.Millisecond

func tenantName(i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("%s%d", names[i%len(names)], i/len(names)+1)
}

// makeFleet registers the tenants and plays their installer.
func (d *demo) makeFleet(ctx context.Context) error {
	d.title("A fleet of %s on release %s", plural(d.Tenants, "tenant", "tenants"), d.From)
	if err := d.register(ctx); err != nil {
		return err
	}
	if err := d.install(ctx); err != nil {
		return err
	}
	return d.fill(ctx)
}

// register provisions the tenants over gRPC.
func (d *demo) register(ctx context.Context) error {
	catalogue, err := releases.Builtin()
	if err != nil {
		return fmt.Errorf("built-in releases: %w", err)
	}
	registry := tmsv1.NewTenantServiceClient(d.conn)
	began := time.Now()
	for i := range d.Tenants {
		name := tenantName(i)
		tenant, err := fleet.New(fleet.Config{
			URL: d.stack.Engine.URL(), Catalogue: catalogue, Release: d.From, Tenant: name,
			Seed: d.Seed + uint64(i), Months: d.Months,
			WatchInterval: time.Duration(d.Tenants) * watchShare,
		})
		if err != nil {
			return err
		}
		d.tenants = append(d.tenants, tenant)
		_, err = registry.Create(ctx, &tmsv1.CreateTenantRequest{Tenant: &tmsv1.Tenant{
			Id: name, DisplayName: strings.ToUpper(name[:1]) + name[1:] + " Ltd", Email: "owner@" + name + ".example",
			Release: d.From, Labels: map[string]string{"made-by": "demo"},
		}})
		if err != nil {
			return fmt.Errorf("register tenant %s: %w", name, err)
		}
	}
	d.say("registered over gRPC: %s (%s)", d.list(), took(time.Since(began)))
	return nil
}

func (d *demo) list() string {
	var all []string
	for i, t := range d.tenants {
		if i == 8 {
			all = append(all, fmt.Sprintf("and %d more", len(d.tenants)-i))
			break
		}
		all = append(all, t.Name())
	}
	return strings.Join(all, ", ")
}

// install makes the complete layout of every tenant. The first one shows how
// many shards the fleet will need.
func (d *demo) install(ctx context.Context) error {
	began := time.Now()
	before, _, err := d.cluster.shards(ctx)
	if err != nil {
		return err
	}
	for i, t := range d.tenants {
		if err := t.Install(ctx); err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		open, limit, err := d.cluster.shards(ctx)
		if err != nil {
			return err
		}
		each := open - before
		d.say("%s is installed: all resources in staging and production, static ones, templates, aliases,\n%s: %d shards (%s)", t.Name(), plural(d.Months, "monthly partition", "monthly partitions"), each, took(time.Since(began)))
		if needed := before + each*len(d.tenants); needed > limit {
			raised, err := d.cluster.raise(ctx, needed)
			if err != nil {
				return err
			}
			d.say("%d tenants need %d shards, the engine allows %d: one more installation would soon be refused.\nRaised openly: %s = %d", len(d.tenants), needed, limit, limitSetting, raised)
		}
	}
	open, limit, err := d.cluster.shards(ctx)
	if err != nil {
		return err
	}
	d.say("all %d installed: %d of %d shards are open (%s)", len(d.tenants), open, limit, took(time.Since(began)))
	return nil
}

// fill loads documents, two tenants at a time: more would only wait for the
// engine.
func (d *demo) fill(ctx context.Context) error {
	began := time.Now()
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	odd := make([]fleet.AwkwardDocuments, len(d.tenants))
	for i, t := range d.tenants {
		group.Go(func() (err error) {
			err = t.Fill(gctx, d.Docs)
			if err == nil && d.Awkward {
				odd[i], err = t.Awkward(gctx, true)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	d.say("%d documents written, %d per tenant (%s)", d.Docs*len(d.tenants), d.Docs, took(time.Since(began)))
	if d.Awkward {
		d.awkward = odd[0].Quarantine
		d.say("and %s per tenant that upgrade scripts stumble over, %d of which release %s cannot hold", plural(odd[0].Written, "document", "documents"), d.awkward, d.To)
	}
	return nil
}

// startWriters puts a writer and an alias watcher on every tenant. stop ends
// them all and may be called twice.
func (d *demo) startWriters(ctx context.Context) (all []*household, stop func() error) {
	for i, t := range d.tenants {
		h := &household{tenant: t, watcher: t.Watch(ctx)}
		if d.Rate > 0 {
			h.writer = t.StartWriter(ctx, fleet.WriterConfig{Rate: d.Rate, Bulk: 10, Seed: d.Seed + uint64(i)})
		}
		all = append(all, h)
	}
	return all, func() error {
		var failures []error
		for _, h := range all {
			failures = append(failures, h.stop())
		}
		return errors.Join(failures...)
	}
}

// household is a tenant with those who work on it.
type household struct {
	tenant  *fleet.Tenant
	writer  *fleet.Writer // nil when nothing is written
	watcher *fleet.Watcher
	wrote   fleet.WriterStats
	watched fleet.WatchResult
	stopped bool
}

func (h *household) stop() error {
	if h.stopped {
		return nil
	}
	h.stopped = true
	var err error
	if h.writer != nil {
		err = h.writer.Stop()
		h.wrote = h.writer.Stats()
	}
	h.watched = h.watcher.Stop()
	return err
}
