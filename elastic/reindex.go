package elastic

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tracardi/tms/upgrader"
)

// StartReindex implements upgrader.Engine. It is never repeated: without an
// answer the task may run, and ReindexTasks finds it by its opaque id. The
// engine accepts a script that does not compile; the error shows in the task.
// It also creates a target that is missing: see to it that it is there.
func (c *Client) StartReindex(ctx context.Context, r upgrader.Reindex) (string, error) {
	op := "start the copy of " + r.Source + " to " + r.Target
	if err := checkNames(op, r.Source, r.Target); err != nil {
		return "", err
	}
	if r.Slices < 0 || r.RPS < 0 || r.Batch < 0 || r.Batch > maxHits {
		return "", fmt.Errorf("%s: slices %d, documents per second %g and batch %d must not be negative, the batch at most %d",
			op, r.Slices, r.RPS, r.Batch, maxHits)
	}
	body, err := marshal(op, reindexBody(r))
	if err != nil {
		return "", err
	}
	q := query("wait_for_completion", "false", "refresh", "false", "slices", strconv.Itoa(max(r.Slices, 1)))
	if r.RPS > 0 {
		q.Set("requests_per_second", strconv.FormatFloat(r.RPS, 'f', -1, 32))
	}
	if r.RequireAlias {
		q.Set("require_alias", "true")
	}
	if r.OpaqueID != "" {
		ctx = WithOpaqueID(ctx, r.OpaqueID)
	}
	var res struct {
		Task string `json:"task"`
	}
	err = c.do(ctx, call{op: op, once: true, request: fixed(request{
		method: http.MethodPost, path: "/_reindex", query: q, body: body,
	})}, &res)
	if err == nil && res.Task == "" {
		err = &upgrader.EngineError{Op: op, Err: fmt.Errorf("the answer names no task")}
	}
	return res.Task, err
}

func reindexBody(r upgrader.Reindex) map[string]any {
	source := map[string]any{"index": r.Source}
	if r.Batch > 0 {
		source["size"] = r.Batch
	}
	body := map[string]any{"source": source, "dest": map[string]any{"index": r.Target}}
	if r.Script != "" {
		script := map[string]any{"lang": "painless", "source": r.Script}
		if len(r.Params) > 0 {
			script["params"] = r.Params
		}
		body["script"] = script
	}
	return body
}

// taskInfo is a running task as _tasks shows it.
type taskInfo struct {
	Node      string            `json:"node"`
	ID        int64             `json:"id"`
	Status    *taskStatus       `json:"status"`
	Headers   map[string]string `json:"headers"`
	Cancelled bool              `json:"cancelled"`
	Parent    string            `json:"parent_task_id"`
	Children  []taskInfo        `json:"children"`
}

// taskStatus is the status of a task, of one slice, or the final response:
// they share their fields. An element of Slices is null while the slice runs,
// its final status afterwards, or an exception.
type taskStatus struct {
	SliceID  *int              `json:"slice_id"`
	Total    int64             `json:"total"`
	Created  int64             `json:"created"`
	Updated  int64             `json:"updated"`
	Deleted  int64             `json:"deleted"`
	Noops    int64             `json:"noops"`
	Canceled string            `json:"canceled"`
	Slices   []json.RawMessage `json:"slices"`
	Failures []taskFailure     `json:"failures"`
}

// taskFailure is a refused document (cause, id) or a failed search (reason).
type taskFailure struct {
	Index  string     `json:"index"`
	ID     string     `json:"id"`
	Cause  *exception `json:"cause"`
	Reason *exception `json:"reason"`
}

// nodeFailures are parts of the cluster that did not answer; a task list with
// any is not complete.
type nodeFailures struct {
	NodeFailures []exception `json:"node_failures"`
	TaskFailures []struct {
		Reason exception `json:"reason"`
	} `json:"task_failures"`
}

func (n nodeFailures) check(op string) error {
	e := &upgrader.EngineError{Op: op, Status: http.StatusServiceUnavailable}
	switch {
	case len(n.NodeFailures) > 0:
		e.Type, e.Reason = n.NodeFailures[0].words()
	case len(n.TaskFailures) > 0:
		e.Type, e.Reason = n.TaskFailures[0].Reason.words()
	default:
		return nil
	}
	return e
}

