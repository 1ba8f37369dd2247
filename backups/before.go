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
