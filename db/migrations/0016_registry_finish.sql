-- +goose Up
-- A webhook's former secret signs beside the new one until its time is over,
-- and events that were kept no longer when their turn came are said.
alter table webhooks
    add column old_secret bytea, -- encrypted like secret
    add column old_secret_until timestamptz,
    add column lost_from bigint, -- numbers of the last run of events that was lost
    add column lost_to bigint,
    add column lost_at timestamptz;

-- An install token that is sealed under another SECRET is the same token: no
-- new etag, no event, and nobody has to hear of it. Whoever seals says so in
-- its transaction (db.Reseal).
-- +goose StatementBegin
create function resealing() returns boolean
    language sql stable
    as $$ select coalesce(current_setting('tms.resealing', true), '') = 'on' $$;
-- +goose StatementEnd

drop trigger tenants_touch on tenants;
create trigger tenants_touch before update on tenants
    for each row when (old.* is distinct from new.* and not resealing()) execute function tenants_touch();
drop trigger tenants_notify on tenants;
create trigger tenants_notify after insert or update or delete on tenants
    for each row when (not resealing()) execute function registry_notify('tenant');
drop trigger tenants_event on tenants;
create trigger tenants_event after insert or update on tenants
    for each row when (not resealing()) execute function tenants_event();

-- +goose Down
drop trigger tenants_event on tenants;
create trigger tenants_event after insert or update on tenants
    for each row execute function tenants_event();
drop trigger tenants_notify on tenants;
create trigger tenants_notify after insert or update or delete on tenants
    for each row execute function registry_notify('tenant');
drop trigger tenants_touch on tenants;
create trigger tenants_touch before update on tenants
    for each row when (old.* is distinct from new.*) execute function tenants_touch();
drop function resealing;
alter table webhooks drop column lost_at, drop column lost_to, drop column lost_from,
    drop column old_secret_until, drop column old_secret;
