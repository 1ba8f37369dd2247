-- +goose Up
-- Rollouts: what package upgrader decides stands here, so that any process may
-- die at any instruction and another one goes on.

create table rollouts (
    id text collate "C" constraint rollouts_pkey primary key,
    to_release text not null,
    options jsonb not null,
    state text not null,
    wish text not null,
    reason text not null default '',
    request_id text constraint rollouts_request_key unique,
    created_by text not null,
    created_at timestamptz not null,
    finished_at timestamptz,
    revision bigint not null default 1,
    constraint rollouts_state_check check (state in ('running', 'paused', 'complete', 'failed', 'cancelled', 'rolled_back', 'finalized')),
    constraint rollouts_wish_check check (wish in ('run', 'pause', 'cancel'))
);

-- No reference to tenants: the history of a purged tenant stays.
create table rollout_tenants (
    rollout_id text collate "C" not null constraint rollout_tenants_rollout_fkey references rollouts on delete cascade,
    tenant_id text collate "C" not null,
    from_release text not null,
    state text not null,
    intent text not null default '',
    switch_allowed boolean not null,
    commands bigint not null default 0, -- what the operator has said, counted
    reason text not null default '',
    retriable boolean not null default false,
    attempts int not null default 0,
    next_at timestamptz not null,
    epoch bigint not null default 0, -- grows with every owner: fences the writes of a former one
    lease_owner text not null default '',
    lease_until timestamptz,
    indices int not null,
    by_method jsonb not null,
    documents bigint not null default 0,
    docs_total bigint not null default 0,
    quarantined int not null default 0,
    fence_us bigint not null default 0,
    fence_tries int not null default 0,
    record jsonb not null,
    proof jsonb,
    old_templates jsonb not null default '[]',
    started_at timestamptz,
    finished_at timestamptz,
    working boolean not null generated always as (
        state not in ('switched', 'done', 'failed', 'cancelled', 'rolled_back') or intent <> ''
    ) stored,
    constraint rollout_tenants_pkey primary key (rollout_id, tenant_id),
    constraint rollout_tenants_state_check check (state in ('planned', 'prepared', 'copying', 'copied', 'compared',
        'fenced', 'verified', 'switched', 'done', 'failed', 'cancelled', 'rolled_back')),
    constraint rollout_tenants_intent_check check (intent in ('', 'cancel', 'rollback', 'finalize'))
);

-- Nobody upgrades a tenant twice at once.
create unique index rollout_tenants_working_key on rollout_tenants (tenant_id) where working;
create index rollout_tenants_due_idx on rollout_tenants (next_at) where working;

create table rollout_moves (
    rollout_id text collate "C" not null,
    tenant_id text collate "C" not null,
    target text collate "C" not null,
    state text not null,
    method text not null,
    body jsonb not null,
    constraint rollout_moves_pkey primary key (rollout_id, tenant_id, target),
    constraint rollout_moves_tenant_fkey foreign key (rollout_id, tenant_id) references rollout_tenants on delete cascade
);

create table quarantine (
    rollout_id text collate "C" not null,
    tenant_id text collate "C" not null,
    index_name text collate "C" not null,
    doc_id text collate "C" not null,
    target text not null,
    kind text not null,
    reason text not null,
    source bytea not null, -- byte for byte: jsonb would change numbers
    at timestamptz not null,
    constraint quarantine_pkey primary key (rollout_id, tenant_id, index_name, doc_id),
    constraint quarantine_tenant_fkey foreign key (rollout_id, tenant_id) references rollout_tenants on delete cascade,
    constraint quarantine_kind_check check (kind in ('refused', 'duplicate', 'dropped', 'leftover'))
);

-- +goose Down
drop table quarantine;
drop table rollout_moves;
drop table rollout_tenants;
drop table rollouts;
