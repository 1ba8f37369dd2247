-- +goose Up
-- The registry: tenants, API keys, audit trail. The rules of package tenants
-- stand here once more as constraints, so that no other writer can break them.

create table tenants (
    id text collate "C" constraint tenants_pkey primary key,
    display_name text not null default '',
    email text not null default '',
    domain text not null default '',
    gui_url text not null default '',
    install_token bytea not null, -- encrypted, see tenants.Sealer
    labels jsonb not null default '{}',
    attributes jsonb,
    release text not null,
    cluster text not null,
    suspended boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    expires_at timestamptz,
    deleted_at timestamptz,
    purge_at timestamptz,
    revision bigint not null default 1,
    constraint tenants_id_check check (id ~ '^[a-z0-9]{3,63}$' and id !~ '^[0-9]+$'),
    constraint tenants_display_name_check check (octet_length(display_name) <= 200),
    constraint tenants_email_check check (octet_length(email) <= 254),
    constraint tenants_domain_check check (octet_length(domain) <= 253),
    constraint tenants_gui_url_check check (octet_length(gui_url) <= 2048),
    constraint tenants_labels_check check (jsonb_typeof(labels) = 'object'),
    constraint tenants_attributes_check check (jsonb_typeof(attributes) = 'object'),
    constraint tenants_release_check check (release <> ''),
    constraint tenants_cluster_check check (cluster <> ''),
    constraint tenants_deleted_check check ((deleted_at is null) = (purge_at is null))
);

create unique index tenants_domain_key on tenants (domain) where domain <> '' and deleted_at is null;
create index tenants_labels_idx on tenants using gin (labels jsonb_path_ops);

-- State at a point in time: the same table as tenants.StateAt in Go, kept
-- equal by a test.
-- +goose StatementBegin
create function tenant_state(t tenants, at timestamptz) returns text
    language sql stable parallel safe
    as $$
        select case
            when t.deleted_at is not null then 'deleted'
            when t.expires_at is not null and at >= t.expires_at then 'expired'
            when t.suspended then 'suspended'
            else 'active'
        end
    $$;
-- +goose StatementEnd

-- Whoever changes a tenant, the etag changes and every process hears of it.
-- +goose StatementBegin
create function tenants_touch() returns trigger
    language plpgsql
    as $$
        begin
            new.revision := old.revision + 1;
            new.updated_at := now();
            return new;
        end
    $$;
-- +goose StatementEnd

create trigger tenants_touch before update on tenants
    for each row when (old.* is distinct from new.*) execute function tenants_touch();

-- +goose StatementBegin
create function registry_notify() returns trigger
    language plpgsql
    as $$
        begin
            perform pg_notify('tms_registry', tg_argv[0] || ' ' || coalesce(new.id, old.id));
            return null;
        end
    $$;
-- +goose StatementEnd

create trigger tenants_notify after insert or update or delete on tenants
    for each row execute function registry_notify('tenant');

-- Creations by request id (AIP-155), forgotten after a day.
create table tenant_requests (
    request_id text constraint tenant_requests_pkey primary key,
    fingerprint bytea not null,
    tenant_id text collate "C" not null constraint tenant_requests_tenant_fkey references tenants on delete cascade,
    created_at timestamptz not null default now()
);

create index tenant_requests_created_idx on tenant_requests (created_at);

create table api_keys (
    id text collate "C" constraint api_keys_pkey primary key,
    hash bytea not null constraint api_keys_hash_key unique,
    display_name text not null,
    role text not null,
    created_by text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    successor_id text collate "C" constraint api_keys_successor_fkey references api_keys,
    constraint api_keys_hash_check check (octet_length(hash) = 32),
    constraint api_keys_role_check check (role in ('instance', 'viewer', 'provisioner', 'operator', 'admin')),
    constraint api_keys_successor_check check (successor_id <> id)
);

create index api_keys_created_idx on api_keys (created_at desc, id desc);

-- Last uses are written every minute and interest nobody elsewhere.
create trigger api_keys_notify after insert or delete or
    update of hash, role, expires_at, revoked_at, successor_id on api_keys
    for each row execute function registry_notify('key');

create table audit (
    id bigint generated always as identity constraint audit_pkey primary key,
    at timestamptz not null,
    key_id text not null,
    role text not null,
    request_id text not null default '',
    action text not null,
    subject text not null,
    detail jsonb not null default '{}'
);

create index audit_subject_idx on audit (subject, id);

-- +goose Down
drop table audit;
drop table api_keys;
drop table tenant_requests;
drop table tenants cascade;
drop function registry_notify;
drop function tenants_touch;
