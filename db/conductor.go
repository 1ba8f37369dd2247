package db

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tracardi/tms/upgrader"
)

// conductArgs is a wake-up for a rollout as a whole.
type conductArgs struct {
	Rollout string `json:"rollout"`
	Slot    int64  `json:"slot"` // unix time in units of freshness
}

// Kind implements river.JobArgs.
func (conductArgs) Kind() string { return "rollout_conduct" }

// InsertOpts implements river.JobArgsWithInsertOpts. A look that runs has
// perhaps read too early: only one that waits is enough.
func (conductArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{MaxAttempts: 1, Priority: 1, UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
		rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}}}
}

// conductTimeout bounds one look: a round of checks is the longest part.
const conductTimeout = 2 * time.Minute

// conductor looks at rollouts as a whole.
type conductor struct {
	river.WorkerDefaults[conductArgs]
	runner *upgrader.Runner
	log    *slog.Logger
}

// Timeout implements river.Worker.
func (c *conductor) Timeout(*river.Job[conductArgs]) time.Duration { return conductTimeout }

// Work implements river.Worker. Errors are logged and not returned: the next
// look comes within a second.
func (c *conductor) Work(ctx context.Context, job *river.Job[conductArgs]) error {
	if err := c.runner.Conduct(ctx, job.Args.Rollout); err != nil && ctx.Err() == nil {
		c.log.Warn("cannot conduct a rollout", "rollout", job.Args.Rollout, "error", err)
	}
	return nil
}

func (q *Queue) conduct(ctx context.Context, tx pgx.Tx, rollout string) error {
	return q.wake(ctx, tx, conductArgs{Rollout: rollout, Slot: time.Now().UnixNano()})
}

// conductAll wakes somebody for every rollout under way.
func (q *Queue) conductAll(ctx context.Context) error {
	ids, err := q.store.Conducted(ctx)
	if err != nil {
		return err
	}
	return q.wakeAll(ctx, ids, func(id string) river.JobArgs { return conductArgs{Rollout: id, Slot: slot()} })
}
