-- +goose Up
-- A single-tenant installation that became a tenant: the beginning of the
-- names under which its indices stood, "074.4a7d1" for prefix and code name.
alter table tenants add column adopted_from text not null default '';
alter table tenants add constraint tenants_adopted_from_check
    check (adopted_from = '' or adopted_from ~ '^[0-9a-z]{1,16}\.[a-z0-9][a-z0-9_-]{0,62}$');
create unique index tenants_adopted_from_key on tenants (cluster, adopted_from) where adopted_from <> '' and purged_at is null;

-- A tenant whose id is the code name of another one would share its indices.
-- +goose StatementBegin
create function tenants_keep_code_names() returns trigger language plpgsql as $$
begin
    if exists (
        select from tenants t
        where t.adopted_from <> '' and t.cluster = new.cluster and split_part(t.adopted_from, '.', 2) = new.id
            and t.id <> new.id and t.purged_at is null
    ) or new.adopted_from <> '' and exists (
        select from tenants t
        where t.id = split_part(new.adopted_from, '.', 2) and t.id <> new.id and t.cluster = new.cluster and t.purged_at is null
    ) then
        raise exception 'id and code name meet' using errcode = 'unique_violation', constraint = 'tenants_code_name';
    end if;
    return new;
end $$;
-- +goose StatementEnd
create trigger tenants_code_names before insert on tenants for each row execute function tenants_keep_code_names();
create index tenants_code_name on tenants (cluster, split_part(adopted_from, '.', 2)) where adopted_from <> '';

-- +goose Down
drop index tenants_code_name;
drop trigger tenants_code_names on tenants;
drop function tenants_keep_code_names();
drop index tenants_adopted_from_key;
alter table tenants drop column adopted_from;
