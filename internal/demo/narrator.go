package demo

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// narrator tells what happens and how long it took. It is safe for concurrent
// use.
type narrator struct {
	mu    sync.Mutex
	out   io.Writer
	began time.Time
}

func newNarrator(out io.Writer) *narrator { return &narrator{out: out, began: time.Now()} }

// title opens a chapter.
func (n *narrator) title(format string, args ...any) {
	n.print("\n== " + fmt.Sprintf(format, args...) + "\n")
}

// say tells one thing, under the time since the start.
func (n *narrator) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	// Continued lines stand under the first one's text.
	text = strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", 11))
	n.print(fmt.Sprintf("[%7.1fs] %s\n", time.Since(n.began).Seconds(), text))
}

// print writes text as it is. The narration goes to a terminal or a log; when
// that is gone nobody is left to tell.
func (n *narrator) print(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, _ = io.WriteString(n.out, text)
}

// took renders a duration in a form as exact as people read.
func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
