//go:build unix

package main

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
)

// server is a real PostgreSQL on loopback, with a folder of its own.
type server struct {
	t    *testing.T
	dir  string
	port int
	as   *syscall.SysProcAttr // PostgreSQL refuses to run as root

	program, output string
	running         *exec.Cmd
}

// startServer starts a PostgreSQL that ends with the test.
func startServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, program: testsize.Program(t, "postgres", "postgresql")}
	dir, err := os.MkdirTemp("", "postgresql") // t.TempDir is below folders that another user may not enter
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s.dir, s.output = filepath.Join(dir, "data"), filepath.Join(dir, "output")
	if os.Geteuid() == 0 {
		s.as = ownedBy(t, "postgres", dir)
	}
	initialise := exec.Command(testsize.Program(t, "initdb", "postgresql"),
		"-D", s.dir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions")
	initialise.SysProcAttr, initialise.Dir = s.as, dir
	out, err := initialise.CombinedOutput()
	require.NoError(t, err, "%s", out)

	s.port = testsize.Port(t)
	s.start()
	t.Cleanup(s.stop)
	return s
}

// ownedBy gives a folder to a user of the Debian package, and returns what runs a program as that user.
func ownedBy(t *testing.T, name, dir string) *syscall.SysProcAttr {
	account, err := user.Lookup(name)
	require.NoError(t, err)
	uid, err := strconv.Atoi(account.Uid)
	require.NoError(t, err)
	gid, err := strconv.Atoi(account.Gid)
	require.NoError(t, err)
	require.NoError(t, os.Chown(dir, uid, gid))
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// start starts the server, and returns when it answers.
func (s *server) start() {
	s.t.Helper()
	s.running = exec.Command(s.program, "-D", s.dir, "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "deadlock_timeout=10ms", "-c", "max_connections=64")
	s.running.SysProcAttr, s.running.Dir = s.as, filepath.Dir(s.dir)
	output, err := os.Create(s.output)
	require.NoError(s.t, err)
	s.running.Stdout, s.running.Stderr = output, output
	err = s.running.Start()
	require.NoError(s.t, output.Close())
	require.NoError(s.t, err)
	db := s.open()
	for range 6000 { // for a minute
		if db.PingContext(s.t.Context()) == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	said, _ := os.ReadFile(s.output)
	s.t.Fatalf("PostgreSQL does not start: %s", said)
}

// stop stops the server at once, with all its connections.
func (s *server) stop() {
	if s.running != nil {
		_ = s.running.Process.Signal(syscall.SIGQUIT)
		_ = s.running.Wait()
		s.running = nil
	}
}

func (s *server) url() string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/postgres?sslmode=disable", s.port)
}

// open returns a pool that ends with the test.
func (s *server) open() *sql.DB {
	db, err := sql.Open("pgx", s.url())
	require.NoError(s.t, err)
	s.t.Cleanup(func() { _ = db.Close() })
	return db
}
