package upgrader

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// MaxMismatches bounds how many mismatches of a tenant are kept: past it the
// copy is not damaged in places but wrong as a whole.
const MaxMismatches = 10_000

// MismatchKind says how a document of the new version is not what it should be.
type MismatchKind string

// Kinds of mismatches.
const (
	MismatchMissing MismatchKind = "missing" // the new version lacks it
	MismatchDiffers MismatchKind = "differs" // some fields differ
	MismatchExtra   MismatchKind = "extra"   // the old version has no such document
	// MismatchAbsent is missing too, but may have been deleted since the
	// switch: deletions leave nothing behind that could be asked.
	MismatchAbsent MismatchKind = "absent"
)

// Mismatch is one document that a comparison found wrong. It holds no values:
// documents are personal data.
type Mismatch struct {
	RolloutID, TenantID string
	Target              string // index of the new version
	ID                  string
	Kind                MismatchKind
	Fields              []string // in which it differs, a handful at most
	FoundAt             time.Time
	// Want and Have are the documents as they are now, canonical JSON; only
	// set when values were asked for.
	Want, Have string
}

func (x Mismatch) String() string {
	switch x.Kind {
	case MismatchDiffers:
		return fmt.Sprintf("document %s differs in %s", x.ID, strings.Join(x.Fields, ", "))
	case MismatchExtra:
		return fmt.Sprintf("document %s is not in the old version", x.ID)
	}
	return fmt.Sprintf("document %s is missing", x.ID)
}

// MismatchFilter selects mismatches, ordered by tenant, target, id.
type MismatchFilter struct {
	RolloutID, TenantID string // TenantID "" for all
	// After are tenant, target and id of the last one seen.
	After [3]string
	Limit int // 0: no limit
}

func (s *session) mismatch(m *Move, id string, k MismatchKind, fields []string) Mismatch {
	return Mismatch{RolloutID: s.lease.RolloutID, TenantID: s.lease.TenantID, Target: m.Target, ID: id, Kind: k, Fields: fields, FoundAt: s.r.now()}
}

// mismatched stores what a comparison found and makes an error of it that
// names the first ones.
func (s *session) mismatched(ctx context.Context, m *Move, found []Mismatch) error {
	if len(found) == 0 {
		return nil
	}
	if err := s.r.store.SaveMismatches(ctx, s.lease, found...); err != nil {
		return err
	}
	words := make([]string, 0, mostNamed+1)
	for _, f := range found[:min(len(found), mostNamed)] {
		words = append(words, f.String())
	}
	if n := len(found); n > mostNamed {
		words = append(words, fmt.Sprintf("and %d more", n-mostNamed))
	}
	return failf("verification of %s failed: %s; `tms upgrade repair %s %s` copies just these again", m.Target, strings.Join(words, "; "), s.lease.RolloutID, s.lease.TenantID)
}
