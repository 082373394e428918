package command

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progress tells how far a long run is: on one line that is written again and again where that is a terminal, otherwise
// every ten seconds.
type progress struct {
	out      io.Writer
	terminal bool

	mu      sync.Mutex
	last    time.Time
	any     bool
	stopped bool
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, last: time.Now()}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) at(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := 10 * time.Second
	if p.terminal {
		pause = 100 * time.Millisecond
	}
	if p.stopped || time.Since(p.last) < pause {
		return
	}
	p.last, p.any = time.Now(), true
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K"+format, args...)
	} else {
		fmt.Fprintf(p.out, format+"\n", args...)
	}
}

// stop takes the line away, for good.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	if p.terminal && p.any {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
