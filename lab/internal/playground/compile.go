package playground

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
)

const (
	module  = "github.com/go-resilience/resilience/lab"
	program = module + "/internal/playground/wasm"
)

// buildFlags make the binary small: without symbols, and without inlining in the standard library but where runs spend their
// time. There it makes them a fifth faster.
var buildFlags = []string{"-trimpath", "-ldflags=-s -w", "-gcflags=std=-l", "-gcflags=runtime=", "-gcflags=internal/runtime/...=",
	"-gcflags=sync/...=", "-gcflags=internal/sync=", "-gcflags=time=", "-gcflags=context=", "-gcflags=math/...="}

// compile compiles what runs in the page's workers, and returns it with the JavaScript that must come with it.
func compile(ctx context.Context) (wasm []byte, glue string, err error) {
	dir, err := os.MkdirTemp("", "playground")
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if _, err := exec.LookPath("go"); err != nil {
		return nil, "", errors.New("the go command is not in the PATH: the playground compiles the library to WebAssembly")
	}
	env := []string{"GOOS=js", "GOARCH=wasm", "GOFLAGS="}
	if version, _, _ := strings.Cut(runtime.Version(), " "); strings.HasPrefix(version, "go1.") { // the toolchain that has built this program
		env = append(env, "GOTOOLCHAIN="+version)
	}
	root, err := run(ctx, env, "env", "GOROOT")
	if err != nil {
		return nil, "", err
	}
	file := filepath.Join(root, "lib", "wasm", "wasm_exec.js")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, "", fmt.Errorf("this Go toolchain has no %s, which belongs to every release of Go since 1.24: install a whole one: %w", file, err)
	}
	binary := filepath.Join(dir, "play.wasm")
	if _, err := run(ctx, env, "list", program); err == nil { // within the repository
		_, err = run(ctx, env, append(append([]string{"build", "-o", binary}, buildFlags...), program)...)
		if err != nil {
			return nil, "", err
		}
	} else if binary, err = install(ctx, dir, env); err != nil {
		return nil, "", err
	}
	wasm, err = os.ReadFile(binary)
	return wasm, string(text), err
}

// install compiles the released version that this program is, which "go run MODULE@VERSION" has built somewhere else.
func install(ctx context.Context, dir string, env []string) (binary string, err error) {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Path != module || !strings.HasPrefix(info.Main.Version, "v") {
		return "", errors.New("the playground is compiled from its source: run it in a clone, or as go run " + module + "@latest playground")
	}
	cache, err := run(ctx, env, "env", "GOMODCACHE")
	if err != nil {
		return "", err
	}
	env = append(env, "GOPATH="+dir, "GOBIN=", "GOMODCACHE="+cache, "GOWORK=off")
	_, err = run(ctx, env, append(append([]string{"install"}, buildFlags...), program+"@"+info.Main.Version)...)
	return filepath.Join(dir, "bin", "js_wasm", "wasm"), err
}

// run runs the go command.
func run(ctx context.Context, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}
