package policystatus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	defaultFor = 15 * time.Minute
	mostFor    = 24 * time.Hour
	mostReason = 200     // bytes
	mostForm   = 8 << 10 // bytes
)

// controls does what operators ask for, one act at a time on each layer, and ends it.
type controls struct {
	page   *Page
	origin *http.CrossOriginProtection
	once   sync.Once

	mu     sync.Mutex
	closed bool
	number uint64
	hands  map[any]*hand // by layer
	nobody uint64        // the event that shows the acts without an actor; guarded by Page.mu

	acts   sync.WaitGroup // under way
	timers sync.WaitGroup // of forced states
}

// hand is what was done to a layer through the page. Its fields are guarded by controls.mu; they change only while turn is
// held, too.
type hand struct {
	turn chan struct{} // holds a value while an act is under way
	id   string        // tells a layer from another one that has come into its place
	acts uint64
	last Act // the last act that was done

	state, mode *force // nil while nothing is forced
}

// force is a forced state, which ends.
type force struct {
	act   Act
	timer *time.Timer
	since time.Time // when the layer entered the state
	name  string    // the state
	back  string    // the action that ends it
	layer any
}

// forced is what the page shows of a forced state.
type forced struct {
	Action string    `json:"action"`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
	Text   string    `json:"text"`
}

func newControls(p *Page) *controls {
	return &controls{page: p, origin: http.NewCrossOriginProtection(), hands: make(map[any]*hand)}
}

// close ends all forced states. Acts under way come to their end before.
func (c *controls) close() {
	c.once.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.mu.Unlock()
		c.acts.Wait()
		c.mu.Lock()
		var all []*hand
		for _, h := range c.hands {
			all = append(all, h)
		}
		c.mu.Unlock()
		for _, h := range all {
			c.end(h, func(h *hand) *force { return h.state }, "the page was closed")
			c.end(h, func(h *hand) *force { return h.mode }, "the page was closed")
		}
		c.timers.Wait()
	})
}

// mark adds to the layers what was done to them, and what can be done. Layers that are gone are forgotten, unless
// something still has to end.
func (c *controls) mark(pipelines []*pipeline) {
	c.mu.Lock()
	defer c.mu.Unlock()
	present := make(map[any]bool)
	for _, p := range pipelines {
		for _, l := range p.Layers {
			key := identity(l.layer)
			if key == nil {
				continue
			}
			l.Actions = actions(l.layer, &l.Report)
			if len(l.Actions) == 0 {
				continue
			}
			present[key] = true
			h := c.hand(key)
			l.Seen = h.seen()
			for _, f := range []*force{h.state, h.mode} {
				if f != nil {
					l.Forced = append(l.Forced, f.shown())
				}
			}
		}
	}
	for key, h := range c.hands {
		if !present[key] && h.state == nil && h.mode == nil && len(h.turn) == 0 {
			delete(c.hands, key)
		}
	}
}

// hand is called with the lock held.
func (c *controls) hand(key any) *hand {
	h := c.hands[key]
	if h == nil {
		h = &hand{turn: make(chan struct{}, 1), id: rand.Text()[:8]}
		c.hands[key] = h
	}
	return h
}

// seen is what a form sends along, so that it cannot undo what its operator has not seen.
func (h *hand) seen() string { return fmt.Sprintf("%s.%d", h.id, h.acts) }

func (f *force) shown() forced {
	verb := map[string]string{
		actForceOpen: "forced it open", actForceClosed: "forced it closed", actShadow: "put it in shadow", actEnforce: "let it refuse again",
	}[f.act.Action]
	return forced{
		Action: f.act.Action, Actor: f.act.Actor, Reason: f.act.Reason, Until: f.act.Until,
		Text: fmt.Sprintf("%s %s: %s", f.act.Actor, verb, f.act.Reason),
	}
}

// explainForced says who has forced a layer open, if that was done here.
func (l *layer) explainForced(e *explanation, now time.Time) {
	for _, f := range l.Forced {
		if f.Action == actForceOpen && l.State.Name == "forced open" {
			e.Why, e.Until = f.Text, f.Until
			e.Next = "It closes by itself then."
			e.Do = "Ask " + f.Actor + " before you reset it."
			e.When = when(*e, facts{report: &l.Report}, now)
		}
	}
}

// refusal is why an act is not done, with the status of the answer.
type refusal struct {
	code int
	text string
}

func (r *refusal) Error() string { return r.text }

