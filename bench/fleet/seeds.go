package main

import (
	"context"
	"time"

	"github.com/tracardi/tms/upgrader"
)

// seeding is an engine, metered or not, that keeps seeds.
type seeding struct {
	upgrader.Engine
	upgrader.Seeder
}

// meteredSeeder passes every call of a tenant on and notes its time; what
// happens once per release has no tenant.
type meteredSeeder struct {
	upgrader.Seeder
	m *meter
}

func (s meteredSeeder) Plant(ctx context.Context, p upgrader.Planting) error {
	defer s.m.asked("Plant", p.Replacement, time.Now())
	return s.Seeder.Plant(ctx, p)
}

func (s meteredSeeder) Growth(ctx context.Context, names ...string) (waiting, failed []string, err error) {
	defer s.m.asked("Growth", first(names), time.Now())
	return s.Seeder.Growth(ctx, names...)
}
