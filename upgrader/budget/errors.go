package budget

import "errors"

var (
	// ErrNone says that a cluster has no budget: it is not registered, or
	// nothing has been done in it.
	ErrNone = errors.New("no such budget")
	// ErrStopped ends what waits for a budget while everything is stopped.
	ErrStopped = errors.New("everything is stopped")
)

// Error is what is wrong with what an operator has asked of a budget.
type Error struct {
	Field   string
	Message string // says what, with the value
	Remedy  string
	Err     error // unless nil, the cause
}

func (e *Error) Error() string { return e.Field + ": " + e.Message + " (" + e.Remedy + ")" }

func (e *Error) Unwrap() error { return e.Err }
