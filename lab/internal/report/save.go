package report

import (
	"os"
	"path/filepath"

	"github.com/go-resilience/resilience/lab/internal/atomicfile"
)

// DefaultFolder is where reports go unless the command says otherwise.
const DefaultFolder = "lab-report"

// Save writes a report into folder, which is made if it is not there, and returns the name of the file. Git ignores the
// default folder, so that a report stays out of the repository that the lab is run from.
func Save(folder, name, content string) (string, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	if folder == DefaultFolder {
		if err := os.WriteFile(filepath.Join(folder, ".gitignore"), []byte("*\n"), 0o644); err != nil {
			return "", err
		}
	}
	file := filepath.Join(folder, name)
	return file, atomicfile.Write(file, []byte(content))
}
