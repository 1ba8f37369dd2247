package upgrader

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// seedPatience bounds the question of a plan whether seeds can be kept.
const seedPatience = 5 * time.Second

// WithSeeds lets plans say where the repository is missing in which the runner
// keeps empty indices, see Runner.WithSeeds: a rollout goes on without, and
// takes several times longer.
func (s *Service) WithSeeds(repository string) *Service {
	s.seeds = repository
	return s
}

// seedRemarks are what a cluster's plan says about the repository of seeds.
func (s *Service) seedRemarks(ctx context.Context, cluster string, engine Engine, plan *Plan) []string {
	seeder, able := engine.(Seeder)
	makes := false
	for _, t := range plan.Tenants {
		makes = makes || len(t.Moves) > 0
	}
	if s.seeds == "" || !able || !makes {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, seedPatience)
	defer cancel()
	_, err := seeder.Moulds(ctx, s.seeds, mouldPrefix+plan.ToRelease+"-")
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound):
		return []string{fmt.Sprintf("indices are created one by one, which takes longer: cluster %s has no repository %s (TMS_SEED_REPOSITORY; `tms backup repo add %s --cluster %s`)", cluster, s.seeds, s.seeds, cluster)}
	}
	return []string{fmt.Sprintf("indices are created one by one, which takes longer: repository %s (TMS_SEED_REPOSITORY) cannot be read in cluster %s: %v", s.seeds, cluster, err)}
}
