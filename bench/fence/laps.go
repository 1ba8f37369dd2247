package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// laps is a log that keeps what is said about fences for the table, and passes
// on what its handler wants to see.
type laps struct {
	slog.Handler
	bench *bench
}

// Enabled implements slog.Handler.
func (l *laps) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// WithAttrs implements slog.Handler.
func (l *laps) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &laps{l.Handler.WithAttrs(attrs), l.bench}
}

// WithGroup implements slog.Handler.
func (l *laps) WithGroup(name string) slog.Handler {
	return &laps{l.Handler.WithGroup(name), l.bench}
}

// Handle implements slog.Handler.
func (l *laps) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "switched" || r.Message == "rolled back" {
		parts := []string{r.Message + ":"}
		r.Attrs(func(a slog.Attr) bool {
			if name, ok := strings.CutSuffix(a.Key, "_ms"); ok {
				parts = append(parts, fmt.Sprintf("%s %v", name, a.Value))
			}
			return true
		})
		select {
		case l.bench.parts <- strings.Join(parts, " "):
		default: // nobody reads them any more
		}
	}
	if !l.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return l.Handler.Handle(ctx, r)
}

// explain prints where the time of the last fences went, in milliseconds.
func (b *bench) explain() {
	for {
		select {
		case part := <-b.parts:
			fmt.Println("         " + part)
		default:
			return
		}
	}
}
