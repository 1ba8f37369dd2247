-- +goose Up
-- Policies take snapshots by the clock. When the next one is due stands here;
-- which snapshot a due time has made is known by the run's request id, so that
-- any process may try and one run comes of it.

create table backup_policies (
    name text collate "C" constraint backup_policies_pkey primary key,
    repository text collate "C" not null constraint backup_policies_repository_fkey references backup_repositories (name),
    body jsonb not null,
    next_at timestamptz, -- null while paused
    retain_at timestamptz not null, -- when to look for snapshots to remove
    created_by text not null,
    created_at timestamptz not null,
    revision bigint not null default 1
);

alter table backup_runs
    add column policy text collate "C" not null default '',
    -- When the policy took note of the run's end; null before, and without one.
    add column settled_at timestamptz;

create index backup_runs_unsettled_idx on backup_runs (policy) where policy <> '' and settled_at is null;

-- +goose Down
drop index backup_runs_unsettled_idx;
alter table backup_runs drop column settled_at, drop column policy;
drop table backup_policies;
