-- +goose Up
-- What a worker asks while it works on one tenant must not cost more the more
-- tenants there are: every such question is a probe of an index.
create index rollout_tenants_state_idx on rollout_tenants (rollout_id, state, working);
create index rollout_tenants_lease_idx on rollout_tenants (rollout_id, lease_until) where working and lease_until is not null;
create index rollout_tenants_fenced_idx on rollout_tenants (tenant_id) where working and state in ('fenced', 'verified', 'return_fenced', 'return_verified');
-- The order of work: who has waited longest, and of those the largest.
create index rollout_tenants_next_idx on rollout_tenants (rollout_id, next_at, docs_total desc, tenant_id) where working;
drop index rollout_tenants_due_idx;

-- +goose Down
create index rollout_tenants_due_idx on rollout_tenants (next_at) where working;
drop index rollout_tenants_next_idx;
drop index rollout_tenants_fenced_idx;
drop index rollout_tenants_lease_idx;
drop index rollout_tenants_state_idx;
