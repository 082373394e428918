package command

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progress tells, while a scenario runs, how far it is: on one line that is written again and again where that is a
// terminal, and otherwise only at the end.
type progress struct {
	out      io.Writer
	terminal bool
	title    string
	began    time.Time

	mu      sync.Mutex
	last    time.Time
	stopped bool
}

func newProgress(out io.Writer, title string) *progress {
	p := &progress{out: out, title: title, began: time.Now()}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) at(done, total int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.terminal && !p.stopped && time.Since(p.last) > 100*time.Millisecond {
		p.last = time.Now()
		fmt.Fprintf(p.out, "\r\x1b[K%s: %d of %d worlds", p.title, done, total)
	}
}

// stop takes the line away, for good.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

func (p *progress) done(passed bool) {
	verdict := "as expected"
	if !passed {
		verdict = "NOT AS EXPECTED"
	}
	p.stop()
	fmt.Fprintf(p.out, "%s: %s, %.1f s\n", p.title, verdict, time.Since(p.began).Seconds())
}