func refuse(code int, format string, args ...any) error {
	return &refusal{code, fmt.Sprintf(format, args...)}
}

// form is what an operator asks for.
type form struct {
	Pipeline, Layer, Seen, Action, For, Reason string
}

// post does what a form asks for.
func (c *controls) post(w http.ResponseWriter, r *http.Request) {
	act, f, err := c.try(w, r)
	var refused *refusal
	switch {
	case err == nil && wantsJSON(r):
		writeJSON(w, r, http.StatusOK, act)
	case err == nil:
		w.Header().Set("Location", "?") // as the browser sees it, wherever the page is mounted
		w.WriteHeader(http.StatusSeeOther)
	case errors.As(err, &refused) && f.Pipeline != "" && (refused.code == http.StatusBadRequest || refused.code == http.StatusConflict):
		c.show(w, r, refused.code, refused.text, f)
	case refused != nil:
		c.page.fail(w, r, refused.code, refused.text)
	default:
		c.show(w, r, http.StatusConflict, err.Error(), f)
	}
}

// get shows what can be done to a layer.
func (c *controls) get(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	c.show(w, r, http.StatusOK, "", form{Pipeline: query.Get("pipeline"), Layer: query.Get("layer")})
}

// show answers with the form, and what is wrong with it.
func (c *controls) show(w http.ResponseWriter, r *http.Request, code int, message string, f form) {
	s := c.page.status()
	if wantsJSON(r) && code != http.StatusOK {
		writeJSON(w, r, code, map[string]string{"error": message})
		return
	}
	target := s.target(f)
	if target == nil || target.Seen == "" {
		c.page.fail(w, r, http.StatusNotFound, "There is no such policy, or nothing can be done to it. The configuration may have changed.")
		return
	}
	c.page.write(w, r, "control", code, &document{status: s, Message: message, Target: target, Form: f})
}

// target returns the layer that a form is about, nil if there is none.
func (s *status) target(f form) *layer {
	if p := s.pipeline(f.Pipeline); p != nil {
		return p.layer(f.Layer)
	}
	return nil
}

// try does what a form asks for, or says why not.
func (c *controls) try(w http.ResponseWriter, r *http.Request) (act Act, f form, err error) {
	if err := c.origin.Check(r); err != nil {
		return act, f, refuse(http.StatusForbidden, "The request comes from another origin. If it does not, a proxy in front changes the Host header.")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return act, f, refuse(http.StatusUnsupportedMediaType, "Send a form, as application/x-www-form-urlencoded.")
	}
	r.Body = http.MaxBytesReader(w, r.Body, mostForm)
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return act, f, refuse(http.StatusRequestEntityTooLarge, "The form is too large.")
		}
		return act, f, refuse(http.StatusBadRequest, "The form cannot be read.")
	}
	f = form{
		Pipeline: r.PostForm.Get("pipeline"), Layer: r.PostForm.Get("layer"), Seen: r.PostForm.Get("seen"),
		Action: r.PostForm.Get("action"), For: r.PostForm.Get("for"), Reason: clean(r.PostForm.Get("reason"), mostReason),
	}
	act = Act{
		Action: clean(f.Action, 40), Reason: f.Reason,
		Pipeline: clean(f.Pipeline, mostName), Layer: clean(f.Layer, mostName),
	}
	actor, err := c.actor(r)
	if _, ok := errors.AsType[*panicked](err); ok {
		act.Error = err.Error()
		c.note(act)
		return act, f, refuse(http.StatusInternalServerError, "It is not known who you are: the function given to Control panicked. The attempt was noted.")
	}
	if err != nil {
		act.Error = "not authorised: " + errorText(err)
		c.note(act)
		return act, f, refuse(http.StatusForbidden, "You are not authorised to do this. The attempt was noted.")
	}
	if act.Actor = clean(actor, mostName); act.Actor == "" {
		act.Error = "the function given to Control named no actor"
		c.note(act)
		return act, f, refuse(http.StatusInternalServerError, "It is not known who you are: the function given to Control named no actor.")
	}
	until, err := f.until()
	if err != nil {
		return act, f, err
	}
	if !c.begin() {
		return act, f, refuse(http.StatusServiceUnavailable, "The page is closed.")
	}
	defer c.acts.Done()
	act, err = c.do(r.Context(), f, act, until)
	return act, f, err
}

