-- +goose Up
-- What verification finds, how far it is, and what operators ask for
-- afterwards.

alter table rollout_tenants
    drop constraint rollout_tenants_intent_check,
    add constraint rollout_tenants_intent_check check (intent in ('', 'cancel', 'rollback', 'finalize', 'recheck', 'repair', 'redrive'));

-- Documents that a comparison found wrong: names and fields, no values.
create table mismatches (
    rollout_id text collate "C" not null,
    tenant_id text collate "C" not null,
    target text collate "C" not null,
    doc_id text collate "C" not null,
    kind text not null,
    fields text[] not null default '{}',
    found_at timestamptz not null,
    constraint mismatches_pkey primary key (rollout_id, tenant_id, target, doc_id),
    constraint mismatches_tenant_fkey foreign key (rollout_id, tenant_id) references rollout_tenants on delete cascade,
    constraint mismatches_kind_check check (kind in ('missing', 'differs', 'extra', 'absent'))
);

-- How far a comparison is, so that a worker that takes over need not begin at
-- the first document again.
create table comparison_progress (
    rollout_id text collate "C" not null,
    tenant_id text collate "C" not null,
    target text collate "C" not null,
    side text not null,
    key text not null,
    start jsonb not null,
    at jsonb not null,
    buckets bytea not null,
    constraint comparison_progress_pkey primary key (rollout_id, tenant_id, target, side),
    constraint comparison_progress_tenant_fkey foreign key (rollout_id, tenant_id) references rollout_tenants on delete cascade
);
-- Digests do not compress.
alter table comparison_progress alter column buckets set storage external;

create table errands (
    id text collate "C" constraint errands_pkey primary key,
    rollout_id text collate "C" not null,
    tenant_id text collate "C" not null,
    kind text not null,
    state text not null,
    args jsonb not null,
    report jsonb not null,
    reason text not null default '',
    attempts int not null default 0,
    created_by text not null,
    created_at timestamptz not null,
    finished_at timestamptz,
    constraint errands_tenant_fkey foreign key (rollout_id, tenant_id) references rollout_tenants on delete cascade,
    constraint errands_kind_check check (kind in ('recheck', 'repair', 'redrive')),
    constraint errands_state_check check (state in ('running', 'done', 'failed', 'cancelled'))
);
create unique index errands_running_key on errands (rollout_id, tenant_id) where state = 'running';
create index errands_tenant_idx on errands (rollout_id, tenant_id, id);

-- A document that is done stays known, without what it held: the proof was
-- taken without it.
alter table quarantine
    add column resolved_at timestamptz,
    add column outcome text not null default '';

-- +goose Down
alter table quarantine drop column outcome, drop column resolved_at;
drop table errands;
drop table comparison_progress;
drop table mismatches;
update rollout_tenants set intent = '' where intent in ('recheck', 'repair', 'redrive');
alter table rollout_tenants
    drop constraint rollout_tenants_intent_check,
    add constraint rollout_tenants_intent_check check (intent in ('', 'cancel', 'rollback', 'finalize'));
