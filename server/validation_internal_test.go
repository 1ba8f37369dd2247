package server

import (
	"errors"
	"testing"

	"buf.build/go/protovalidate"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

// A number that is wrong is told; anything else may be a secret.
func TestWrongValuesAreNamed(t *testing.T) {
	t.Parallel()
	for says, m := range map[string]proto.Message{
		"max_tenants: 99 must be":    &tmsv1.SetRolloutRequest{Id: "r1", MaxTenants: proto.Int32(99)},
		"to_release: must be":        &tmsv1.PlanRolloutRequest{},
		"options.max_tenants: 70 mu": &tmsv1.PlanRolloutRequest{ToRelease: "0.8.2", Options: &tmsv1.RolloutOptions{MaxTenants: 70}},
	} {
		var wrong *protovalidate.ValidationError
		require.True(t, errors.As(protovalidate.Validate(m), &wrong), says)
		require.Contains(t, validationStatus(wrong).Message(), says)
	}
}
