package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/internal/fleet"
	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// The model: what must hold at the end of every round, whatever went wrong.
//
//   documents   every acknowledged write is there, once, transformed for the
//               release that the aliases point to; nothing deleted is back
//   aliases     at every look of a reader each alias points to one version,
//               and all of a tenant to the same
//   registry    the release in the registry is the one in the cluster
//   tables      no tenant is worked on by two rollouts, none has a lease
//   quarantine  no document is given up on: all of them fit
//   tasks       no copy runs any more
//   guards      none of the aliases against late calls is left
//   blocks      the version in use takes writes, the one left behind does not
//   leftovers   a tenant that went nowhere has no templates of the new release
//   processes   none ended by itself
//   rollouts    all ended, by themselves

// working counts the tenants that have something to do, in the tables.
func (s *site) working(ctx context.Context) (n int, err error) {
	err = s.pool.QueryRow(ctx, `select count(*) from rollout_tenants where working`).Scan(&n)
	return n, err
}

// judge asks the model. Writers pause meanwhile; readers do not.
func (s *site) judge(ctx context.Context, report *report) error {
	ctx, cancel := context.WithTimeout(ctx, endsWithin)
	defer cancel()
	for _, p := range s.processes {
		if p.crashed() {
			report.find(Finding{Rule: "processes", What: fmt.Sprintf("process %d ended by itself:\n%s", p.number, p.server.LogTail(20))})
		}
	}
	if err := s.judgeTables(ctx, report); err != nil {
		return err
	}
	if err := s.judgeTasks(ctx, report); err != nil {
		return err
	}
	if err := s.judgeGuards(ctx, report); err != nil {
		return err
	}
	list, err := s.rollouts(ctx)
	if err != nil {
		return err
	}
	for _, t := range s.tenants {
		if err := t.writer.Pause(ctx); err != nil {
			return err
		}
	}
	for _, t := range s.tenants {
		if err := s.judgeTenant(ctx, t, list, report); err != nil {
			return err
		}
	}
	for _, t := range s.tenants {
		t.writer.Resume()
	}
	report.Judged++
	return nil
}

func (s *site) judgeTables(ctx context.Context, report *report) error {
	// Leases are given back when a turn ends, shortly after the last state.
	var leased int
	err := s.eventually(ctx, func() error {
		err := s.pool.QueryRow(ctx, `select count(*) from rollout_tenants where lease_until > now()`).Scan(&leased)
		if err == nil && leased > 0 {
			err = fmt.Errorf("%d tenants still have an owner", leased)
		}
		return err
	})
	if err != nil {
		report.find(Finding{Rule: "tables", What: err.Error()})
	}
	return nil
}

// judgeTasks looks for copies that nobody waits for.
func (s *site) judgeTasks(ctx context.Context, report *report) error {
	var running []string
	err := s.eventually(ctx, func() error {
		running = nil
		raw, err := s.askEngine(ctx, http.MethodGet, "/_tasks?actions=*reindex&detailed&group_by=none", nil)
		if err != nil {
			return err
		}
		var tasks struct {
			Tasks []struct {
				Headers map[string]string `json:"headers"`
			} `json:"tasks"`
		}
		if err := json.Unmarshal(raw, &tasks); err != nil {
			return err
		}
		for _, t := range tasks.Tasks {
			if id := t.Headers["X-Opaque-Id"]; strings.HasPrefix(id, "tms:") {
				running = append(running, id)
			}
		}
		return nil
	})
	if len(running) > 0 {
		report.find(Finding{Rule: "tasks", What: "copies still run: " + strings.Join(running, ", ")})
	}
	return err
}

// judgeGuards looks for the aliases by which TMS keeps late calls out (see
// upgrader/guard.go): they are gone when nothing is written any more. A tenant
// that failed keeps them until it is retried or cancelled.
func (s *site) judgeGuards(ctx context.Context, report *report) error {
	raw, err := s.askEngine(ctx, http.MethodGet, "/_cat/aliases/tms.*?h=alias,index", nil)
	if err != nil {
		return err
	}
	if left := strings.TrimSpace(string(raw)); left != "" {
		report.find(Finding{Rule: "guards", What: "aliases are left behind: " + left})
	}
	return nil
}

