package upgrader

import (
	"errors"
	"fmt"
)

// Sentinels of the Engine and Store ports.
var (
	ErrAlreadyExists = errors.New("already exists")
	ErrNotFound      = errors.New("not found")
	// ErrConflict is a lost compare-and-swap: somebody else changed the row.
	ErrConflict = errors.New("changed by another worker")
	// ErrLeaseLost means that this worker no longer owns the tenant and must
	// not write anything, neither to Postgres nor to the engine.
	ErrLeaseLost = errors.New("lease lost")
)

// EngineError is an answer of the search engine that refuses a call, or the
// lack of an answer (Status 0).
type EngineError struct {
	Op     string // what was asked: "create index 0820.acme.tracardi-event-2026-1"
	Status int    // HTTP status; 0 when the engine could not be reached
	Type   string // the engine's exception type, "cluster_block_exception"
	Reason string // the engine's words; never holds credentials
	Err    error  // transport error when Status is 0
}

func (e *EngineError) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("%s: search engine not reachable: %v", e.Op, e.Err)
	}
	return fmt.Sprintf("%s: %d %s: %s", e.Op, e.Status, e.Type, e.Reason)
}

func (e *EngineError) Unwrap() error { return e.Err }

// Is maps engine answers to the sentinels.
func (e *EngineError) Is(target error) bool {
	switch target {
	case ErrNotFound:
		return e.Status == 404
	case ErrAlreadyExists:
		return e.Type == "resource_already_exists_exception"
	}
	return false
}

// Unanswered says that the engine may have carried the call out, or may yet do
// so: there was no answer, or one of somebody on the way.
func (e *EngineError) Unanswered() bool { return e.Status == 0 || e.Status >= 502 && e.Status <= 504 }

// Retryable says that the same call may succeed later without any change:
// not reachable, overloaded, or a server-side failure.
func (e *EngineError) Retryable() bool {
	// A snapshot that is being taken keeps indices from being deleted or closed.
	return e.Status == 0 || e.Status == 429 || e.Status >= 500 || e.Type == "snapshot_in_progress_exception"
}
