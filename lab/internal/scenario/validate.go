package scenario

import (
	"errors"
	"fmt"
	"regexp"
)

// page is what the name of a page may be: it becomes the name of a file.
var page = regexp.MustCompile("^[a-z0-9]+(-[a-z0-9]+)*$")

// Validate returns an error that lists what is wrong with scenarios; nil if they can be played.
func Validate(scenarios []*Scenario) error {
	if len(scenarios) == 0 {
		return errors.New("there is no scenario")
	}
	var problems []error
	taken := map[string]bool{}
	for i, s := range scenarios {
		if s == nil {
			problems = append(problems, fmt.Errorf("scenario %d is nil", i+1))
			continue
		}
		wrong := func(format string, args ...any) {
			problems = append(problems, fmt.Errorf("scenario %d, %q: "+format, append([]any{i + 1, s.Name}, args...)...))
		}
		if s.Name == "" || taken[s.Name] {
			wrong("the name must not be empty, and no other scenario may have it")
		}
		if !page.MatchString(s.Page) || taken[s.Page] {
			wrong("Page %q: must be lower-case words with hyphens between them, and of no other scenario", s.Page)
		}
		taken[s.Name], taken[s.Page] = true, true
		if s.Run == nil {
			wrong("Run is nil")
		}
		params := map[string]bool{}
		for _, p := range s.Params {
			if p.Name == "" || params[p.Name] {
				wrong("parameter %q: the name must not be empty, and no other parameter may have it", p.Name)
			}
			params[p.Name] = true
			if err := p.Validate(p.Default); err != nil {
				wrong("the default is out of its range: %w", err)
			}
		}
	}
	return errors.Join(problems...)
}
