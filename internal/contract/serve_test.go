package contract_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

const (
	root   = "../.."
	client = root + "/clients/python"

	// startLimit bounds the build of tms on a machine with an empty cache.
	startLimit = 5 * time.Minute

	apiKey   = "instance-key-of-the-contract"
	adminKey = "admin-key-of-the-contract"
	secret   = "secret of the contract, long enough"
)

// service is a running `tms serve`, started as its image would be.
type service struct {
	url  string
	logs *record
}

// settings are what Python needs to know about it.
func (s service) settings() []string {
	return []string{"TMS_CONTRACT_URL=" + s.url, "TMS_CONTRACT_API_KEY=" + apiKey, "TMS_CONTRACT_ADMIN_KEY=" + adminKey}
}

// serve builds and starts tms with the most talkative log. Registry and keys
// need no search engine.
func serve(t *testing.T) service {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "tms")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/tms")
	build.Dir = root
	output(t, build)

	s := service{logs: &record{}}
	c := exec.Command(binary, "serve") // ended below, as an operator would
	c.Env = append(os.Environ(),
		"DATABASE_URL="+devtest.Database(t, db.Migrate), "TMS_ELASTIC_URLS=http://127.0.0.1:1",
		"API_KEY="+apiKey, "SECRET="+secret, "LOGGING_LEVEL=DEBUG", "TMS_ADMIN_KEY="+adminKey,
		"TMS_HTTP_ADDR=127.0.0.1:0", "TMS_GRPC_ADDR=127.0.0.1:0",
	)
	c.Stderr = s.logs
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	said := make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewReader(out)
		first, _ := lines.ReadString('\n') // an empty one is seen below
		said <- first
		_, _ = io.Copy(s.logs, lines) // ends with the process
	})
	t.Cleanup(func() {
		require.NoError(t, c.Process.Signal(os.Interrupt))
		kill := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
		defer kill.Stop()
		reading.Wait()
		require.NoError(t, c.Wait(), s.logs)
	})
	select {
	case line := <-said:
		var where struct {
			HTTP string `json:"http_addr"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &where), "tms serve did not start: %s", s.logs)
		s.url = "http://" + where.HTTP
	case <-time.After(startLimit):
		t.Fatalf("tms serve did not start: %s", s.logs)
	}
	return s
}

// record keeps what a process says.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}
