package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/structpb"

	tmsv1 "github.com/tracardi/tms/proto/tms/v1"
	"github.com/tracardi/tms/upgrader/strategy"
)

// waveFlags are the strategy of a rollout.
type waveFlags struct {
	file, canary, order, soak, approval string
	waves, windows, except              []string
	checkHTTP, checkWebhook             []string
	budget, onFailure                   string
	finalize, withoutSnapshot           bool
}

func (f *waveFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.file, "strategy", "", "file with waves and what has to be true between them, see tms upgrade schema; the flags below replace parts of it")
	flags.StringVar(&f.canary, "canary", "", "first wave: a number, a percentage, NAME=VALUE of a label, or tenants separated by commas")
	flags.StringSliceVar(&f.waves, "waves", nil, "waves after the canary: numbers, percentages or labels (5,25%,tier=pro); who is left forms the last one")
	flags.StringVar(&f.soak, "soak", "", "time that passes between waves: 30m")
	flags.StringVar(&f.approval, "approval", "", "canary: the wave after the canary waits for tms upgrade approve; every: each wave does")
	flags.StringArrayVar(&f.checkHTTP, "check-http", nil, "between waves: address with {tenant} or {label:NAME} that must answer 200 to 299; may be repeated")
	flags.StringArrayVar(&f.checkWebhook, "check-webhook", nil, "between waves: address that is asked whether to go on; may be repeated")
	flags.BoolVar(&f.finalize, "finalize-waves", false, "delete the old versions of a wave before the next one opens, given a snapshot of them")
	flags.BoolVar(&f.withoutSnapshot, "without-snapshot", false, "with --finalize-waves: although no snapshot holds them; audited")
	flags.StringVar(&f.budget, "failure-budget", "", "tenants of a wave that may fail: 2 or 5%")
	flags.StringVar(&f.onFailure, "on-failure", "", "when more fail, or checks do not pass: pause, stop or continue")
	flags.StringArrayVar(&f.windows, "window", nil, `when tenants may start: "mon-fri 22:00-04:00 Europe/Warsaw"; may be repeated`)
	flags.StringVar(&f.order, "order", "", "within a wave: large-first, small-first, or label:NAME by a label's value")
	flags.StringArrayVar(&f.except, "except", nil, "leave this tenant out, with the reason: ID=REASON; may be repeated")
}

// put reads file and flags into the options.
func (f *waveFlags) put(cmd *cobra.Command, o *tmsv1.RolloutOptions) error {
	for _, e := range f.except {
		id, why, ok := strings.Cut(e, "=")
		if !ok || id == "" || strings.TrimSpace(why) == "" {
			return usage(cmd, fmt.Errorf("--except: %q: write ID=REASON", e))
		}
		if o.Except == nil {
			o.Except = map[string]string{}
		}
		o.Except[id] = strings.TrimSpace(why)
	}
	s, err := f.strategy()
	if err != nil {
		return usage(cmd, err)
	}
	if s == nil {
		return nil
	}
	if problems := s.Problems(); len(problems) > 0 {
		return usage(cmd, &strategy.Error{Problems: problems})
	}
	raw, err := s.JSON()
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	o.Strategy, err = structpb.NewStruct(fields)
	return err
}

// strategy is nil when neither file nor flags ask for one.
func (f *waveFlags) strategy() (*strategy.File, error) {
	s := &strategy.File{}
	asked := f.file != ""
	if asked {
		raw, err := os.ReadFile(f.file)
		if err != nil {
			return nil, fmt.Errorf("--strategy: %w", err)
		}
		if s, err = strategy.Parse(raw); err != nil {
			return nil, fmt.Errorf("--strategy %s: %w", f.file, err)
		}
	}
	if f.canary != "" {
		w := waveOf(f.canary)
		s.Canary, asked = &w, true
	}
	if len(f.waves) > 0 {
		s.Waves, asked = nil, true
		for _, w := range f.waves {
			s.Waves = append(s.Waves, waveOf(w))
		}
	}
	more, err := f.rules(s)
	if err != nil {
		return nil, err
	}
	if !asked && !more {
		return nil, nil
	}
	return s, nil
}

// rules puts what concerns all waves; more when there was something.
func (f *waveFlags) rules(s *strategy.File) (more bool, err error) {
	set := func(to *string, value string) {
		if value != "" {
			*to, more = value, true
		}
	}
	set(&s.Between.Soak, f.soak)
	if f.finalize {
		s.Between.Finalize, more = true, true
	}
	if f.withoutSnapshot {
		s.Between.WithoutSnapshot, more = true, true
	}
	set(&s.FailureBudget.Tolerate, f.budget)
	set((*string)(&s.FailureBudget.Then), f.onFailure)
	for _, url := range f.checkHTTP {
		s.Between.Checks, more = append(s.Between.Checks, strategy.Check{HTTP: &strategy.HTTPCheck{URL: url}}), true
	}
	for _, url := range f.checkWebhook {
		s.Between.Checks, more = append(s.Between.Checks, strategy.Check{Webhook: &strategy.WebhookCheck{URL: url}}), true
	}
	if name, ok := strings.CutPrefix(f.order, "label:"); ok {
		set(&s.PriorityLabel, name)
	} else {
		set(&s.Order, strings.ReplaceAll(f.order, "-", "_"))
	}
	if len(f.windows) > 0 {
		s.Windows, more = nil, true
	}
	for _, text := range f.windows {
		w, err := windowOf(text)
		if err != nil {
			return false, err
		}
		s.Windows = append(s.Windows, w)
	}
	switch f.approval {
	case "":
	case "every":
		s.Between.Approval, more = true, true
	case "canary":
		if s.Canary == nil {
			return false, fmt.Errorf("--approval canary: there is no canary: add --canary, or write --approval every")
		}
		b := s.Between
		b.Approval = true
		s.Canary.Between, more = &b, true
	default:
		return false, fmt.Errorf("--approval: %q: write canary or every", f.approval)
	}
	return more, nil
}

var sizePattern = regexp.MustCompile(`^(\d+%?|rest)$`)

// waveOf reads the short form of a wave. No tenant's id is all digits.
func waveOf(text string) strategy.Wave {
	switch {
	case sizePattern.MatchString(text):
		return strategy.Wave{Size: text}
	case strings.Contains(text, "="):
		return strategy.Wave{Label: text}
	}
	return strategy.Wave{Tenants: unique(strings.Split(text, ","))}
}

// windowOf reads "mon-fri,sun 22:00-04:00 Europe/Warsaw"; days and zone may be
// left out.
func windowOf(text string) (strategy.Window, error) {
	var w strategy.Window
	for _, part := range strings.Fields(text) {
		from, to, isRange := strings.Cut(part, "-")
		switch {
		case isRange && strings.Contains(from, ":"):
			w.From, w.To = from, to
		case w.From == "":
			w.Days = strings.Split(part, ",")
		default:
			w.Zone = part
		}
	}
	if w.From == "" {
		return w, fmt.Errorf(`--window: %q: write for instance "mon-fri 22:00-04:00 Europe/Warsaw"`, text)
	}
	return w, nil
}

func (a *app) upgradeSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of a strategy file, for editors", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return writeJSON(a.out, strategy.Schema()) },
	}
}
