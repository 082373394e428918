package policyredis_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/go-resilience/resilience/internal/testsize"
)

// server is a redis-server of the test's own, on a free port of the loopback interface.
type server struct {
	path, dir string
	port      int
	args      []string
	sentinel  string // the settings of a sentinel; "" for a server
	process   *exec.Cmd
	gone      chan struct{}
}

// startServer starts one. It is stopped at the end of the test.
func startServer(t testing.TB, args ...string) *server {
	t.Helper()
	return start(t, &server{args: args})
}

// startSentinel starts a sentinel that watches a master by the name of "store". It is stopped at the end of the test.
func startSentinel(t testing.TB, master *server) *server {
	t.Helper()
	return start(t, &server{sentinel: fmt.Sprintf(`sentinel monitor store 127.0.0.1 %d 1
sentinel down-after-milliseconds store 1000
sentinel failover-timeout store 2000
`, master.port)})
}

func start(t testing.TB, s *server) *server {
	t.Helper()
	s.path, s.dir = testsize.Program(t, "redis-server", "redis-server"), t.TempDir()
	t.Cleanup(s.kill)
	for range 5 { // another process may be faster to use a port that was free a moment ago
		s.port = testsize.Port(t)
		s.launch(t)
		if s.answers() {
			return s
		}
		s.kill()
	}
	require.FailNow(t, "redis-server does not start")
	return nil
}

func (s *server) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func (s *server) launch(t testing.TB) {
	t.Helper()
	args := []string{"--port", strconv.Itoa(s.port), "--bind", "127.0.0.1", "--dir", s.dir}
	if s.sentinel == "" {
		args = append(args, "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
	} else { // it writes its settings to a file, which is the first argument
		file := filepath.Join(s.dir, "sentinel.conf")
		require.NoError(t, os.WriteFile(file, []byte(s.sentinel), 0o600))
		args = append([]string{file, "--sentinel"}, args...)
	}
	args = append(args, s.args...)
	s.process = exec.Command(s.path, args...)
	require.NoError(t, s.process.Start())
	process, gone := s.process, make(chan struct{})
	s.gone = gone
	go func() {
		defer close(gone)
		_ = process.Wait()
	}()
}

// answers waits until the server answers, or is gone. Another one may answer on a port that it did not get.
func (s *server) answers() bool {
	client := redis.NewClient(&redis.Options{Addr: s.addr(), MaxRetries: -1})
	defer client.Close()
	for range 2000 {
		select {
		case <-s.gone:
			return false
		default:
		}
		about, err := client.Info(context.Background(), "server").Result()
		if err == nil && strings.Contains(about, fmt.Sprintf("process_id:%d\r\n", s.process.Process.Pid)) {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

func (s *server) signal(signal os.Signal) { _ = s.process.Process.Signal(signal) }

func (s *server) freeze() { s.signal(syscall.SIGSTOP) }
func (s *server) thaw()   { s.signal(syscall.SIGCONT) }

func (s *server) kill() {
	if s.process != nil && s.process.Process != nil {
		s.signal(os.Kill)
		<-s.gone
	}
}

// restart starts a server that was killed on its old port, without its data.
func (s *server) restart(t testing.TB) {
	t.Helper()
	s.launch(t)
	require.True(t, s.answers(), "redis-server does not start again")
}

// cluster is three masters, each with a replica: node n+3 is that of node n.
type cluster struct{ nodes []*server }

func startCluster(t testing.TB) *cluster {
	t.Helper()
	c := new(cluster)
	bus := make([]int, 6)
	for i := range 6 {
		bus[i] = testsize.Port(t)
		c.nodes = append(c.nodes, startServer(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			"--cluster-port", strconv.Itoa(bus[i]), "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0"))
	}
	ctx := context.Background()
	do := func(i int, args ...any) string {
		client := redis.NewClient(&redis.Options{Addr: c.nodes[i].addr(), Protocol: 2})
		defer client.Close()
		reply, err := client.Do(ctx, append([]any{"cluster"}, args...)...).Text()
		require.NoError(t, err, "cluster %v", args)
		return reply
	}
	const slots = 16384
	for i := range 3 {
		do(i, "addslotsrange", i*slots/3, (i+1)*slots/3-1)
	}
	for i := range 6 {
		do(i, "set-config-epoch", i+1)
	}
	for i := 1; i < 6; i++ {
		do(0, "meet", "127.0.0.1", c.nodes[i].port, bus[i])
	}
	for i := range 3 {
		id := do(i, "myid")
		eventually(t, "the replica knows its master", func() bool {
			client := redis.NewClient(&redis.Options{Addr: c.nodes[i+3].addr()})
			defer client.Close()
			return client.ClusterReplicate(ctx, id).Err() == nil
		})
	}
	eventually(t, "the cluster is well", func() bool {
		for _, node := range c.nodes {
			client := redis.NewClient(&redis.Options{Addr: node.addr()})
			defer client.Close()
			slots, err := client.Do(ctx, "cluster", "slots").Slice()
			if err != nil || len(slots) != 3 || !strings.Contains(client.ClusterInfo(ctx).Val(), "cluster_state:ok") {
				return false
			}
			for _, slot := range slots {
				if slot := slot.([]any); len(slot) != 4 { // first and last slot, master, replica
					return false
				}
			}
		}
		return true
	})
	for i := range 3 {
		eventually(t, "the replica is in step", func() bool { return c.says(i+3, "master_link_status:up") })
	}
	return c
}

// says reports whether a node says something about its replication.
func (c *cluster) says(i int, what string) bool {
	client := redis.NewClient(&redis.Options{Addr: c.nodes[i].addr()})
	defer client.Close()
	return strings.Contains(client.Info(context.Background(), "replication").Val(), what)
}

func (c *cluster) addrs() (addrs []string) {
	for _, node := range c.nodes {
		addrs = append(addrs, node.addr())
	}
	return addrs
}

// masterOf returns the index of the master of a key.
func (c *cluster) masterOf(t testing.TB, client *redis.ClusterClient, key string) int {
	t.Helper()
	master, err := client.MasterForKey(context.Background(), key)
	require.NoError(t, err)
	for i, node := range c.nodes {
		if node.addr() == master.Options().Addr {
			return i
		}
	}
	require.FailNow(t, "no master", "of %s", key)
	return 0
}

// client returns a client that hears of a failover within the deadline of a limiter: by default it dials a node that is gone
// five times, which takes half a second, and looks at the cluster once in a minute.
func (c *cluster) client(t testing.TB) *redis.ClusterClient {
	t.Helper()
	client := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: c.addrs(), ContextTimeoutEnabled: true, DialerRetries: 1, ClusterStateReloadInterval: 500 * time.Millisecond,
	})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	return client
}

// eventually waits for what a server does in its own time.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			require.FailNow(t, fmt.Sprintf("not within a minute: %s", what))
		}
	}
}

func portOf(s *server) string { return strconv.Itoa(s.port) }
