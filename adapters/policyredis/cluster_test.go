package policyredis_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"github.com/valkey-io/valkey-go"

	"github.com/go-resilience/resilience/adapters/policyredis"
	"github.com/go-resilience/resilience/internal/testsize"
)

// One cluster of three masters with replicas serves the rows that need one. The last of them lose a master.
func TestFault215_218_R1_R5_R10_OnACluster(t *testing.T) {
	if !testsize.Whole() {
		t.Skip("a cluster takes 20 s: RESILIENCE_TESTS=whole runs it")
	}
	t.Parallel()
	c := startCluster(t)
	client := c.client(t)
	t.Run("R1 go-redis", func(t *testing.T) { manyKeys(t, client, "go-redis") })
	t.Run("R10 rueidis", func(t *testing.T) {
		client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: c.addrs(), DisableCache: true})
		require.NoError(t, err)
		defer client.Close()
		manyKeys(t, rueidisScripts{client}, "rueidis")
	})
	t.Run("R10 valkey-go", func(t *testing.T) {
		client, err := valkey.NewClient(valkey.ClientOption{InitAddress: c.addrs(), DisableCache: true})
		require.NoError(t, err)
		defer client.Close()
		manyKeys(t, valkeyScripts{client}, "valkey")
	})
	t.Run("R2 scripts are gone on all nodes", func(t *testing.T) {
		require.NoError(t, client.ForEachMaster(t.Context(), func(ctx context.Context, node *redis.Client) error {
			return node.ScriptFlush(ctx).Err()
		}))
		manyKeys(t, client, "flushed")
	})
	t.Run("MOVED, and a client of one node", func(t *testing.T) { // what is not there is as good as down
		node := redis.NewClient(&redis.Options{Addr: c.nodes[0].addr(), MaxRetries: -1})
		defer node.Close()
		l := drained(t, policyredis.New(node, keyOn(t, c, client, 1, "moved"), hourly, 3, patient()))
		require.Equal(t, 3, admitted(l, 10))
		require.Equal(t, policyredis.Local, l.Snapshot().Mode)
	})
	t.Run("ASK, while a slot moves", func(t *testing.T) { slotMoves(t, c, client) })
	t.Run("R5 a replica in step", func(t *testing.T) { failover(t, c, client, 0, false) })
	t.Run("R5 a replica that lags", func(t *testing.T) { failover(t, c, client, 1, true) })
}

// TestR5_ASentinelPromotesTheReplica: the client of a setup with sentinels is a client like any other.
func TestR5_ASentinelPromotesTheReplica(t *testing.T) {
	if !testsize.Whole() {
		t.Skip("a failover takes 3 s: RESILIENCE_TESTS=whole runs it")
	}
	t.Parallel()
	const burst = 40
	master := startServer(t)
	replica := startServer(t, "--replicaof", "127.0.0.1 "+strconv.Itoa(master.port))
	sentinel := startSentinel(t, master)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: "store", SentinelAddrs: []string{sentinel.addr()}, ContextTimeoutEnabled: true, DialerRetries: 1,
	})
	defer client.Close()
	l := drained(t, policyredis.New(client, "sentinel", hourly, burst, policyredis.FailClosed(),
		policyredis.Deadline(time.Second), policyredis.Probe(100*time.Millisecond)))
	require.Equal(t, burst, admitted(l, 2*burst))
	require.Zero(t, l.Snapshot().FellBack)
	require.EqualValues(t, 1, client.Wait(t.Context(), 1, 10*time.Second).Val(), "the replica has heard it")
	asked := redis.NewSentinelClient(&redis.Options{Addr: sentinel.addr()})
	defer asked.Close()
	eventually(t, "the sentinel knows the replica", func() bool {
		replicas, err := asked.Replicas(t.Context(), "store").Result()
		return err == nil && len(replicas) == 1
	})
	master.kill()
	after := 0
	eventually(t, "the replica is the master", func() bool {
		address, err := asked.GetMasterAddrByName(t.Context(), "store").Result()
		return err == nil && address[1] == strconv.Itoa(replica.port)
	})
	eventually(t, "the store decides again", func() bool { // the client may have noticed before any call has failed
		local := l.Snapshot().FellBack
		after += admitted(l, 1)
		return l.Snapshot().FellBack == local
	})
	about, err := client.Info(t.Context(), "server").Result()
	require.NoError(t, err)
	require.Contains(t, about, fmt.Sprintf("process_id:%d\r\n", replica.process.Process.Pid))
	after += admitted(l, 2*burst)
	require.Zero(t, after, "a replica in step has lost nothing")
}

func TestFault215_OneKeyWithOneTag(t *testing.T) {
	seen := make(map[string]string)
	for _, key := range []string{
		"a", "b}c", "b}d", "{d}", "d", "", "}", "}}", "{", "{}", "}e", "a b\r\n*1", "\x00", "\xff{", "ü",
		strings.Repeat("x", 128), strings.Repeat("x", 129), strings.Repeat("}", 500), strings.Repeat("{", 500),
		policyredis.RedisKey("", "}")[2:],
	} {
		name := policyredis.RedisKey("ratelimit", key)
		require.Regexp(t, `(?s)^ratelimit:\{[^}].*\}$`, name, "a tag that is not empty")
		require.LessOrEqual(t, len(name), len("ratelimit:{}")+129)
		require.NotContains(t, seen, name, "%q and %q", key, seen[name])
		seen[name] = key
	}
	require.NotRegexp(t, `call\('(GET|SET|DEL)', [^K]`, policyredis.Script, "every key is declared")
}

