package upgrader

import "errors"

var (
	// ErrNoBudget says that a cluster has no budget: it is not registered, or
	// nothing has been done in it.
	ErrNoBudget = errors.New("no such budget")
	// ErrStopped ends what waits for a budget while everything is stopped.
	ErrStopped = errors.New("everything is stopped")
)

// BudgetError is what is wrong with what an operator has asked of a budget.
type BudgetError struct {
	Field   string
	Message string // says what, with the value
	Remedy  string
	Err     error // unless nil, the cause
}

func (e *BudgetError) Error() string { return e.Field + ": " + e.Message + " (" + e.Remedy + ")" }

func (e *BudgetError) Unwrap() error { return e.Err }
