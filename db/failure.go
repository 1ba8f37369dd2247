package db

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tracardi/tms/backups"
	"github.com/tracardi/tms/tenants"
	"github.com/tracardi/tms/upgrader"
	"github.com/tracardi/tms/upgrader/budget"
)

// SQLSTATEs that mean something to us (PostgreSQL, appendix A).
const (
	uniqueViolation     = "23505"
	foreignKeyViolation = "23503"
	undefinedTable      = "42P01"
	// NUL, which neither text nor jsonb of Postgres can hold.
	invalidCharacter        = "22021"
	untranslatableCharacter = "22P05"
)

// violates says whether err broke the named constraint.
func violates(err error, constraint string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.ConstraintName == constraint
}

// failure turns what the driver says into what a caller may see: its words
// stay in the chain for the log. Errors of the domains pass.
func failure(err error) error {
	if err == nil {
		return nil
	}
	if ours(err) || errors.Is(err, context.Canceled) {
		return err
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if pg.Code == invalidCharacter || pg.Code == untranslatableCharacter {
			return &tenants.Error{
				Code: tenants.CodeInvalid, Reason: tenants.ReasonInvalidField, Message: "a text holds the character NUL", Remedy: "leave it out", Err: err,
			}
		}
		// Class 08 connection, 53 resources, 57 operator intervention,
		// 40 rolled back, 55P03 lock not available: the same call may succeed.
		switch pg.Code[:2] {
		case "08", "53", "57", "40", "55":
			return unavailable(err)
		}
		return &opaque{code: pg.Code, constraint: pg.ConstraintName, err: err}
	}
	var connect *pgconn.ConnectError
	var network net.Error
	// A server that goes away in the middle of an answer leaves an EOF, or a
	// connection reset.
	broken := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &network)
	if broken || errors.As(err, &connect) || errors.Is(err, context.DeadlineExceeded) || pgconn.Timeout(err) || pgconn.SafeToRetry(err) {
		return unavailable(err)
	}
	return &opaque{err: err}
}

// ours says whether a domain made the error.
func ours(err error) bool {
	var registry *tenants.Error
	var upgrade *upgrader.ServiceError
	var backup *backups.Error
	if errors.As(err, &registry) || errors.As(err, &upgrade) || errors.As(err, &backup) {
		return true
	}
	for _, s := range []error{upgrader.ErrNotFound, upgrader.ErrAlreadyExists, upgrader.ErrConflict, upgrader.ErrLeaseLost, budget.ErrNone, backups.ErrNotFound, backups.ErrConflict, backups.ErrLeaseLost} {
		if errors.Is(err, s) {
			return true
		}
	}
	return false
}

func unavailable(err error) error {
	return &tenants.Error{
		Code: tenants.CodeUnavailable, Reason: tenants.ReasonStoreUnavailable,
		Message: "the database does not answer", Remedy: "try again; if it stays so, check DATABASE_URL and Postgres", Err: err,
	}
}

// opaque is a failure that nobody expected: its text holds no statement, no
// values and no address.
type opaque struct {
	code, constraint string
	err              error
}

func (o *opaque) Error() string {
	s := "database error"
	if o.code != "" {
		s += " " + o.code
	}
	if o.constraint != "" {
		s += " (" + o.constraint + ")"
	}
	return s
}

func (o *opaque) Unwrap() error { return o.err }
