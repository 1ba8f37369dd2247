package tmsv1_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
)

func TestJSONHasNumbersAndZeroes(t *testing.T) {
	t.Parallel()
	r := &tmsv1.Rollout{
		Id: "r1", Revision: 7,
		Tenants: []*tmsv1.RolloutTenant{{
			TenantId: "acme", Documents: 20000, IndicesByMethod: map[string]int32{"merge": 2},
			Verification: &tmsv1.Verification{Level: "full", Documents: 20000},
		}},
	}
	b, err := tmsv1.JSON(r)
	require.NoError(t, err)
	require.Contains(t, string(b), `"revision":7`)
	require.Contains(t, string(b), `"documents":20000`)
	require.Contains(t, string(b), `"quarantined":0`)
	require.NotContains(t, string(b), `"20000"`)

	var back tmsv1.Rollout
	require.NoError(t, protojson.Unmarshal(b, &back))
	require.True(t, proto.Equal(r, &back))
}
