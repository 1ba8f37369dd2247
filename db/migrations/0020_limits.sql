-- +goose Up
-- What a tenant is about to take of the cluster, so that two that are looked at
-- in the same second do not both take the last of it. Shards count until they
-- are created and have had the time to show in everybody's figures, bytes until
-- they are copied.
alter table rollout_tenants
    add column reserved_shards int not null default 0,
    add column reserved_bytes bigint not null default 0,
    add column reserved_until timestamptz;

-- +goose StatementBegin
create function rollout_tenants_reservation() returns trigger
    language plpgsql
    as $$
        begin
            new.reserved_until := now() + interval '10 seconds';
            return new;
        end
    $$;
-- +goose StatementEnd

create trigger rollout_tenants_reservation before update of state on rollout_tenants
    for each row when (old.state = 'planned' and new.state <> 'planned' and old.reserved_until = 'infinity')
    execute function rollout_tenants_reservation();

-- The shard limit of a cluster, where TMS has raised it or is about to: what was
-- there before is recorded before it is changed, so that any process can put it
-- back.
create table shard_limits (
    cluster text collate "C" constraint shard_limits_pkey primary key,
    state text not null,
    body jsonb not null, -- upgrader.ShardLimit
    next_at timestamptz not null default now(),
    constraint shard_limits_state_check check (state in ('wanted', 'raising', 'raised', 'restoring', 'restored', 'left'))
);

-- Which rollouts need it, and what became of that for each.
create table shard_claims (
    rollout_id text collate "C" not null constraint shard_claims_rollout_fkey references rollouts on delete cascade,
    cluster text collate "C" not null,
    state text not null, -- as of shard_limits when it last concerned this rollout
    body jsonb not null, -- upgrader.ShardClaim
    constraint shard_claims_pkey primary key (rollout_id, cluster)
);

create index shard_claims_cluster_idx on shard_claims (cluster);

-- When the old version of a rollout's tenants is deleted.
create table rollout_retentions (
    rollout_id text collate "C" constraint rollout_retentions_pkey primary key references rollouts on delete cascade,
    state text not null,
    body jsonb not null, -- upgrader.Retention
    next_at timestamptz not null default now(),
    constraint rollout_retentions_state_check check (state in ('waiting', 'scheduled', 'finalizing', 'kept', 'done'))
);

create index rollout_retentions_due_idx on rollout_retentions (next_at) where state in ('waiting', 'scheduled', 'finalizing');

-- +goose Down
drop table rollout_retentions;
drop table shard_claims;
drop table shard_limits;
drop trigger rollout_tenants_reservation on rollout_tenants;
drop function rollout_tenants_reservation;
alter table rollout_tenants drop column reserved_until, drop column reserved_bytes, drop column reserved_shards;
