-- +goose Up
-- Old versions of a wave are deleted before the next one opens.
alter table rollout_waves drop constraint rollout_waves_state_check;
alter table rollout_waves add constraint rollout_waves_state_check
    check (state in ('pending', 'open', 'soaking', 'checking', 'awaiting_approval', 'finalizing', 'done', 'stopped'));

-- +goose Down
update rollout_waves set state = 'awaiting_approval' where state = 'finalizing';
alter table rollout_waves drop constraint rollout_waves_state_check;
alter table rollout_waves add constraint rollout_waves_state_check
    check (state in ('pending', 'open', 'soaking', 'checking', 'awaiting_approval', 'done', 'stopped'));
