package devstack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// awaitReady waits until the node answers and the cluster has at least the
// given number of nodes and is yellow or better.
func (n *Node) awaitReady(ctx context.Context, nodes int) error {
	proc := n.current()
	if proc == nil {
		return fmt.Errorf("%s: %w", n.name, os.ErrProcessDone)
	}
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // a question to whoever else holds the port must not hang
		select {
		case <-proc.exited:
			cancel()
		case <-asking.Done():
		}
	}()
	for {
		err := n.checkReady(asking, proc.pid, nodes)
		if err == nil {
			return nil
		}
		select {
		case <-proc.exited:
			return n.startFailure(proc)
		case <-ctx.Done():
			return fmt.Errorf("%s of %s did not become ready in time: %w; last lines of %s:\n%s",
				n.name, n.engine.opts.Kind, err, n.LogPath(), proc.tail(15))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (n *Node) startFailure(proc *process) error {
	err := proc.exitError(fmt.Sprintf("%s of %s", n.name, n.engine.opts.Kind))
	output := proc.output()
	if strings.Contains(output, "BindHttpException") || strings.Contains(output, "BindTransportException") {
		return fmt.Errorf("ports %d and %d: %w: %w", n.httpPort, n.transportPort, errPortTaken, err)
	}
	return err
}

var errNotReady = errors.New("not ready")

func (n *Node) checkReady(ctx context.Context, pid, nodes int) error {
	if err := n.checkHealth(ctx, nodes); err != nil {
		return err
	}
	return n.checkIdentity(ctx, pid)
}

func (n *Node) checkHealth(ctx context.Context, nodes int) error {
	var health struct {
		Status   string `json:"status"`
		TimedOut bool   `json:"timed_out"`
	}
	path := fmt.Sprintf("/_cluster/health?wait_for_status=yellow&wait_for_nodes=ge(%d)&timeout=5s", nodes)
	if err := n.ask(ctx, path, &health); err != nil {
		return err
	}
	if health.TimedOut || health.Status == "red" {
		return fmt.Errorf("%w: health %q", errNotReady, health.Status)
	}
	return nil
}

// checkIdentity makes sure that the answers come from our process and not from
// another engine that was quicker to take the port.
func (n *Node) checkIdentity(ctx context.Context, pid int) error {
	var answer struct {
		Nodes map[string]struct {
			Process struct {
				ID int `json:"id"`
			} `json:"process"`
		} `json:"nodes"`
	}
	if err := n.ask(ctx, "/_nodes/_local/process", &answer); err != nil {
		return err
	}
	for _, node := range answer.Nodes {
		if node.Process.ID == pid {
			return nil
		}
	}
	return fmt.Errorf("%w: another process answers on %s", errNotReady, n.URL())
}

// healthClient opens a connection per question: a connection kept open would
// outlive the node it leads to.
var healthClient = &http.Client{
	Timeout:   15 * time.Second,
	Transport: &http.Transport{DisableKeepAlives: true},
}

func (n *Node) ask(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL()+path, nil)
	if err != nil {
		return err
	}
	response, err := healthClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: status %d", errNotReady, response.StatusCode)
	}
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		return fmt.Errorf("read answer of %s: %w", n.name, err)
	}
	return nil
}
