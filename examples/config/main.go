// Command config is a service whose pipeline comes from a file, which is edited while its dependency is down:
//
//	go run ./examples/config
//
// It runs for 7 seconds and prints what happens. The circuit opens; then the file is edited three times, once with a
// mistake. The limits change at once, the circuit stays open to its old end, and the mistake changes nothing.
//
// With -plan it prints in words what one file would change in place of another:
//
//	go run ./examples/config -plan old.json new.json
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-resilience/resilience"
	"github.com/go-resilience/resilience/policy"
	"github.com/go-resilience/resilience/policyconfig"
)

func main() {
	plan := flag.Bool("plan", false, "print what the second of two files would change in place of the first")
	flag.Parse()
	var err error
	if *plan {
		err = printPlan(os.Stdout, flag.Args())
	} else {
		err = demonstrate(context.Background(), os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// printPlan prints the difference between two files in words.
func printPlan(out io.Writer, files []string) error {
	if len(files) != 2 {
		return errors.New("usage: config -plan old.json new.json")
	}
	set, err := policyconfig.LoadFile(files[0], policyconfig.Registry{})
	if err != nil {
		return err
	}
	next, err := os.ReadFile(files[1])
	if err != nil {
		return err
	}
	changes, err := set.Plan(next)
	if wrong, ok := errors.AsType[*policyconfig.Error](err); ok {
		wrong.File = files[1]
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(out, changes)
	return nil
}

//go:embed pipelines.json
var pipelines string

// demonstrate runs the service in a new folder.
func demonstrate(ctx context.Context, out io.Writer) error {
	dir, err := os.MkdirTemp("", "config")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	s := &service{out: out, start: time.Now(), path: filepath.Join(dir, "pipelines.json")}
	if err := s.write(pipelines); err != nil {
		return err
	}
	// The program needs "users": a file without it is refused.
	s.set, err = policyconfig.LoadFile(s.path, policyconfig.Registry{Require: []string{"users"}})
	if err != nil {
		return err
	}
	s.users = s.set.Pipeline("users")
	s.say("loaded: %v", s.users)

	ctx, cancel := context.WithCancel(ctx)
	var background sync.WaitGroup
	background.Go(func() { s.watch(ctx) })
	background.Go(func() { s.serve(ctx) })
	err = s.timeline()
	cancel()
	background.Wait()
	return err
}

// service calls the users service through its pipeline.
type service struct {
	set   *policyconfig.Set
	users *policyconfig.Handle // follows every change; nobody has to fetch it again
	path  string
	start time.Time
	down  atomic.Bool

	mu              sync.Mutex // guards out, served, refused and failed
	out             io.Writer
	served          int
	refused, failed int
}

// serve makes 50 calls a second.
func (s *service) serve(ctx context.Context) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		_, err := resilience.Do(ctx, s.users, s.fetchUser)
		s.mu.Lock()
		switch {
		case err == nil:
			s.served++
		case errors.Is(err, policy.ErrRejected):
			s.refused++
		default:
			s.failed++
		}
		s.mu.Unlock()
	}
}

var errUnavailable = errors.New("unavailable")

func (s *service) fetchUser(context.Context) (string, error) {
	if s.down.Load() {
		return "", errUnavailable
	}
	return "Ada", nil
}

// watch follows the file.
func (s *service) watch(ctx context.Context) {
	for changes, err := range s.set.Watch(ctx, s.path, 100*time.Millisecond) {
		if err != nil {
			s.say("refused: %s", strings.ReplaceAll(err.Error(), s.path, filepath.Base(s.path)))
			continue
		}
		for _, change := range changes.List {
			s.say("reloaded: %v", change)
		}
	}
}

// timeline is the outage, and what an operator does meanwhile.
func (s *service) timeline() error {
	// The operator's edits: what they replace, and with what.
	patience := strings.NewReplacer(`"openFor": "2s"`, `"openFor": "3s"`, `"limit": 8`, `"limit": 4`)
	mistake := strings.NewReplacer(`"openFor": "2s"`, `"openFor": "3 seconds"`, `"limit"`, `"limt"`)
	for _, step := range []struct {
		at   time.Duration
		what string
		do   func() error
	}{
		{1 * time.Second, "the users service goes down", func() error { s.down.Store(true); return nil }},
		{1500 * time.Millisecond, "the operator wants to know what an edit would change", func() error {
			plan, err := s.set.Plan([]byte(patience.Replace(pipelines)))
			for _, change := range plan.List {
				s.say("plan: %v", change)
			}
			return err
		}},
		{1600 * time.Millisecond, "the operator edits the file", func() error { return s.write(patience.Replace(pipelines)) }},
		{2100 * time.Millisecond, "the operator makes a mistake", func() error { return s.write(mistake.Replace(pipelines)) }},
		{2600 * time.Millisecond, "the operator mends it", func() error {
			return s.write(strings.Replace(patience.Replace(pipelines), `"limit": 4`, `"limit": 6`, 1))
		}},
		{4 * time.Second, "the users service is back", func() error { s.down.Store(false); return nil }},
		{7 * time.Second, "the end", func() error { return nil }},
	} {
		time.Sleep(time.Until(s.start.Add(step.at)))
		s.count()
		s.say("-- %s", step.what)
		if err := step.do(); err != nil {
			return err
		}
	}
	s.say("now: %v", s.users)
	return nil
}

// write replaces the file, as editors and orchestrators do: nobody reads half of it.
func (s *service) write(content string) error {
	if err := os.WriteFile(s.path+".new", []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(s.path+".new", s.path)
}

func (s *service) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%4.1f s  %s\n", time.Since(s.start).Seconds(), fmt.Sprintf(format, args...))
}

// count prints how the calls have ended since it last printed.
func (s *service) count() {
	s.mu.Lock()
	served, refused, failed := s.served, s.refused, s.failed
	s.served, s.refused, s.failed = 0, 0, 0
	s.mu.Unlock()
	breaker := s.users.Report().Layers[2].State
	s.say("calls: %d served, %d failed, %d refused at once; the circuit is %s", served, failed, refused, breaker.Name)
}