// ReindexTasks implements upgrader.Engine. A node that does not answer is an
// error: a task that runs there would be missed and started twice.
func (c *Client) ReindexTasks(ctx context.Context, opaquePrefix string) ([]upgrader.ReindexTask, error) {
	const op = "list running copy tasks"
	var body struct {
		nodeFailures
		Tasks map[string]taskInfo `json:"tasks"`
	}
	err := c.do(ctx, call{op: op, request: fixed(request{
		method: http.MethodGet, path: "/_tasks",
		query: query("actions", "*reindex", "detailed", "true", "group_by", "parents"),
	})}, &body)
	if err != nil {
		return nil, err
	}
	if err := body.check(op); err != nil {
		return nil, err
	}
	list := []upgrader.ReindexTask{}
	for id, t := range body.Tasks {
		opaque := t.Headers["X-Opaque-Id"]
		if t.Parent != "" || !strings.HasPrefix(opaque, opaquePrefix) {
			continue
		}
		r := upgrader.ReindexTask{ID: id, OpaqueID: opaque, Cancelled: t.Cancelled}
		sum(&r, t.Status, t.Children)
		list = append(list, r)
	}
	return list, nil
}

// ReindexTask implements upgrader.Engine.
func (c *Client) ReindexTask(ctx context.Context, taskID string) (upgrader.ReindexTask, error) {
	op := "read copy task " + taskID
	if err := checkTaskID(op, taskID); err != nil {
		return upgrader.ReindexTask{}, err
	}
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	var body struct {
		Completed bool        `json:"completed"`
		Task      taskInfo    `json:"task"`
		Response  *taskStatus `json:"response"`
		Error     *exception  `json:"error"`
	}
	err := c.do(ctx, call{op: op, request: fixed(request{
		method: http.MethodGet, path: "/_tasks/" + taskID,
	})}, &body)
	if err != nil {
		return upgrader.ReindexTask{}, err
	}
	t := upgrader.ReindexTask{
		ID: taskID, OpaqueID: body.Task.Headers["X-Opaque-Id"],
		Completed: body.Completed, Cancelled: body.Task.Cancelled,
	}
	if body.Completed {
		finish(&t, body.Task.Status, body.Response, body.Error)
		return t, nil
	}
	var children []taskInfo
	if body.Task.Status != nil && len(body.Task.Status.Slices) > 0 {
		if children, err = c.childTasks(ctx, taskID); err != nil {
			return upgrader.ReindexTask{}, err
		}
	}
	sum(&t, body.Task.Status, children)
	return t, nil
}

func (c *Client) childTasks(ctx context.Context, parent string) ([]taskInfo, error) {
	op := "read the slices of copy task " + parent
	var body struct {
		nodeFailures
		Tasks []taskInfo `json:"tasks"`
	}
	err := c.do(ctx, call{op: op, request: fixed(request{
		method: http.MethodGet, path: "/_tasks",
		query: query("parent_task_id", parent, "detailed", "true", "group_by", "none"),
	})}, &body)
	if err != nil {
		return nil, err
	}
	return body.Tasks, body.check(op)
}

// finish fills t in from a completed task.
func finish(t *upgrader.ReindexTask, status, response *taskStatus, failure *exception) {
	sum(t, status, nil)
	if failure != nil {
		fail(t, failure)
	}
	if response == nil {
		return
	}
	if response.Canceled != "" {
		t.Cancelled = true
	}
	if response.Total > 0 || status == nil {
		t.Total, t.Created, t.Updated = response.Total, response.Created, response.Updated
		t.Deleted, t.Noops = response.Deleted, response.Noops
	}
	for _, f := range response.Failures {
		switch {
		case f.Cause != nil:
			kind, reason := f.Cause.words()
			t.Failures = append(t.Failures, upgrader.DocFailure{Index: f.Index, ID: f.ID, Type: kind, Reason: reason})
		case f.Reason != nil: // the source could not be read
			fail(t, f.Reason)
		}
	}
}

