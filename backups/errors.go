package backups

import (
	"errors"
	"fmt"

	"github.com/tracardi/tms/upgrader"
)

// Sentinels of stores and engines.
var (
	// ErrNotFound: the row, repository or snapshot is not there.
	ErrNotFound = errors.New("not found")
	// ErrLeaseLost: another worker owns the run.
	ErrLeaseLost = errors.New("lease lost")
	// ErrConflict: not due, or somebody else has it.
	ErrConflict = errors.New("conflict")
	// ErrExists: the engine has a snapshot of this name, or runs one.
	ErrExists = errors.New("snapshot exists")
	// ErrBusy: the engine does another snapshot, deletion or restore that
	// excludes this one; later it may succeed.
	ErrBusy = errors.New("the engine is busy with another snapshot operation")
)

// Reason is the machine-readable cause of an Error.
type Reason string

// Reasons.
const (
	ReasonInvalid    Reason = "BACKUP_INVALID"       // a value is wrong
	ReasonNotFound   Reason = "BACKUP_NOT_FOUND"     // no such repository, snapshot, restore, or tenant in it
	ReasonRefused    Reason = "BACKUP_REFUSED"       // preconditions not met: see Refusals
	ReasonRepository Reason = "REPOSITORY_UNUSABLE"  // the engine cannot work with the repository
	ReasonWrongState Reason = "BACKUP_WRONG_STATE"   // the command makes no sense now
	ReasonEngine     Reason = "BACKUP_ENGINE_FAILED" // the search engine does not answer
)

// Refusal is one thing that stands in the way.
type Refusal = upgrader.Refusal

// Error is every error that Service returns on purpose. It holds no secrets.
type Error struct {
	Reason   Reason
	Field    string
	Message  string // says what, with the value
	Remedy   string
	Refusals []Refusal
	Err      error
}

func (e *Error) Error() string {
	return upgrader.Wording(e.Field, e.Message, e.Remedy, e.Refusals)
}

func (e *Error) Unwrap() error { return e.Err }

func invalid(field, remedy, format string, args ...any) *Error {
	return &Error{Reason: ReasonInvalid, Field: field, Message: fmt.Sprintf(format, args...), Remedy: remedy}
}

func notFound(field, remedy, format string, args ...any) *Error {
	return &Error{Reason: ReasonNotFound, Field: field, Message: fmt.Sprintf(format, args...), Remedy: remedy, Err: ErrNotFound}
}

func refused(message string, all []Refusal) *Error {
	return &Error{Reason: ReasonRefused, Message: message, Refusals: all}
}

// HasReason says whether err is an Error with this reason.
func HasReason(err error, r Reason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == r
}

// failure is an error that time does not heal: the run fails.
type failure struct{ message string }

func (f *failure) Error() string { return f.message }

func failf(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...)}
}
