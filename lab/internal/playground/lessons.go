package playground

// lessons are the lessons of the page. What they say of runs is tested.
var lessons = []Lesson{order, storm, jitter, hedging}

// Lesson is a guided way through one idea, to the sandbox.
type Lesson struct {
	Title string     `json:"title"`
	Idea  string     `json:"idea"`
	Steps []Step     `json:"steps"` // the last one is the sandbox
	Quiz  []Question `json:"quiz"`

	picture int // the step that readers without JavaScript see
}

// Step is a state of the playground, and what to see in it.
type Step struct {
	Text     []string `json:"text"`
	Look     string   `json:"look"` // where to look, or what to try
	Address  string   `json:"address"`
	Controls []string `json:"controls"` // that are shown, by key; "t" is the timeline. None: all of them
}

// Question has one right answer.
type Question struct {
	Question string   `json:"question"`
	Options  []string `json:"options"`
	Answer   int      `json:"answer"`
	Why      string   `json:"why"`
}