// manyKeys is 30 keys on all masters, and 20 callers of each.
func manyKeys[R policyredis.Result](t *testing.T, client policyredis.Scripter[R], prefix string) {
	p := drained(t, policyredis.NewPerKey(client, hourly, 5, func(context.Context) string { return "" }, patient(),
		policyredis.Prefix(prefix), policyredis.FailClosed()))
	var yes atomic.Int64
	var group sync.WaitGroup
	for key := range 30 {
		for range 20 {
			group.Go(func() {
				if p.Allow(context.Background(), fmt.Sprint("key ", key), 1) == nil {
					yes.Add(1)
				}
			})
		}
	}
	group.Wait()
	s := p.Snapshot()
	require.EqualValues(t, 150, yes.Load())
	require.Zero(t, s.Errors)
	require.EqualValues(t, 600, s.Calls)
	require.Equal(t, policyredis.Shared, s.Mode)
}

// slotMoves moves a slot from node 0 to node 1 and back, once before there is a key and once with it. Attempts are decided all the
// time. Only a lot, which has a second key, does not go back meanwhile.
func slotMoves(t *testing.T, c *cluster, client *redis.ClusterClient) {
	var nodes [2]*redis.Client
	var ids [2]any
	do := func(node int, args ...any) any {
		t.Helper()
		reply, err := nodes[node].Do(t.Context(), args...).Result()
		require.NoError(t, err, args)
		return reply
	}
	for i := range nodes {
		nodes[i] = newClient(t, c.nodes[i].addr())
		ids[i] = do(i, "cluster", "myid")
	}
	key := keyOn(t, c, client, 0, "moves")
	name := policyredis.RedisKey("ratelimit", key)
	slot := do(0, "cluster", "keyslot", name)
	begin := func(from, to int) {
		do(to, "cluster", "setslot", slot, "importing", ids[from])
		do(from, "cluster", "setslot", slot, "migrating", ids[to])
	}
	finish := func(from, to int) {
		for _, node := range []int{to, from} {
			do(node, "cluster", "setslot", slot, "node", ids[to])
		}
	}
	l := drained(t, policyredis.New(client, key, hourly, 40, patient(), policyredis.FailClosed()))
	lots := drained(t, policyredis.New(client, key, hourly, 40, patient(), policyredis.FailClosed(), policyredis.Lots(5, time.Minute)))
	do(1, "script", "flush")
	begin(0, 1)
	require.Equal(t, 3, admitted(l, 3), "asked where the key will be")
	require.NoError(t, attempt(lots))
	require.NoError(t, lots.Drain(t.Context()))
	finish(0, 1)
	require.Equal(t, 3, admitted(l, 3))
	begin(1, 0)
	require.Equal(t, 3, admitted(l, 3), "asked where the key is")
	do(1, "migrate", "127.0.0.1", c.nodes[0].port, name, 0, 10_000)
	require.Equal(t, 3, admitted(l, 3))
	finish(1, 0)
	require.Equal(t, 40-12-6, admitted(l, 40), "the lot is spent")
	require.Zero(t, l.Snapshot().Errors)
	require.EqualValues(t, 1, lots.Snapshot().Errors)
}

// keyOn returns a key whose master is a node.
func keyOn(t *testing.T, c *cluster, client *redis.ClusterClient, node int, prefix string) string {
	for i := range 1000 {
		key := fmt.Sprint(prefix, i)
		if c.masterOf(t, client, policyredis.RedisKey("ratelimit", key)) == node {
			return key
		}
	}
	require.FailNow(t, "no key")
	return ""
}

// failover kills a master and lets its replica take over: in step with it, or cut off from it before the first token was taken.
// What is admitted in all is bounded by one burst more. No token comes in meanwhile.
func failover(t *testing.T, c *cluster, client *redis.ClusterClient, node int, lagging bool) {
	const burst = 40
	key := keyOn(t, c, client, node, fmt.Sprint("failover", lagging))
	l := drained(t, policyredis.New(client, key, hourly, burst, policyredis.FailClosed(), policyredis.Deadline(time.Second),
		policyredis.Probe(100*time.Millisecond)))
	master := redis.NewClient(&redis.Options{Addr: c.nodes[node].addr()})
	defer master.Close()
	if lagging {
		require.NoError(t, master.Do(t.Context(), "acl", "setuser", "default", "-psync", "-sync").Err())
		require.NoError(t, master.Do(t.Context(), "client", "kill", "type", "replica").Err())
	}
	before := admitted(l, 2*burst)
	require.Equal(t, burst, before)
	require.Zero(t, l.Snapshot().FellBack)
	if !lagging {
		require.EqualValues(t, 1, master.Wait(t.Context(), 1, 10*time.Second).Val(), "the replica has heard it")
	}
	c.nodes[node].kill()
	eventually(t, "the replica is the master", func() bool { return c.says(node+3, "role:master") })
	after := 0
	eventually(t, "the store decides again", func() bool { // the client may have noticed before any call has failed
		local := l.Snapshot().FellBack
		after += admitted(l, 1)
		return l.Snapshot().FellBack == local
	})
	after += admitted(l, 2*burst)
	t.Logf("lagging: %v; burst %d; admitted %d before the failover and %d after it", lagging, burst, before, after)
	require.LessOrEqual(t, after, burst, "one burst more, at most")
	if !lagging {
		require.Zero(t, after, "a replica in step has lost nothing")
	} else {
		require.Equal(t, burst, after, "the worst case: it has lost everything")
		require.EqualValues(t, 1, l.Snapshot().Forgotten, "and it is noticed")
	}
}
