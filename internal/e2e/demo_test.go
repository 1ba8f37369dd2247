package e2e

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDemo runs the smallest demonstration to its end, looks around in what it
// leaves running, and interrupts it.
func TestDemo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), testLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "demo", "--tenants", "1", "--docs", "150", "--months", "2", "--rate", "5", "--awkward", "--keep")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	var text strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "  psql ") { // the last of what it tells
			break
		}
	}
	said := text.String()
	require.Contains(t, said, "Everything is left running", said)
	require.Regexp(t, `(?m)^acorn .* full: equal .* ok \(\d+ compared\)$`, said)

	address := regexp.MustCompile(`REST +http://(\S+)`).FindStringSubmatch(said)[1]
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/v1/tenants", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+regexp.MustCompile(`TMS_API_KEY=(\S+)`).FindStringSubmatch(said)[1])
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)

	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
	}
	require.NoError(t, cmd.Wait(), text.String())
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close()
	}
	require.Error(t, err, "TMS still listens")
}
