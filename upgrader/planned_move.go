package upgrader

import (
	"unique"

	"github.com/tracardi/tms/upgrader/naming"
)

// PlannedMove is what a Move begins with. The plan of a fleet holds hundreds of
// thousands of them, so it has nothing of what only work on one adds.
type PlannedMove struct {
	Target   string // its mode and partition are in the name
	Resource string // key in the target release
	Method   Method
	Why      string
	Light    bool
	Replicas int32 // wanted after copying
	Copies   []PlannedCopy
}

// PlannedCopy is one source index of a PlannedMove.
type PlannedCopy struct {
	Source   string
	Resource string // key in the source release
	Docs     int64
	Bytes    int64
	// Writes is the number of writes that the source had taken.
	Writes int64
	Shards int32
	// Foreign is as in Copy.
	Foreign bool
}

// planned is a move that has not begun, small.
func (m *Move) planned() PlannedMove {
	p := PlannedMove{
		Target: m.Target, Resource: m.Resource, Method: m.Method, Light: m.Light, Replicas: int32(m.Replicas),
		Why: unique.Make(m.Why).Value(), // a fleet has few different reasons
	}
	if len(m.Copies) > 0 {
		p.Copies = make([]PlannedCopy, len(m.Copies))
	}
	for i, c := range m.Copies {
		p.Copies[i] = PlannedCopy{Source: c.Source, Resource: c.Resource, Docs: c.Docs, Bytes: c.Bytes, Writes: c.Planned, Shards: int32(c.Shards), Foreign: c.Foreign}
	}
	return p
}

func (p PlannedMove) begin() Move {
	n, _ := naming.Parse(realName(p.Target)) // without what a rehearsal puts in front
	m := Move{
		Target: p.Target, Resource: p.Resource, Mode: n.Mode, Partition: n.Partition, Method: p.Method, Why: p.Why,
		State: MovePlanned, Light: p.Light, Replicas: int(p.Replicas),
	}
	for _, c := range p.Copies {
		m.Copies = append(m.Copies, Copy{
			Source: c.Source, Resource: c.Resource, State: CopyPlanned, Docs: c.Docs, Bytes: c.Bytes, Shards: int(c.Shards), Planned: c.Writes, Foreign: c.Foreign,
		})
	}
	return m
}

// BeginMoves are the moves that carry a plan out.
func BeginMoves(planned []PlannedMove) []Move {
	out := make([]Move, len(planned))
	for i, p := range planned {
		out[i] = p.begin()
	}
	return out
}

// Documents are those of its own sources.
func (p PlannedMove) Documents() (n int64) {
	for _, c := range p.Copies {
		if !c.Foreign {
			n += c.Docs
		}
	}
	return n
}
