-- +goose Up
-- A page of tenants costs the same whether there are a thousand or a hundred
-- thousand: every order and every condition that pages are asked for by has an
-- index in which the page is one piece.

-- Without conditions, and for every state that is not nearly all of them.
create index tenants_present_idx on tenants (id) where deleted_at is null;
create index tenants_suspended_idx on tenants (id) where suspended and deleted_at is null;
create index tenants_expiring_idx on tenants (id) where expires_at is not null and deleted_at is null;
create index tenants_deleted_idx on tenants (id) where deleted_at is not null and purged_at is null;
create index tenants_purged_idx on tenants (id) where purged_at is not null; -- tombstones are kept for ever

-- Orders; release and cluster are conditions too. Tombstones have no name and
-- would come first.
create index tenants_created_idx on tenants (created_at, id) where purged_at is null;
create index tenants_updated_idx on tenants (updated_at, id) where purged_at is null;
create index tenants_name_idx on tenants (display_name collate "C", id) where purged_at is null;
create index tenants_release_idx on tenants (release collate "C", id) where purged_at is null;
create index tenants_cluster_idx on tenants (cluster collate "C", id) where purged_at is null;

-- Labels by value, in the order of ids. The index of the jsonb column finds all
-- tenants with a label, but only all at once and in no order.
create table tenant_labels (
    name text collate "C" not null,
    value text collate "C" not null,
    tenant_id text collate "C" not null constraint tenant_labels_tenant_fkey references tenants on delete cascade,
    constraint tenant_labels_pkey primary key (name, value, tenant_id)
);

create index tenant_labels_tenant_idx on tenant_labels (tenant_id);

-- +goose StatementBegin
create function tenant_labels_follow() returns trigger
    language plpgsql
    as $$
        begin
            if tg_op = 'UPDATE' then
                delete from tenant_labels where tenant_id = new.id and (new.labels ->> name) is distinct from value;
            end if;
            insert into tenant_labels (name, value, tenant_id)
                select key, value, new.id from jsonb_each_text(new.labels) where value is not null
                on conflict do nothing;
            return null;
        end
    $$;
-- +goose StatementEnd

create trigger tenant_labels_insert after insert on tenants
    for each row when (new.labels <> '{}') execute function tenant_labels_follow();
create trigger tenant_labels_update after update of labels on tenants
    for each row when (old.labels is distinct from new.labels) execute function tenant_labels_follow();

insert into tenant_labels (name, value, tenant_id)
    select l.key, l.value, t.id from tenants t, jsonb_each_text(t.labels) l where l.value is not null;

drop index tenants_labels_idx;

-- The trail is asked by key and by call as often as by subject.
create index audit_key_idx on audit (key_id, id);
create index audit_request_idx on audit (request_id, id);

-- +goose Down
drop index audit_request_idx;
drop index audit_key_idx;
create index tenants_labels_idx on tenants using gin (labels jsonb_path_ops);
drop trigger tenant_labels_update on tenants;
drop trigger tenant_labels_insert on tenants;
drop function tenant_labels_follow;
drop table tenant_labels;
drop index tenants_cluster_idx;
drop index tenants_release_idx;
drop index tenants_name_idx;
drop index tenants_updated_idx;
drop index tenants_created_idx;
drop index tenants_purged_idx;
drop index tenants_deleted_idx;
drop index tenants_expiring_idx;
drop index tenants_suspended_idx;
drop index tenants_present_idx;
