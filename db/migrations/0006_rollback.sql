-- +goose Up
-- A rollback carries back what was written since the switch: it has states of
-- its own, so that any process may die in the middle of it, and documents
-- that cannot go back are kept aside under a kind of their own.

alter table rollout_tenants
    drop constraint rollout_tenants_state_check,
    add constraint rollout_tenants_state_check check (state in ('planned', 'prepared', 'copying', 'copied', 'compared',
        'fenced', 'verified', 'switched', 'returning', 'return_fenced', 'return_verified',
        'done', 'failed', 'cancelled', 'rolled_back'));

alter table quarantine
    drop constraint quarantine_kind_check,
    add constraint quarantine_kind_check check (kind in ('refused', 'duplicate', 'dropped', 'leftover', 'not_carried_back'));

-- +goose Down
delete from quarantine where kind = 'not_carried_back';
alter table quarantine
    drop constraint quarantine_kind_check,
    add constraint quarantine_kind_check check (kind in ('refused', 'duplicate', 'dropped', 'leftover'));
update rollout_tenants set state = 'switched' where state in ('returning', 'return_fenced', 'return_verified');
alter table rollout_tenants
    drop constraint rollout_tenants_state_check,
    add constraint rollout_tenants_state_check check (state in ('planned', 'prepared', 'copying', 'copied', 'compared',
        'fenced', 'verified', 'switched', 'done', 'failed', 'cancelled', 'rolled_back'));
