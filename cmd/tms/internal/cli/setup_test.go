package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tracardi/tms/cmd/tms/internal/cli"
	"github.com/tracardi/tms/db"
	"github.com/tracardi/tms/internal/devstack/devtest"
)

// startLimit bounds everything a test waits for.
const startLimit = time.Minute

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }

// environment is a fixed one, so that no test depends on the machine's.
type environment map[string]string

func (e environment) lookup(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

func (e environment) with(pairs ...string) environment {
	all := environment{}
	for k, v := range e {
		all[k] = v
	}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

// result is what a command left.
type result struct {
	code     int
	out, err string
}

func run(t *testing.T, env environment, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	var out, errs bytes.Buffer
	code := cli.Run(ctx, args, &out, &errs, env.lookup)
	return result{code: code, out: out.String(), err: errs.String()}
}

// decode reads the output as one JSON document.
func (r result) decode(t *testing.T, into any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(r.out))
	require.NoError(t, d.Decode(into), "output: %s errors: %s", r.out, r.err)
	_, err := d.Token()
	require.ErrorIs(t, err, io.EOF, "more than one document: %s", r.out)
}

// bundle is a running `tms serve` on real servers.
type bundle struct {
	server environment // of the service
	client environment // of commands, as administrator
	http   string
	stop   func() int // ends the service and returns its exit code
	logs   *syncBuffer
}

const (
	adminKey    = "admin-key-of-the-tests"
	instanceKey = "instance-key-of-the-tests"
)

func setup(t *testing.T) *bundle {
	t.Helper()
	return setupWith(t)
}

// setupWith is setup with more in the service's environment.
func setupWith(t *testing.T, pairs ...string) *bundle {
	t.Helper()
	return serve(t, environment{
		"DATABASE_URL":     devtest.Database(t, db.Migrate),
		"TMS_ELASTIC_URLS": devtest.Engine(t),
		"SECRET":           "a secret for tests, long enough",
		"API_KEY":          instanceKey,
		"TMS_ADMIN_KEY":    adminKey,
		"TMS_HTTP_ADDR":    "127.0.0.1:0",
		"TMS_GRPC_ADDR":    "127.0.0.1:0",
		"LOGGING_LEVEL":    "WARNING",
	}.with(pairs...))
}

// serve runs the service as main would, with this environment.
func serve(t *testing.T, env environment, args ...string) *bundle {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	addrFile := filepath.Join(t.TempDir(), "addr.json")
	reader, writer := io.Pipe()
	logs := &syncBuffer{}
	ended := make(chan int, 1)
	go func() {
		code := cli.Run(ctx, append([]string{"serve", "--addr-file", addrFile}, args...), writer, logs, env.lookup)
		_ = writer.Close()
		ended <- code
	}()
	code := -1
	stop := func() int {
		if code < 0 {
			cancel()
			code = <-ended
		}
		return code
	}
	t.Cleanup(func() {
		if code := stop(); code != 0 {
			t.Errorf("serve ended with code %d: %s", code, logs)
		}
	})
	var where struct {
		GRPC string `json:"grpc_addr"`
		HTTP string `json:"http_addr"`
	}
	require.NoError(t, json.NewDecoder(reader).Decode(&where), "serve did not start: %s", logs)
	go func() { _, _ = io.Copy(io.Discard, reader) }()
	return &bundle{
		server: env, client: environment{"TMS_ADDR": where.GRPC, "TMS_API_KEY": env["TMS_ADMIN_KEY"]},
		http: "http://" + where.HTTP, stop: stop, logs: logs,
	}
}
