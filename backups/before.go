package backups

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
)

var _ upgrader.Snapshots = (*Service)(nil)

// takeBack bounds how long snapshots are given up that were asked for in vain.
const takeBack = 5 * time.Second

// BeginBefore implements upgrader.Snapshots. Where one cannot be asked for,
// those that were are given up.
func (s *Service) BeginBefore(ctx context.Context, caller, rollout string, repositories, ids []string) (map[string]string, error) {
	orders, err := s.ordersBefore(ctx, rollout, repositories, ids)
	if err != nil {
		return nil, err
	}
	taken := map[string]string{}
	for _, home := range slices.Sorted(maps.Keys(orders)) {
		r, err := s.Create(ctx, tenants.Caller{KeyID: caller}, orders[home])
		if err != nil {
			return nil, errors.Join(err, s.giveUp(ctx, caller, taken))
		}
		taken[home] = r.ID
	}
	return taken, nil
}

// BeginJoining implements upgrader.Snapshots.
func (s *Service) BeginJoining(ctx context.Context, caller, rollout string, repositories []string, tenant string) (string, error) {
	found, err := s.selected(ctx, Selection{Tenants: []string{tenant}}, false)
	if err != nil {
		return "", err
	}
	own := ""
	for _, name := range repositories { // the others' are for the others
		r, err := s.Repository(ctx, name)
		if err != nil {
			return "", err
		}
		if s.engines == nil || r.Cluster == found[0].Cluster {
			own = name
		}
	}
	r, err := s.Create(ctx, tenants.Caller{KeyID: caller}, SnapshotOrder{
		Repository: own, Selection: Selection{Tenants: []string{tenant}},
		Purpose: "tenant that joined rollout " + rollout, RequestID: "rollout " + rollout + " tenant " + tenant,
	})
	if err != nil {
		return "", err
	}
	return r.ID, nil
}

// refusedSnapshot is the code of refusals of snapshots before a rollout.
const refusedSnapshot = "snapshot_repository"

// RefuseBefore implements upgrader.Snapshots. A cluster that does not answer
// is not asked twice: the plan says so already.
func (s *Service) RefuseBefore(ctx context.Context, repositories, ids []string) ([]upgrader.Refusal, error) {
	orders, err := s.ordersBefore(ctx, "", repositories, ids)
	var wrong *Error
	switch {
	case errors.As(err, &wrong):
		what := wrong.Message
		if wrong.Reason == ReasonNotFound { // it only has the name
			what = wrong.Field + " " + what
		}
		return []upgrader.Refusal{{Code: refusedSnapshot, Message: "no snapshot can be taken before the rollout: " + what, Remedy: wrong.Remedy}}, nil
	case err != nil:
		return nil, err
	}
	var out []upgrader.Refusal
	for _, home := range slices.Sorted(maps.Keys(orders)) {
		name := orders[home].Repository
		if s.known(ctx, home, name) {
			continue
		}
		out = append(out, upgrader.Refusal{
			Code:    refusedSnapshot,
			Message: fmt.Sprintf("no snapshot can be taken before the rollout: cluster %s does not know repository %s, which is registered with TMS", home, name),
			Remedy:  "`tms backup repo add " + name + "` with its former settings tells the cluster of it again; `tms backup repo verify " + name + "` tries it",
		})
	}
	return out, nil
}

// knownPatience bounds the question whether a cluster knows a repository.
const knownPatience = 5 * time.Second

// known asks a cluster whether it has a repository; without an answer it has.
func (s *Service) known(ctx context.Context, cluster, repository string) bool {
	ctx, cancel := context.WithTimeout(ctx, knownPatience)
	defer cancel()
	there, err := s.in(ctx, cluster)
	if err != nil {
		return true
	}
	all, err := there.engine.Repositories(ctx)
	return err != nil || slices.ContainsFunc(all, func(r Repository) bool { return r.Name == repository })
}

func (s *Service) giveUp(ctx context.Context, caller string, taken map[string]string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBack)
	defer cancel()
	var failed []error
	for _, id := range taken {
		if _, err := s.Delete(ctx, tenants.Caller{KeyID: caller}, id); err != nil {
			failed = append(failed, fmt.Errorf("snapshot %s stays behind: %w", id, err))
		}
	}
	return errors.Join(failed...)
}

// ordersBefore are the snapshots of tenants before a rollout, by cluster; all
// that could be wrong with the repositories is found before one is asked for.
func (s *Service) ordersBefore(ctx context.Context, rollout string, repositories, ids []string) (map[string]SnapshotOrder, error) {
	found, err := s.selected(ctx, Selection{Tenants: ids}, false)
	if err != nil {
		return nil, err
	}
	homes := homesOf(found)
	if s.engines == nil {
		homes = []string{tenants.DefaultCluster}
	}
	chosen, err := s.chosen(ctx, repositories, homes)
	if err != nil {
		return nil, err
	}
	orders := map[string]SnapshotOrder{}
	for _, home := range homes {
		repository := chosen[home]
		if repository == "" {
			r, err := s.writable(ctx, "", []string{home})
			if err != nil {
				return nil, ofCluster(home, len(homes), err)
			}
			repository = r.Name
		}
		o := SnapshotOrder{Repository: repository, Purpose: "rollout " + rollout, RequestID: "rollout " + rollout}
		if len(homes) > 1 {
			o.RequestID += " " + home
		}
		for _, t := range found {
			if s.engines == nil || t.Cluster == home {
				o.Selection.Tenants = append(o.Selection.Tenants, t.ID)
			}
		}
		orders[home] = o
	}
	return orders, nil
}

// chosen sorts repositories by cluster: one for each at most, and none where
// nobody lives.
func (s *Service) chosen(ctx context.Context, repositories, homes []string) (map[string]string, error) {
	chosen := map[string]string{}
	for _, name := range repositories {
		r, err := s.writable(ctx, name, nil)
		if err != nil {
			return nil, err
		}
		home := r.Cluster
		if s.engines == nil {
			home = tenants.DefaultCluster
		}
		switch {
		case !slices.Contains(homes, home):
			return nil, invalid("repository", "leave it out, or name one of theirs: see `tms backup repo list`",
				"%s belongs to cluster %s, but the tenants live in %s", r.Name, home, strings.Join(homes, ", "))
		case chosen[home] != "":
			return nil, invalid("repository", "name one for each cluster", "%s and %s belong to the same cluster, %s", chosen[home], r.Name, home)
		}
		chosen[home] = r.Name
	}
	return chosen, nil
}

// ofCluster says of which cluster an error is, where there are several.
func ofCluster(home string, of int, err error) error {
	var wrong *Error
	if of > 1 && errors.As(err, &wrong) {
		said := *wrong
		said.Message = "cluster " + home + ": " + said.Message
		return &said
	}
	return err
}
