package policyconfig

import (
	"bytes"
	"context"
	"iter"
	"time"

	"github.com/go-resilience/resilience/policy"
)

// Watch looks at a file at the given interval and applies its content, until ctx ends. It starts no goroutine: the loop
// that ranges over it does the work. The loop gets the changes of each configuration that was applied, and the error of
// each one that was refused:
//
//	for changes, err := range set.Watch(ctx, "pipelines.json", 2*time.Second) {
//		if err != nil {
//			log.Print(err) // the configuration before stays in force
//			continue
//		}
//		log.Print(changes)
//	}
//
// Watch reads the file once at the beginning, and applies it if it differs from the configuration in force. After that
// it applies the file whenever its content has changed. The content decides, not the modification time, which tools
// preserve and whose resolution is coarse: merely touching the file changes nothing, and Watch notices a change
// within one tick of the clock. The file may be overwritten, replaced by a rename, or be a symbolic link that is
// swapped, as orchestrators mount configuration.
//
// A file that is missing, or is not complete JSON, may be about to be written: it is an error only if it is still the
// same at the next look. Watch reports each error once, until the file changes. It does not notice a change of the
// environment variables alone: it reads them when the file has changed.
//
// every must be positive; Watch panics with a [*policy.ConfigError] otherwise. ctx ends the loop, and so does a break.
func (s *Set) Watch(ctx context.Context, path string, every time.Duration) iter.Seq2[Changes, error] {
	if every <= 0 {
		problems := policy.ConfigError{Policy: "policyconfig.Watch"}
		problems.Add("every %v: must be positive", every)
		panic(problems.Err())
	}
	return func(yield func(Changes, error) bool) {
		w := &watcher{set: s, path: path}
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for ctx.Err() == nil {
			changes, told, err := w.look()
			if told && !yield(changes, err) {
				return
			}
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	}
}

// watcher is what one loop knows of the file.
type watcher struct {
	set  *Set
	path string

	content  []byte // that was judged last
	judged   bool   // content was, and no other error has been told since
	doubtful string // "" or what was seen of a file that may be about to be written; its error is told when it comes again
	told     string // the error that was told last
}

// look looks at the file, and applies it if its content is new. told says whether there is something to tell.
func (w *watcher) look() (changes Changes, told bool, err error) {
	data, err := readFile(w.path)
	if err != nil {
		return w.doubt(err, err.Error())
	}
	w.set.mu.Lock()
	defer w.set.mu.Unlock()
	if w.judged && bytes.Equal(data, w.content) {
		w.doubtful = ""
		return Changes{}, false, nil
	}
	if w.told == "" && bytes.Equal(data, w.set.data) { // it is in force, and nothing else was said
		w.content, w.judged, w.doubtful = data, true, ""
		return Changes{}, false, nil
	}
	changes, err = w.set.apply(data, w.path)
	if err == nil {
		w.content, w.judged, w.doubtful, w.told = data, true, "", ""
		return changes, true, nil
	}
	if incomplete(data) {
		return w.doubt(err, "content "+string(data)) // which may be empty
	}
	w.content, w.judged, w.doubtful = data, true, ""
	w.told = err.Error()
	return Changes{}, true, err
}

// doubt tells an error when it comes for the second time in a row, and then no more.
func (w *watcher) doubt(err error, seen string) (Changes, bool, error) {
	if w.doubtful != seen {
		w.doubtful = seen
		return Changes{}, false, nil
	}
	if w.told == err.Error() {
		return Changes{}, false, nil
	}
	w.told, w.judged = err.Error(), false
	return Changes{}, true, err
}

// incomplete reports whether data is no complete JSON.
func incomplete(data []byte) bool {
	found := &problems{}
	parse(data, found)
	return found.syntax
}