// actor asks who acts.
func (c *controls) actor(r *http.Request) (actor string, err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			err = &panicked{clean(fmt.Sprint(recovered), mostText)}
		}
	}()
	return c.page.config.authorize(r)
}

// panicked says that the function given to Control has panicked.
type panicked struct{ text string }

func (p *panicked) Error() string { return "the function given to Control panicked: " + p.text }

// until checks a form, and returns for how long an act is to hold.
func (f form) until() (d time.Duration, err error) {
	d = defaultFor
	if f.For != "" {
		if d, err = time.ParseDuration(f.For); err != nil || d < time.Second || d > mostFor {
			return 0, refuse(http.StatusBadRequest, "The time must be from 1s to 24h, such as 15m.")
		}
	}
	if f.Reason == "" {
		return 0, refuse(http.StatusBadRequest, "Say why: the reason is kept with what you do.")
	}
	return d, nil
}

// begin counts an act in, and reports false when the page is closed.
func (c *controls) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.acts.Add(1)
	return true
}

// do acts on a layer when it is its turn.
func (c *controls) do(ctx context.Context, f form, act Act, d time.Duration) (Act, error) {
	target := c.page.status().target(f)
	if target == nil || target.Seen == "" {
		return act, refuse(http.StatusNotFound, "There is no such policy, or nothing can be done to it. The configuration may have changed.")
	}
	act.Kind, act.Name = target.Kind, target.Name
	c.mu.Lock()
	h := c.hand(identity(target.layer))
	c.mu.Unlock()
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return act, refuse(http.StatusServiceUnavailable, "Another act on this policy takes long.")
	}
	defer func() { <-h.turn }()

	if done, err := c.check(h, f, act, d); done.Number != 0 || err != nil {
		return done, err
	}
	report, _ := reportOf(target.layer)
	if !slices.Contains(actions(target.layer, &report), act.Action) {
		return act, refuse(http.StatusBadRequest, "Choose what to do: this policy can now %s.", list(actions(target.layer, &report)))
	}
	return c.force(h, target.layer, act, d)
}

// check compares what an operator has seen with what was done since. The same form sent twice is done once; a form that
// does not know of the last act is refused, since its operator would undo what another one did.
func (c *controls) check(h *hand, f form, act Act, d time.Duration) (done Act, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Seen == "" || f.Seen == h.seen() {
		return Act{}, nil
	}
	last := h.last
	before := fmt.Sprintf("%s.%d", h.id, h.acts-1)
	same := last.Action == act.Action && last.Actor == act.Actor && last.Reason == act.Reason &&
		(last.Until.IsZero() || last.Until.Sub(last.Time) == d)
	if f.Seen == before && h.acts > 0 && same {
		return last, nil
	}
	if h.acts == 0 {
		return Act{}, refuse(http.StatusConflict, "The configuration has changed, or the service was restarted. See what is there now, and decide again.")
	}
	return Act{}, refuse(http.StatusConflict, "Somebody was faster: %s. See what is there now, and decide again.", last.String())
}

// force does an action and plans its end. It is called while it is the turn of the act.
func (c *controls) force(h *hand, layer any, act Act, d time.Duration) (Act, error) {
	before, shadow := stateOf(layer)
	if err := perform(layer, act.Action); err != nil {
		act.Error = err.Error()
		return c.note(act), err
	}
	after, _ := stateOf(layer)
	act.Time = time.Now()

	slot, back := &h.state, actReset
	switch {
	case act.Action == actReset:
		back = ""
	case act.Action == actShadow, act.Action == actEnforce:
		slot, back = &h.mode, actEnforce
		if shadow {
			back = actShadow
		}
	case before.Name == "forced open":
		back = actForceOpen // the service itself has forced it
	case before.Name == "forced closed":
		back = actForceClosed
	}
	c.mu.Lock()
	if old := *slot; old != nil {
		c.stop(old)
		if slot == &h.state && back != "" {
			back = old.back // what there was before the first of several
		} else if slot == &h.mode && act.Action == old.back {
			back = "" // it has returned
		}
	}
	*slot = nil
	if back != "" {
		act.Until = act.Time.Add(d)
		f := &force{since: after.Since, name: after.Name, back: back, layer: layer}
		c.timers.Add(1)
		f.timer = time.AfterFunc(d, func() {
			defer c.timers.Done()
			c.end(h, func(h *hand) *force { // unless another act has taken its place
				if h.state == f || h.mode == f {
					return f
				}
				return nil
			}, "its time was over")
		})
		*slot = f
	}
	act = c.count(act)
	if *slot != nil {
		(*slot).act = act
	}
	h.acts++
	h.last = act
	c.mu.Unlock()
	c.tell(act)
	return act, nil
}

