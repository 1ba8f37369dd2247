-- +goose Up
-- When a tenant of a rollout last got on: its state or its documents changed.
-- That it was leased, tried again or failed once more is no progress.
alter table rollout_tenants add column progressed_at timestamptz not null default now();
alter table comparison_progress add column saved_at timestamptz not null default now();

-- +goose StatementBegin
create function rollout_tenants_progress() returns trigger
    language plpgsql
    as $$
        begin
            if new.state is distinct from old.state or new.documents is distinct from old.documents
                or new.fence_tries is distinct from old.fence_tries or new.intent is distinct from old.intent then
                new.progressed_at := now();
            end if;
            return new;
        end
    $$;
-- +goose StatementEnd

create trigger rollout_tenants_progress before update on rollout_tenants
    for each row execute function rollout_tenants_progress();

-- +goose StatementBegin
create function comparison_progress_saved() returns trigger
    language plpgsql
    as $$
        begin
            new.saved_at := now();
            return new;
        end
    $$;
-- +goose StatementEnd

create trigger comparison_progress_saved before update on comparison_progress
    for each row execute function comparison_progress_saved();

-- Whoever changes a rollout, it becomes events; so do the ends of its tenants'
-- ways. The steps in between do not: a fleet of ten thousand would push
-- everything else out of the log.
-- +goose StatementBegin
create function rollouts_event() returns trigger
    language plpgsql
    as $$
        declare
            facts jsonb := jsonb_build_object('state', new.state, 'release', new.to_release);
        begin
            if tg_op = 'INSERT' then
                insert into events (type, subject, data) values ('rollout.started', new.id, facts);
                if new.state <> 'running' then
                    insert into events (type, subject, data) values ('rollout.' || new.state, new.id, facts);
                end if;
                return null;
            end if;
            insert into events (type, subject, data) values (
                'rollout.' || case when new.state = 'running' then 'resumed' else new.state end, new.id,
                facts || jsonb_build_object('previous_state', old.state));
            return null;
        end
    $$;
-- +goose StatementEnd

create trigger rollouts_event_insert after insert on rollouts
    for each row execute function rollouts_event();
create trigger rollouts_event_update after update of state on rollouts
    for each row when (old.state is distinct from new.state) execute function rollouts_event();

-- +goose StatementBegin
create function rollout_tenants_event() returns trigger
    language plpgsql
    as $$
        begin
            insert into events (type, subject, data) values (
                'rollout.tenant_' || case when new.state = 'done' then 'finalized' else new.state end, new.rollout_id,
                jsonb_build_object('tenant', new.tenant_id, 'state', new.state, 'previous_state', old.state));
            return null;
        end
    $$;
-- +goose StatementEnd

create trigger rollout_tenants_event after update of state on rollout_tenants
    for each row when (old.state is distinct from new.state and new.state in ('switched', 'done', 'failed', 'cancelled', 'rolled_back'))
    execute function rollout_tenants_event();

-- A rehearsal is an operation with a report. Only one runs per tenant
-- (operations_running_key).
alter table operations
    add column request jsonb, -- what a rehearsal was asked for
    add column report jsonb,  -- what it found, so far while it runs
    drop constraint operations_kind_check,
    add constraint operations_kind_check check (kind in ('tenant.purge', 'version.cleanup', 'upgrade.rehearsal')),
    add constraint operations_request_check check ((kind = 'upgrade.rehearsal') = (request is not null));

create index operations_rehearsals_idx on operations (tenant_id, created_at desc) where kind = 'upgrade.rehearsal';

-- +goose Down
drop index operations_rehearsals_idx;
delete from operations where kind = 'upgrade.rehearsal';
alter table operations
    drop constraint operations_request_check,
    drop constraint operations_kind_check,
    add constraint operations_kind_check check (kind in ('tenant.purge', 'version.cleanup')),
    drop column report,
    drop column request;
drop trigger rollout_tenants_event on rollout_tenants;
drop function rollout_tenants_event;
drop trigger rollouts_event_update on rollouts;
drop trigger rollouts_event_insert on rollouts;
drop function rollouts_event;
drop trigger comparison_progress_saved on comparison_progress;
drop function comparison_progress_saved;
drop trigger rollout_tenants_progress on rollout_tenants;
drop function rollout_tenants_progress;
alter table comparison_progress drop column saved_at;
alter table rollout_tenants drop column progressed_at;
