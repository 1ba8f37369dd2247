-- +goose Up
-- Events: what happened, in one order, for those who follow it. They are
-- written by the transaction of the change and numbered after its commit: a
-- number given earlier could become visible after a higher one, and who reads
-- on from there would miss it.

create table event_log (
    only_row boolean constraint event_log_pkey primary key default true,
    head bigint not null default 0, -- number of the newest event
    floor bigint not null default 0, -- events up to here are kept no longer
    expiries_until timestamptz not null default now(), -- expiries up to here were looked at
    constraint event_log_only_row_check check (only_row)
);

insert into event_log default values;

create table events (
    id bigint generated always as identity constraint events_pkey primary key,
    number bigint constraint events_number_key unique, -- null until it is numbered
    at timestamptz not null default clock_timestamp(),
    type text collate "C" not null,
    subject text collate "C" not null,
    data jsonb not null default '{}'
);

create index events_unnumbered_idx on events (id) where number is null;

-- +goose StatementBegin
create function events_notify() returns trigger
    language plpgsql
    as $$
        begin
            perform pg_notify('tms_events', '');
            return null;
        end
    $$;
-- +goose StatementEnd

create trigger events_notify after insert on events
    for each statement execute function events_notify();

-- Expiries by the clock that are events already. They are remembered for as
-- long as they could be found again.
create table tenant_expiries (
    tenant_id text collate "C" not null,
    expires_at timestamptz not null,
    constraint tenant_expiries_pkey primary key (tenant_id, expires_at)
);

create index tenants_expires_idx on tenants (expires_at) where expires_at is not null and deleted_at is null;

-- Whoever changes a tenant, it becomes events. They hold nothing of the
-- customer's but the id, so that a purge leaves nothing here.
-- +goose StatementBegin
create function tenants_event() returns trigger
    language plpgsql
    as $$
        declare
            was text;
            becomes text := tenant_state(new, now());
            facts jsonb := jsonb_build_object('revision', new.revision, 'state', becomes, 'release', new.release);
            fields jsonb;
        begin
            if becomes = 'expired' then
                insert into tenant_expiries values (new.id, new.expires_at) on conflict do nothing;
            end if;
            if tg_op = 'INSERT' then
                insert into events (type, subject, data) values ('tenant.created', new.id, facts);
                return null;
            end if;
            was := tenant_state(old, now());
            if was <> becomes then
                insert into events (type, subject, data) values (
                    'tenant.' || case
                        when was = 'deleted' and becomes <> 'purged' then 'undeleted'
                        when becomes = 'active' then 'activated'
                        else becomes
                    end, new.id, facts || jsonb_build_object('previous_state', was));
            end if;
            if becomes = 'purged' then
                return null; -- everything else was emptied
            end if;
            if old.purge_started_at is null and new.purge_started_at is not null then
                insert into events (type, subject, data) values ('tenant.purge_started', new.id, facts);
            end if;
            if old.release <> new.release then
                insert into events (type, subject, data) values (
                    'tenant.release_changed', new.id, facts || jsonb_build_object('previous_release', old.release));
            end if;
            select jsonb_agg(case n.key when 'expires_at' then 'expire_time' else n.key end order by n.key) into fields
                from jsonb_each(to_jsonb(new)) n
                where n.value is distinct from to_jsonb(old) -> n.key and n.key in ('display_name', 'email', 'domain', 'gui_url',
                    'install_token', 'labels', 'attributes', 'cluster', 'expires_at');
            if fields is not null then
                insert into events (type, subject, data) values ('tenant.updated', new.id, facts || jsonb_build_object('fields', fields));
            end if;
            return null;
        end
    $$;
-- +goose StatementEnd

create trigger tenants_event after insert or update on tenants
    for each row execute function tenants_event();

-- A deleted tenant whose purge time has come and which may not be purged yet:
-- why, and when it is tried again.
alter table tenants
    add column purge_refusal text not null default '',
    add column purge_retry_at timestamptz;

create index tenants_purge_idx on tenants (purge_at) where purge_at is not null and purged_at is null;

-- Webhooks follow the events each at its own position. A lease says which
-- process delivers; next_at when it may be tried again.
create table webhooks (
    id text collate "C" constraint webhooks_pkey primary key,
    display_name text not null default '',
    url text not null,
    types text[] collate "C" not null,
    secret bytea not null, -- encrypted, see tenants.Sealer
    enabled boolean not null,
    reason text not null default '', -- why TMS disabled it
    created_by text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    revision bigint not null default 1,
    position bigint not null, -- number of the last event that was dealt with
    failures int not null default 0, -- attempts since the last success
    failing_since timestamptz,
    last_error text not null default '',
    next_at timestamptz not null default now(),
    lease_owner text not null default '',
    lease_until timestamptz,
    constraint webhooks_url_check check (octet_length(url) between 1 and 2048),
    constraint webhooks_types_check check (cardinality(types) <= 64)
);

create table webhook_deliveries (
    id bigint generated always as identity constraint webhook_deliveries_pkey primary key,
    webhook_id text collate "C" not null constraint webhook_deliveries_webhook_fkey references webhooks on delete cascade,
    message_id text not null,
    type text not null,
    subject text not null,
    at timestamptz not null,
    attempt int not null,
    status int not null, -- of HTTP, 0 without an answer
    took_us bigint not null,
    error text not null default ''
);

create index webhook_deliveries_webhook_idx on webhook_deliveries (webhook_id, id desc);

-- +goose Down
drop table webhook_deliveries;
drop table webhooks;
drop index tenants_purge_idx;
drop trigger tenants_event on tenants;
drop function tenants_event;
alter table tenants drop column purge_retry_at, drop column purge_refusal;
drop index tenants_expires_idx;
drop table tenant_expiries;
drop table events;
drop function events_notify;
drop table event_log;
