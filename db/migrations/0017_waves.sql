-- +goose Up
-- A rollout goes in waves. A tenant waits until the gates let it in: as long
-- as it does no worker looks at it, and whoever looks at the rollout as a whole
-- decides for all of them.

alter table rollouts
    -- Releases of which a tenant has to be upgraded, when the rollout is one of
    -- the whole fleet; tenants that come into being on one of them join it.
    add column behind text[] not null default '{}',
    -- Tenants that should have joined and cannot, with the reason.
    add column missing jsonb not null default '[]';

alter table rollout_tenants
    add column wave int not null default 0, -- 0: in none, nothing to do or excepted
    add column position int not null default 0, -- within the wave
    add column waiting boolean not null default false, -- not let in yet
    add column excepted text not null default '', -- why it is left out on purpose
    add column need_shards int not null default 0, -- while both versions stand
    add column need_bytes bigint not null default 0;

create table rollout_waves (
    rollout_id text collate "C" not null constraint rollout_waves_rollout_fkey references rollouts on delete cascade,
    number int not null,
    name text not null,
    state text not null,
    reason text not null default '',
    rule jsonb not null,
    opened_at timestamptz,
    ended_at timestamptz,
    soak_until timestamptz,
    check_until timestamptz,
    done_at timestamptz,
    approved_at timestamptz,
    approved_by text not null default '',
    checks_waived boolean not null default false,
    checks jsonb not null default '[]',
    forgiven int not null default 0,
    probing_until timestamptz, -- somebody makes the checks until then
    constraint rollout_waves_pkey primary key (rollout_id, number),
    constraint rollout_waves_state_check check (state in ('pending', 'open', 'soaking', 'checking', 'awaiting_approval', 'done', 'stopped'))
);
create index rollouts_running_idx on rollouts (id) where state in ('running', 'paused');

-- What waits is in no queue: the order of work is of those that were let in.
drop index rollout_tenants_next_idx;
create index rollout_tenants_next_idx on rollout_tenants (rollout_id, next_at, docs_total desc, tenant_id)
    where working and (not waiting or intent <> '');
create index rollout_tenants_waiting_idx on rollout_tenants (rollout_id, wave, position) where waiting;

-- +goose Down
drop index rollout_tenants_waiting_idx;
drop index rollout_tenants_next_idx;
create index rollout_tenants_next_idx on rollout_tenants (rollout_id, next_at, docs_total desc, tenant_id) where working;
drop index rollouts_running_idx;
drop table rollout_waves;
alter table rollout_tenants drop column need_bytes, drop column need_shards, drop column excepted, drop column waiting, drop column position, drop column wave;
alter table rollouts drop column missing, drop column behind;
