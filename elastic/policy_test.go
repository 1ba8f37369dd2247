package elastic_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/elastic"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

// The engines of the tests come without x-pack and without OpenSearch's
// plugins: they tell what having none looks like. What having some looks like
// follows the engines' documentation.

func TestNoNativePolicies(t *testing.T) {
	t.Parallel()
	c, err := elastic.New(t.Context(), elastic.Config{URLs: []string{devtest.Engine(t)}})
	require.NoError(t, err)
	defer c.Close()
	found, err := c.NativePolicies(t.Context())
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestPoliciesOfLifecycleManagement(t *testing.T) {
	t.Parallel()
	f, c := newFake(t, elastic.Config{}, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"weekly":{"version":1,"policy":{"name":"<w-{now/d}>","schedule":"0 0 1 ? * SUN","repository":"nas"},"next_execution_millis":1800000000000},
			"nightly":{"version":2,"policy":{"name":"<n-{now/d}>","schedule":"0 30 1 * * ?","repository":"nas"},"next_execution_millis":1790000000000,
				"last_success":{"snapshot_name":"n-1","start_time":1,"time":1780000000000},
				"last_failure":{"snapshot_name":"n-0","time":1770000000000,"details":"no space left"}}}`)
	})
	found, err := c.NativePolicies(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"GET /_slm/policy"}, f.seen())
	require.Len(t, found, 2)
	nightly := found[0]
	require.Equal(t, "nightly slm 0 30 1 * * ? nas", fmt.Sprint(nightly.Name, " ", nightly.Kind, " ", nightly.Schedule, " ", nightly.Repository))
	require.EqualValues(t, 1790000000, nightly.NextAt.Unix())
	require.Equal(t, "n-1", nightly.LastSuccess.Run)
	require.Equal(t, "no space left", nightly.LastFailure.Reason)
	require.Nil(t, found[1].LastFailure)
}

func TestPoliciesOfSnapshotManagement(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			fmt.Fprint(w, `{"cluster_name":"c","cluster_uuid":"u","version":{"distribution":"opensearch","number":"2.19.1"}}`)
		case "/_plugins/_sm/policies":
			fmt.Fprint(w, `{"policies":[{"_id":"daily-sm-policy","sm_policy":{"name":"daily","creation":{"schedule":{"cron":{"expression":"0 8 * * *","timezone":"UTC"}}},
				"snapshot_config":{"repository":"s3-archive"},"enabled":true}}],"total_policies":1}`)
		case "/_plugins/_sm/policies/*/_explain":
			fmt.Fprint(w, `{"policies":[{"name":"daily","creation":{"current_state":"CREATION_START","trigger":{"time":1790000000000},
				"latest_execution":{"status":"FAILED","start_time":1,"end_time":1780000000000,"info":{"message":"repository missing"}}}}]}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	c, err := elastic.New(t.Context(), elastic.Config{URLs: []string{srv.URL}})
	require.NoError(t, err)
	defer c.Close()
	found, err := c.NativePolicies(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "daily", found[0].Name)
	require.Equal(t, "0 8 * * * UTC", found[0].Schedule)
	require.EqualValues(t, 1790000000, found[0].NextAt.Unix())
	require.Nil(t, found[0].LastSuccess)
	require.Equal(t, "FAILED: repository missing", found[0].LastFailure.Reason)
}
