package service

import (
	"context"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/tenants"
)

// resealPatience bounds the attempts to seal everything anew; the next start
// goes on.
const resealPatience = 10 * time.Minute

// reseal lets go of the former SECRET: when it is done, nothing that is stored
// needs it any more, and the operator is told so.
func reseal(database *db.DB, sealer *tenants.Sealer, log *slog.Logger) func(context.Context) {
	return func(ctx context.Context) {
		var all db.Resealed
		_, err := backoff.Retry(ctx, func() (struct{}, error) {
			done, err := db.Reseal(ctx, database, sealer)
			all.Tenants, all.Webhooks, all.Clusters, all.Unreadable = all.Tenants+done.Tenants, all.Webhooks+done.Webhooks, all.Clusters+done.Clusters, done.Unreadable
			return struct{}{}, err
		}, backoff.WithMaxElapsedTime(resealPatience))
		counts := []any{"install_tokens", all.Tenants, "webhook_secrets", all.Webhooks, "cluster_secrets", all.Clusters, "unreadable", all.Unreadable}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			log.WarnContext(ctx, "secrets are still sealed under TMS_SECRET_OLD: keep it; the next start tries again", append(counts, "error", err)...)
		case all.Unreadable > 0:
			log.WarnContext(ctx, "some secrets were sealed under neither SECRET nor TMS_SECRET_OLD", counts...)
		default:
			log.InfoContext(ctx, "all secrets are sealed under SECRET: TMS_SECRET_OLD can go when its tokens have expired", append(counts, "token_lifetime", tenants.TokenTTL)...)
		}
	}
}
