-- +goose Up
-- Snapshot repositories, and the runs that take snapshots and restore them. A
-- run's row is the truth about it; the search engine's snapshot is found by the
-- run's id, which is the snapshot's name.

create table backup_repositories (
    name text collate "C" constraint backup_repositories_pkey primary key,
    kind text not null,
    settings jsonb not null default '{}', -- never secrets: those are in the engine's keystore
    read_only boolean not null default false,
    created_by text not null,
    created_at timestamptz not null,
    verified_at timestamptz,
    problem text not null default '',
    nodes text[] not null default '{}'
);

create table backup_runs (
    id text collate "C" constraint backup_runs_pkey primary key,
    kind text not null,
    state text not null,
    working boolean not null, -- the state is no end
    repository text collate "C" not null constraint backup_runs_repository_fkey references backup_repositories (name) on delete cascade,
    tenants text[] collate "C" not null,
    in_place boolean not null default false, -- a restore over the tenant itself
    request_id text constraint backup_runs_request_key unique,
    body jsonb not null,
    created_by text not null,
    created_at timestamptz not null,
    finished_at timestamptz,
    revision bigint not null default 1,
    next_at timestamptz not null,
    epoch bigint not null default 0,
    lease_owner text not null default '',
    lease_until timestamptz,
    constraint backup_runs_kind_check check (kind in ('snapshot', 'restore')),
    constraint backup_runs_restore_check check (kind = 'snapshot' or cardinality(tenants) = 1)
);

-- A tenant is restored in place by one run at a time.
create unique index backup_runs_restoring_key on backup_runs ((tenants[1])) where in_place and working;
create index backup_runs_due_idx on backup_runs (next_at) where working;
create index backup_runs_tenants_idx on backup_runs using gin (tenants);

-- What is in a snapshot, by tenant: large, read one by one.
create table backup_manifests (
    snapshot text collate "C" not null constraint backup_manifests_snapshot_fkey references backup_runs (id) on delete cascade,
    tenant text collate "C" not null,
    body jsonb not null,
    constraint backup_manifests_pkey primary key (snapshot, tenant)
);

-- No rollout takes a tenant in that is being restored. Who begins a restore
-- holds the tenant's row, as who begins a rollout does.
-- +goose StatementBegin
create function rollout_tenants_restore_guard() returns trigger
    language plpgsql
    as $$
        begin
            perform from tenants where id = new.tenant_id for share;
            perform from backup_runs where in_place and working and tenants[1] = new.tenant_id;
            if found then
                raise exception using errcode = 'check_violation', constraint = 'rollout_tenants_restoring',
                    message = 'tenant ' || new.tenant_id || ' is being restored';
            end if;
            return new;
        end
    $$;
-- +goose StatementEnd

create trigger rollout_tenants_restore_guard before insert on rollout_tenants
    for each row execute function rollout_tenants_restore_guard();
-- Nor does a command to one that has ended.
create trigger rollout_tenants_restore_command before update of state, intent on rollout_tenants
    for each row when (new.intent <> '' and new.intent <> old.intent or old.state = 'failed' and new.state <> old.state)
    execute function rollout_tenants_restore_guard();

-- +goose Down
drop trigger rollout_tenants_restore_command on rollout_tenants;
drop trigger rollout_tenants_restore_guard on rollout_tenants;
drop function rollout_tenants_restore_guard;
drop table backup_manifests;
drop table backup_runs;
drop table backup_repositories;