// sum adds up the slices: the parent's own figures stay zero until all slices
// have ended. Finished slices stand in the parent's status, running ones are
// children; one that ended between the two requests counts once.
func sum(t *upgrader.ReindexTask, status *taskStatus, children []taskInfo) {
	if status == nil {
		status = &taskStatus{}
	}
	if status.Canceled != "" {
		t.Cancelled = true
	}
	if len(status.Slices) == 0 && len(children) == 0 {
		count(t, status)
		return
	}
	t.Total, t.Created, t.Updated, t.Deleted, t.Noops = 0, 0, 0, 0, 0
	finished := make(map[int]bool)
	for i, raw := range status.Slices {
		if string(raw) == "null" {
			continue
		}
		finished[i] = true
		var failed exception
		if json.Unmarshal(raw, &failed) == nil && failed.Type != "" {
			fail(t, &failed)
			continue
		}
		var slice taskStatus
		if err := json.Unmarshal(raw, &slice); err != nil {
			continue // neither form: other fields tell what there is
		}
		if slice.Canceled != "" {
			t.Cancelled = true
		}
		count(t, &slice)
	}
	for _, child := range children {
		if s := child.Status; s != nil && (s.SliceID == nil || !finished[*s.SliceID]) {
			count(t, s)
		}
	}
}

// fail keeps the first error of a task. A search that was cut short because
// the task was cancelled is not an error of its own.
func fail(t *upgrader.ReindexTask, e *exception) {
	if t.Err != "" || t.Cancelled && e.innermost().Type == "task_cancelled_exception" {
		return
	}
	kind, reason := e.words()
	t.Err = kind + ": " + reason
}

func count(t *upgrader.ReindexTask, s *taskStatus) {
	t.Total += s.Total
	t.Created += s.Created
	t.Updated += s.Updated
	t.Deleted += s.Deleted
	t.Noops += s.Noops
}

// Rethrottle implements upgrader.Engine. The engine shares the rate out between
// the slices that still run; it obeys at once when it gets faster, and after
// the page it is at when it gets slower.
func (c *Client) Rethrottle(ctx context.Context, taskID string, perSecond float64) error {
	op := "change the pace of copy task " + taskID
	if err := checkTaskID(op, taskID); err != nil {
		return err
	}
	rate := "-1"
	if perSecond > 0 {
		rate = strconv.FormatFloat(perSecond, 'f', -1, 32)
	}
	var body nodeFailures
	err := c.do(ctx, call{op: op, request: fixed(request{
		method: http.MethodPost, path: "/_reindex/" + taskID + "/_rethrottle", query: query("requests_per_second", rate),
	})}, &body)
	if is404(err, "resource_not_found_exception") || err == nil && gone(body) {
		return fmt.Errorf("%s: %w", op, upgrader.ErrNotFound)
	}
	if err != nil {
		return err
	}
	return body.check(op)
}

// gone says that a task, or the node that ran it, is no longer there: this
// shows as a failure of the node.
func gone(n nodeFailures) bool {
	for _, f := range n.NodeFailures {
		if f.CausedBy != nil && (f.CausedBy.Type == "resource_not_found_exception" || f.CausedBy.Type == "no_such_node_exception") {
			return true
		}
	}
	return false
}

// CancelTask implements upgrader.Engine. It does not wait for the end.
func (c *Client) CancelTask(ctx context.Context, taskID string) error {
	op := "cancel task " + taskID
	if err := checkTaskID(op, taskID); err != nil {
		return err
	}
	var body nodeFailures
	err := c.do(ctx, call{op: op, request: fixed(request{
		method: http.MethodPost, path: "/_tasks/" + taskID + "/_cancel",
	})}, &body)
	if is404(err, "resource_not_found_exception") {
		return nil
	}
	if err != nil {
		return err
	}
	if gone(body) {
		return nil
	}
	return body.check(op)
}

func checkTaskID(op, id string) error {
	node, number, ok := strings.Cut(id, ":")
	if _, err := strconv.ParseInt(number, 10, 64); !ok || node == "" || err != nil || url.PathEscape(node) != node {
		return fmt.Errorf("%s: a task id has the form node:number", op)
	}
	return nil
}
