package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tracardi/tms/hooks"
	"github.com/tracardi/tms/upgrader"
)

// probes makes the checks between waves through the connections of webhooks:
// they lead where webhooks may lead, and nowhere else.
type probes struct{ *hooks.Sender }

var _ upgrader.Probes = probes{}

// Ask implements upgrader.Probes.
func (p probes) Ask(ctx context.Context, url string, q upgrader.WaveQuestion) (yes bool, why string, err error) {
	status, body, err := p.Post(ctx, url, q)
	if err != nil {
		return false, "", err
	}
	if status < 200 || status > 299 {
		return false, "", fmt.Errorf("the webhook answered %d", status)
	}
	var answer struct {
		Open   *bool  `json:"open"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal([]byte(body), &answer) != nil || answer.Open == nil {
		return false, "", errors.New(`the webhook's answer is not {"open": true} or {"open": false, "reason": "…"}`)
	}
	const most = 300 // bytes of somebody else's words
	return *answer.Open, answer.Reason[:min(len(answer.Reason), most)], nil
}
