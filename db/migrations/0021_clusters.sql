-- +goose Up
-- Search clusters beside the default one, which the settings of the processes
-- lead to and which has no row.
create table clusters (
    name text collate "C" constraint clusters_pkey primary key,
    urls text[] not null, -- without credentials
    username text not null default '',
    secret bytea not null, -- encrypted: password or API key
    api_key boolean not null default false, -- the secret is an encoded API key
    ca_cert text not null default '', -- PEM, public
    fingerprint text not null default '', -- SHA-256 of a certificate of the chain, public
    -- What it said of itself when it was verified last.
    product text not null default '',
    version text not null default '',
    cluster_uuid text not null default '',
    cluster_name text not null default '',
    verified_at timestamptz,
    problem text not null default '',
    created_by text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    -- Grows with every change of any cluster, also over a removal.
    revision bigint not null generated always as identity,
    constraint clusters_name_check check (name <> 'default')
);

-- One engine under two names would have two budgets.
create unique index clusters_uuid_key on clusters (cluster_uuid) where cluster_uuid <> '';

-- Where a tenant lived when its rollout began: what was written there is
-- found again whatever becomes of the registry.
alter table rollout_tenants add column cluster text collate "C" not null default 'default';
create index rollout_tenants_cluster_idx on rollout_tenants (rollout_id, cluster) where working;

-- A snapshot repository belongs to one cluster.
alter table backup_repositories add column cluster text collate "C" not null default 'default';

-- A cluster in which tenants live stays. Who registers a tenant holds the
-- cluster's row.
-- +goose StatementBegin
create function tenants_cluster_guard() returns trigger
    language plpgsql
    as $$
        begin
            if new.cluster <> 'default' then
                perform from clusters where name = new.cluster for share;
                if not found then
                    raise exception using errcode = 'foreign_key_violation', constraint = 'tenants_cluster_unknown',
                        message = 'cluster ' || new.cluster || ' is not registered';
                end if;
            end if;
            return new;
        end
    $$;
-- +goose StatementEnd

create trigger tenants_cluster_insert before insert on tenants
    for each row execute function tenants_cluster_guard();
create trigger tenants_cluster_update before update of cluster on tenants
    for each row when (new.cluster <> old.cluster) execute function tenants_cluster_guard();

-- +goose Down
drop trigger tenants_cluster_update on tenants;
drop trigger tenants_cluster_insert on tenants;
drop function tenants_cluster_guard;
alter table backup_repositories drop column cluster;
drop index rollout_tenants_cluster_idx;
alter table rollout_tenants drop column cluster;
drop table clusters;