func (s *site) judgeTenant(ctx context.Context, t *tenant, list []*tmsv1.Rollout, report *report) error {
	find := func(rule, what string) {
		report.find(Finding{Rule: rule, Tenant: t.Name(), What: what})
	}
	registered := &tmsv1.Tenant{}
	if err := s.insist(ctx, http.MethodGet, "/v1/tenants/"+url.PathEscape(t.Name()), nil, registered); err != nil {
		return err
	}
	release, err := s.catalogue.Get(registered.GetRelease())
	if err != nil {
		find("registry", "the registry says release "+registered.GetRelease()+": "+err.Error())
		return nil //nolint:nilerr // it is the finding
	}
	if err := s.judgeBlocks(ctx, t, release.Prefix, find); err != nil {
		return err
	}
	notCarried, err := s.judgeQuarantine(ctx, t, list, find)
	if err != nil {
		return err
	}
	got, err := t.Judge(ctx, fleet.Expect{Release: release.Version, NotCarried: notCarried})
	if err != nil {
		return err
	}
	for _, d := range got.Discrepancies {
		find("documents", d.String())
	}
	report.documents(got)
	if st := t.writer.Stats(); st.Invalid > 0 {
		find("documents", "the engine calls a write malformed: "+st.LastInvalid)
	}
	return nil
}

// judgeBlocks looks at the write blocks: prefix is that of the release in use.
func (s *site) judgeBlocks(ctx context.Context, t *tenant, prefix string, find func(rule, what string)) error {
	raw, err := s.askEngine(ctx, http.MethodGet, "/*."+t.Name()+".*/_settings/index.blocks.*?flat_settings&expand_wildcards=all", nil)
	if err != nil {
		return err
	}
	var indices map[string]struct {
		Settings map[string]string `json:"settings"`
	}
	if err := json.Unmarshal(raw, &indices); err != nil {
		return err
	}
	names, err := s.askEngine(ctx, http.MethodGet, "/_cat/indices/*."+t.Name()+".*?h=index&expand_wildcards=all", nil)
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(names)) {
		inUse := strings.Contains(name, prefix+"."+t.Name())
		blocked := indices[name].Settings["index.blocks.write"] == "true"
		switch {
		case strings.HasPrefix(name, "static-"):
		case inUse && blocked:
			find("blocks", name+" is in use and refuses writes")
		case !inUse && !blocked && prefix != s.prefix(oldRelease):
			find("blocks", name+" is left behind and takes writes, which nobody would see")
		}
	}
	return nil
}

func (s *site) prefix(version string) string {
	r, err := s.catalogue.Get(version)
	if err != nil {
		panic(err) // a constant of ours
	}
	return r.Prefix
}

// judgeQuarantine looks for documents that were refused: the fleet writes none
// that the new release could not hold, so each would be one that a fault made
// TMS give up on. It returns those that the old release could not hold after a
// rollback; the judge knows which may be among them.
func (s *site) judgeQuarantine(ctx context.Context, t *tenant, list []*tmsv1.Rollout, find func(rule, what string)) (map[fleet.Document]struct{}, error) {
	notCarried := map[fleet.Document]struct{}{}
	for _, r := range list {
		if !slices.ContainsFunc(r.GetTenants(), func(rt *tmsv1.RolloutTenant) bool { return rt.GetTenantId() == t.Name() }) {
			continue
		}
		for token := ""; ; {
			page := &tmsv1.ListQuarantineResponse{}
			path := fmt.Sprintf("/v1/rollouts/%s/quarantine?tenantId=%s&pageSize=1000&withoutSource=true&pageToken=%s", url.PathEscape(r.GetId()), t.Name(), url.QueryEscape(token))
			if err := s.insist(ctx, http.MethodGet, path, nil, page); err != nil {
				return nil, err
			}
			for _, d := range page.GetDocuments() {
				switch d.GetKind() {
				case "leftover": // of an earlier round, which went back
				case "not_carried_back":
					notCarried[fleet.Document{Index: d.GetIndex(), ID: d.GetDocumentId()}] = struct{}{}
				default:
					find("quarantine", fmt.Sprintf("rollout %s: %s/%s is %s: %s", r.GetId(), d.GetIndex(), d.GetDocumentId(), d.GetKind(), d.GetReason()))
				}
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
		}
	}
	return notCarried, nil
}

// judgeReaders asks what the readers saw in the whole run.
func (s *site) judgeReaders(report *report) {
	for _, t := range s.tenants {
		if t.watcher == nil {
			continue
		}
		if err := t.writer.Stop(); err != nil {
			report.find(Finding{Rule: "writers", Tenant: t.Name(), What: err.Error()})
		}
		seen, stats := t.watcher.Stop(), t.writer.Stats()
		for _, d := range seen.Discrepancies {
			report.find(Finding{Rule: "aliases", Tenant: t.Name(), What: d.String()})
		}
		report.Looks += seen.Samples
		report.Acknowledged += stats.Acknowledged
		report.Refused += stats.Refused
		report.Uncertain += stats.Uncertain
		report.LongestGap = max(report.LongestGap, stats.LongestGap)
		t.watcher = nil
	}
}

// Finding is something that must not be.
type Finding struct {
	Rule   string        `json:"rule"`
	Tenant string        `json:"tenant,omitempty"`
	What   string        `json:"what"`
	At     time.Duration `json:"at"`
}
