-- +goose Up
-- The end of a tenant's life, and the rules of the whole of it: what may follow
-- what stands in one table here and in one table in Go (tenants/state.go); a
-- test holds the two equal.

alter table tenants
    add column purge_started_at timestamptz, -- from here on there is no way back
    add column purged_at timestamptz, -- what is left is a tombstone: it keeps the id from being used again
    add constraint tenants_purge_check check (
        (purge_started_at is null or deleted_at is not null) and (purged_at is null or purge_started_at is not null)),
    add constraint tenants_tombstone_check check (purged_at is null or (
        display_name = '' and email = '' and domain = '' and gui_url = '' and labels = '{}' and attributes is null
        and octet_length(install_token) = 0));

-- +goose StatementBegin
create or replace function tenant_state(t tenants, at timestamptz) returns text
    language sql stable parallel safe
    as $$
        select case
            when t.purged_at is not null then 'purged'
            when t.deleted_at is not null then 'deleted'
            when t.expires_at is not null and at >= t.expires_at then 'expired'
            when t.suspended then 'suspended'
            else 'active'
        end
    $$;
-- +goose StatementEnd

create table tenant_transitions (
    from_state text not null,
    to_state text not null,
    constraint tenant_transitions_pkey primary key (from_state, to_state)
);

insert into tenant_transitions values
    ('active', 'active'), ('active', 'suspended'), ('active', 'expired'), ('active', 'deleted'),
    ('suspended', 'active'), ('suspended', 'suspended'), ('suspended', 'expired'), ('suspended', 'deleted'),
    ('expired', 'active'), ('expired', 'suspended'), ('expired', 'expired'), ('expired', 'deleted'),
    ('deleted', 'active'), ('deleted', 'suspended'), ('deleted', 'expired'), ('deleted', 'deleted'), ('deleted', 'purged');

-- +goose StatementBegin
create function tenants_guard() returns trigger
    language plpgsql
    as $$
        declare
            was text;
            becomes text;
            wrong text := '';
        begin
            if tg_op = 'INSERT' then
                if new.deleted_at is not null then
                    wrong := 'a new tenant is not deleted';
                end if;
            elsif tg_op = 'DELETE' then
                if old.purged_at is null then
                    wrong := 'only the tombstone of a purged tenant may be removed';
                end if;
            else
                was := tenant_state(old, now());
                becomes := tenant_state(new, now());
                if new.id <> old.id or new.created_at <> old.created_at then
                    wrong := 'id and creation never change';
                elsif not exists (select from tenant_transitions where from_state = was and to_state = becomes) then
                    wrong := was || ' to ' || becomes || ' is no legal transition';
                elsif was = 'deleted' and becomes in ('active', 'suspended', 'expired')
                    and (old.purge_started_at is not null or now() >= old.purge_at) then
                    wrong := 'it is too late to undelete';
                elsif was = 'deleted' and (new.suspended <> old.suspended or new.expires_at is distinct from old.expires_at) then
                    wrong := 'a deleted tenant changes no more';
                elsif was = 'expired' and new.suspended <> old.suspended and new.expires_at is not distinct from old.expires_at then
                    wrong := 'an expired tenant is renewed first';
                end if;
            end if;
            if wrong <> '' then
                raise exception using errcode = 'check_violation', constraint = 'tenants_transition',
                    message = 'tenant ' || coalesce(new.id, old.id) || ': ' || wrong;
            end if;
            return coalesce(new, old);
        end
    $$;
-- +goose StatementEnd

-- Before tenants_touch: triggers fire in the order of their names.
create trigger tenants_guard before insert or update or delete on tenants
    for each row execute function tenants_guard();

-- A rollout takes no tenant in that is being purged. The lock on the tenant's
-- row makes the two wait for each other.
-- +goose StatementBegin
create function rollout_tenants_guard() returns trigger
    language plpgsql
    as $$
        begin
            perform from tenants where id = new.tenant_id and purge_started_at is not null for share;
            if found then
                raise exception using errcode = 'check_violation', constraint = 'rollout_tenants_purged',
                    message = 'tenant ' || new.tenant_id || ' is being purged';
            end if;
            return new;
        end
    $$;
-- +goose StatementEnd

create trigger rollout_tenants_guard before insert on rollout_tenants
    for each row execute function rollout_tenants_guard();

-- Work that outlives the call that asked for it (AIP-151). A lease says who
-- does it now; next_at when it may be tried again.
create table operations (
    id text collate "C" constraint operations_pkey primary key,
    kind text not null,
    tenant_id text collate "C" not null, -- no reference: an operation outlives the tombstone
    state text not null,
    without_snapshot boolean not null default false,
    snapshot text not null default '',
    result jsonb not null default '{}',
    reason text not null default '',
    message text not null default '',
    created_by text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    finished_at timestamptz,
    attempts int not null default 0,
    next_at timestamptz not null,
    lease_owner text not null default '',
    lease_until timestamptz,
    constraint operations_kind_check check (kind in ('tenant.purge')),
    constraint operations_state_check check (state in ('running', 'succeeded', 'failed')),
    constraint operations_finished_check check ((state = 'running') = (finished_at is null))
);

create unique index operations_running_key on operations (kind, tenant_id) where state = 'running';
create index operations_due_idx on operations (next_at) where state = 'running';
create index operations_created_idx on operations (created_at desc, id desc);
create index quarantine_tenant_idx on quarantine (tenant_id);

-- Keys may be restricted to tenants. No restriction is null and never an empty
-- list, so that taking the last tenant out of a list cannot open everything.
alter table api_keys
    add column tenants text[] collate "C",
    add constraint api_keys_tenants_check check (cardinality(tenants) between 1 and 100);

drop trigger api_keys_notify on api_keys;
create trigger api_keys_notify after insert or delete or
    update of hash, role, expires_at, revoked_at, successor_id, tenants on api_keys
    for each row execute function registry_notify('key');

alter table audit add column origin text not null default ''; -- address the call came from
create index audit_at_idx on audit (at desc, id desc);

-- The audit trail grows and never changes, whoever writes.
-- +goose StatementBegin
create function audit_append_only() returns trigger
    language plpgsql
    as $$
        begin
            raise exception using errcode = 'insufficient_privilege', message = 'the audit trail is append-only';
        end
    $$;
-- +goose StatementEnd

create trigger audit_append_only before update or delete on audit
    for each row execute function audit_append_only();
create trigger audit_no_truncate before truncate on audit
    for each statement execute function audit_append_only();

-- +goose Down
drop trigger audit_no_truncate on audit;
drop trigger audit_append_only on audit;
drop function audit_append_only;
drop index audit_at_idx;
alter table audit drop column origin;
drop trigger api_keys_notify on api_keys;
create trigger api_keys_notify after insert or delete or
    update of hash, role, expires_at, revoked_at, successor_id on api_keys
    for each row execute function registry_notify('key');
alter table api_keys drop column tenants;
drop index quarantine_tenant_idx;
drop table operations;
drop trigger rollout_tenants_guard on rollout_tenants;
drop function rollout_tenants_guard;
drop trigger tenants_guard on tenants;
drop function tenants_guard;
drop table tenant_transitions;
-- +goose StatementBegin
create or replace function tenant_state(t tenants, at timestamptz) returns text
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
alter table tenants drop column purged_at, drop column purge_started_at;
