-- +goose Up
-- How many tenants of a cluster are in work, in one rollout or in all, is asked
-- at every turn: what it costs must follow from their number, not from that of
-- the rollout.
drop index rollout_tenants_lease_idx;
create index rollout_tenants_lease_idx on rollout_tenants (cluster, lease_until) where working and lease_until is not null;
-- Likewise for what tenants have room reserved for.
create index rollout_tenants_reserved_idx on rollout_tenants (cluster) where reserved_until is not null;
-- The order of work is that of one cluster.
drop index rollout_tenants_next_idx;
create index rollout_tenants_next_idx on rollout_tenants (rollout_id, cluster, next_at, docs_total desc, tenant_id)
    where working and (not waiting or intent <> '');
-- Whether anybody works at all is one probe of the index above or of states; an
-- index on the cluster alone led the counts astray.
drop index rollout_tenants_cluster_idx;
create index rollout_tenants_open_idx on rollout_tenants (rollout_id) where working;
-- Which states there are is read from one to the next.
create index rollout_tenants_states_idx on rollout_tenants (rollout_id, state, working) where excepted = '' or working;

-- +goose Down
drop index rollout_tenants_states_idx;
drop index rollout_tenants_open_idx;
create index rollout_tenants_cluster_idx on rollout_tenants (rollout_id, cluster) where working;
drop index rollout_tenants_next_idx;
create index rollout_tenants_next_idx on rollout_tenants (rollout_id, next_at, docs_total desc, tenant_id)
    where working and (not waiting or intent <> '');
drop index rollout_tenants_reserved_idx;
drop index rollout_tenants_lease_idx;
create index rollout_tenants_lease_idx on rollout_tenants (rollout_id, lease_until) where working and lease_until is not null;
