-- +goose Up
-- What all rollouts together may ask of one search cluster, shared by all
-- processes (package upgrader: Budget, Throttle, Steward).

create table budgets (
    cluster text collate "C" constraint budgets_pkey primary key,
    defaults jsonb not null, -- from the environment of the process that started last
    settings jsonb not null default '{}', -- what the operator has set since; wins
    throttle jsonb not null default '{}', -- how far it is adapted to the state of the cluster
    -- In force: settings under the throttle. Columns, because SQL counts with them.
    tenants int not null,
    hold boolean not null default false, -- no further tenant begins
    copy_tasks int not null,
    state_updates int not null,
    documents_per_second float8 not null, -- 0: not limited
    sampled_at timestamptz not null default 'epoch', -- when a process last took it upon itself to look at the cluster
    changed_at timestamptz not null default now(),
    changed_by text not null default ''
);

-- What each process has of it. A share ends by itself when its process no
-- longer renews it; shares of tenants are the leases in rollout_tenants.
create table budget_shares (
    cluster text collate "C" not null constraint budget_shares_budget_fkey references budgets on delete cascade,
    owner text collate "C" not null,
    tenants int not null, -- that the process works on
    copy_tasks int not null, -- granted
    state_updates int not null,
    wants_copy_tasks int not null,
    wants_state_updates int not null,
    flows int not null, -- copies and comparisons that share documents_per_second
    documents_rate float8 not null, -- documents per second, as measured by the process
    until timestamptz not null,
    constraint budget_shares_pkey primary key (cluster, owner)
);

-- The kill switch, with its history. At most one row is in force.
create table stops (
    id bigint generated always as identity constraint stops_pkey primary key,
    reason text not null,
    stopped_at timestamptz not null default now(),
    stopped_by text not null,
    resumed_at timestamptz,
    resumed_by text
);
create unique index stops_in_force_key on stops ((true)) where resumed_at is null;

-- +goose Down
drop table stops;
drop table budget_shares;
drop table budgets;
