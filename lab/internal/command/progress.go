package command

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells, while a scenario runs, how far it is: on one line that is written again and again where that is a
// terminal, and otherwise only at the end.
type progress struct {
	out      io.Writer
	terminal bool
	title    string
	began    time.Time
	last     time.Time
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
	if p.terminal && time.Since(p.last) > 100*time.Millisecond {
		p.last = time.Now()
		fmt.Fprintf(p.out, "\r\x1b[K%s: %d of %d worlds", p.title, done, total)
	}
}

func (p *progress) done(passed bool) {
	verdict := "as expected"
	if !passed {
		verdict = "NOT AS EXPECTED"
	}
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
	fmt.Fprintf(p.out, "%s: %s, %.1f s\n", p.title, verdict, time.Since(p.began).Seconds())
}