// stop stops the timer of a force. It is called with the lock held.
func (c *controls) stop(f *force) {
	if f.timer.Stop() {
		c.timers.Done()
	}
}

// end ends a forced state, unless which finds that there is none any more.
func (c *controls) end(h *hand, which func(*hand) *force, reason string) {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	c.mu.Lock()
	f := which(h)
	if f == nil {
		c.mu.Unlock()
		return
	}
	c.stop(f)
	mode := h.mode == f
	if mode {
		h.mode = nil
	} else {
		h.state = nil
	}
	c.mu.Unlock()

	act := Act{
		Action: actEnd, Reason: fmt.Sprintf("%s by %s (%s): %s", f.act.Action, f.act.Actor, f.act.Reason, reason),
		Pipeline: f.act.Pipeline, Layer: f.act.Layer, Kind: f.act.Kind, Name: f.act.Name, Time: time.Now(),
	}
	state, shadow := stateOf(f.layer)
	switch {
	case mode && shadow != (f.act.Action == actShadow), !mode && (state.Name != f.name || !state.Since.Equal(f.since)):
		act.Error = "the service has changed it since"
	default:
		if err := perform(f.layer, f.back); err != nil {
			act.Error = err.Error()
		}
	}
	c.mu.Lock()
	act = c.count(act)
	h.acts++
	h.last = act
	c.mu.Unlock()
	c.tell(act)
}

// note keeps an act that was not done, and tells of it.
func (c *controls) note(act Act) Act {
	act.Time = time.Now()
	c.mu.Lock()
	act = c.count(act)
	c.mu.Unlock()
	c.tell(act)
	return act
}

// count numbers an act. It is called with the lock held.
func (c *controls) count(act Act) Act {
	c.number++
	act.Number = c.number
	return act
}

// tell shows an act among the events, and tells the audit of it. Attempts without an actor, whose layer nobody has looked up,
// are one event, which shows the last of them: who may not act must not be able to push out the others.
func (c *controls) tell(act Act) {
	e := event{Time: act.Time, Kind: "control", Pipeline: act.Pipeline, Layer: act.Layer, Text: act.String()}
	c.page.mu.Lock()
	switch history := &c.page.history; {
	case act.Actor != "" || act.Kind != "":
		history.add(e)
	case !history.repeat(c.nobody, e):
		c.nobody = history.add(e)
	}
	c.page.mu.Unlock()
	if audit := c.page.config.audit; audit != nil {
		defer func() { _ = recover() }()
		audit(act)
	}
}

// list returns words as in "a, b or c".
func list(words []string) string {
	text := ""
	for i, word := range words {
		switch {
		case i > 0 && i == len(words)-1:
			text += " or "
		case i > 0:
			text += ", "
		}
		text += word
	}
	return text
}

// Choices is what the form offers.
func (d *document) Choices() (choices []choice) {
	words := map[string]choice{
		actForceOpen:   {Label: "Refuse every call", Does: "force it open, until the time is over"},
		actForceClosed: {Label: "Let every call through", Does: "force it closed whatever happens, until the time is over"},
		actReset:       {Label: "Begin anew", Does: "reset it: it lets calls through and counts from zero, and may refuse again; what was forced is over"},
		actShadow:      {Label: "Only count", Does: "put it in shadow: it refuses nothing, until the time is over"},
		actEnforce:     {Label: "Refuse again", Does: "end the shadow"},
	}
	for _, action := range d.Target.Actions {
		c := words[action]
		c.Action, c.Chosen = action, action == d.Form.Action
		choices = append(choices, c)
	}
	return choices
}

// choice is something that can be done.
type choice struct {
	Action, Label, Does string
	Chosen              bool
}

// Times is for how long an act can hold.
func (d *document) Times() (times []choice) {
	chosen := d.Form.For
	if chosen == "" {
		chosen = "15m"
	}
	for _, c := range []choice{{"5m", "5 minutes", "", false}, {"15m", "15 minutes", "", false}, {"1h", "1 hour", "", false}, {"4h", "4 hours", "", false}, {"24h", "24 hours", "", false}} {
		c.Chosen = c.Action == chosen
		times = append(times, c)
	}
	return times
}
