package cli

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// meter shows how far a snapshot or restore is. Not safe for concurrent use.
type meter interface {
	show(run)
	close()
}

// newMeter is a bar on a terminal and lines elsewhere.
func (a *app) newMeter() meter {
	if isTerminal(a.err) {
		return newBar(a.err)
	}
	return &meterLines{out: a.err}
}

func runText(r run) string {
	p := r.GetProgress()
	text := r.GetState()
	if !runEnded(text) && p.GetShards() > 0 {
		text += fmt.Sprintf(", %d of %d shards", p.GetShardsDone(), p.GetShards())
	}
	return text + withReason(r.GetReason())
}

// meterLines prints a line per change of state, and one in a while.
type meterLines struct {
	out   io.Writer
	state string
	at    time.Time
}

// linePause is between lines that tell of nothing but progress.
const linePause = 5 * time.Second

func (m *meterLines) show(r run) {
	key := r.GetState() + r.GetReason()
	if key == m.state && time.Since(m.at) < linePause {
		return
	}
	m.state, m.at = key, time.Now()
	_, _ = fmt.Fprintln(m.out, m.at.UTC().Format(time.TimeOnly), r.GetId()+": "+runText(r))
}

func (m *meterLines) close() {}

// meterBar is one bar.
type meterBar struct {
	all  *mpb.Progress
	bar  *mpb.Bar
	text atomic.Pointer[string]
}

func newBar(out io.Writer) *meterBar {
	m := &meterBar{all: mpb.New(mpb.WithOutput(out), mpb.WithWidth(32))}
	m.bar = m.all.AddBar(0, mpb.PrependDecorators(decor.Name("shards ")), mpb.AppendDecorators(text(&m.text)))
	return m
}

func (m *meterBar) show(r run) {
	line := runText(r)
	m.text.Store(&line)
	m.bar.SetTotal(max(r.GetProgress().GetShards(), 1), false)
	m.bar.SetCurrent(r.GetProgress().GetShardsDone())
}

func (m *meterBar) close() {
	m.bar.Abort(false)
	m.all.Wait()
}
