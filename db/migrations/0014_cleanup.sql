-- +goose Up
-- Versions that nobody uses any more are removed by operations too. The plan
-- with every exact name is stored with the operation: what was looked at is
-- what is deleted, whoever goes on with it. One runs at a time, because the
-- pace of deletions is the cluster's: tenant_id is '' for all of them, and
-- operations_running_key holds for them as for purges.
alter table operations
    add column version text not null default '', -- release that is removed
    add column plan jsonb,
    drop constraint operations_kind_check,
    add constraint operations_kind_check check (kind in ('tenant.purge', 'version.cleanup')),
    add constraint operations_plan_check check ((kind = 'version.cleanup') = (plan is not null));

-- A rollout does not start for a tenant towards or from a version that is
-- being removed from it. The lock makes the two wait for each other.
-- +goose StatementBegin
create function rollout_tenants_cleanup_guard() returns trigger
    language plpgsql
    as $$
        declare
            removed text;
        begin
            perform pg_advisory_xact_lock_shared(hashtext('tms.cleanup'));
            select o.version into removed
                from operations o, jsonb_array_elements(o.plan -> 'tenants') part
                where o.kind = 'version.cleanup' and o.state = 'running' and part ->> 'tenant' = new.tenant_id
                limit 1;
            if found then
                raise exception using errcode = 'check_violation', constraint = 'rollout_tenants_cleaned',
                    message = 'version ' || removed || ' of tenant ' || new.tenant_id || ' is being removed';
            end if;
            return new;
        end
    $$;
-- +goose StatementEnd

create trigger rollout_tenants_cleanup_guard before insert on rollout_tenants
    for each row execute function rollout_tenants_cleanup_guard();

-- +goose Down
drop trigger rollout_tenants_cleanup_guard on rollout_tenants;
drop function rollout_tenants_cleanup_guard;
delete from operations where kind = 'version.cleanup';
alter table operations
    drop constraint operations_plan_check,
    drop constraint operations_kind_check,
    add constraint operations_kind_check check (kind in ('tenant.purge')),
    drop column plan,
    drop column version;
