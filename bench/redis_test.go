package bench

import (
	"context"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/goredisstore.v9"

	"github.com/go-resilience/resilience/adapters/policyredis"
)

// BenchmarkRedis is one decision about one key of one server, by everybody, and what the local fallback costs.
func BenchmarkRedis(b *testing.B) {
	addr := startRedis(b)
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	b.Cleanup(func() { _ = client.Close() })
	plain := redis.NewClient(&redis.Options{Addr: addr})
	b.Cleanup(func() { _ = plain.Close() })
	ctx := context.Background()
	limiters := 0
	ours := func(client *redis.Client, options ...policyredis.Option) func() bool {
		limiters++
		l := policyredis.New(client, "ours"+strconv.Itoa(limiters), 1e6, 1e9, append(options, policyredis.FailClosed(), policyredis.Deadline(time.Second))...)
		b.Cleanup(func() { _ = l.Drain(ctx) })
		return func() bool { _, _, err := l.Admit(ctx); return err == nil }
	}
	gone := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialerRetries: 1})
	b.Cleanup(func() { _ = gone.Close() })
	local := policyredis.New(gone, "local", 1e6, 1e9, policyredis.Probe(time.Hour))
	for range 5 {
		_, _, _ = local.Admit(ctx)
	}
	rated := redis_rate.NewLimiter(client)
	limit := redis_rate.Limit{Rate: 1e6, Burst: 1e9, Period: time.Second}
	store, err := goredisstore.NewCtx(client, "throttled:")
	if err != nil {
		b.Fatal(err)
	}
	throttle, err := throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerSec(1e6), MaxBurst: 1e9})
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range []struct {
		name  string
		allow func() bool
	}{
		{"client-alone", func() bool { return client.Eval(ctx, "return 1", []string{"alone"}).Err() == nil }},
		{"resilience", ours(client)},
		{"resilience-client-not-trusted", ours(plain)},
		{"redis_rate", func() bool { result, err := rated.Allow(ctx, "rated", limit); return err == nil && result.Allowed == 1 }},
		{"throttled", func() bool {
			limited, _, err := throttle.RateLimitCtx(ctx, "throttled", 1)
			return err == nil && !limited
		}},
		{"resilience-lots-of-100", ours(client, policyredis.Lots(100, time.Second))},
		{"resilience-local", func() bool { _, _, err := local.Admit(ctx); return err == nil }},
	} {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !s.allow() {
					b.Fatal("refused")
				}
			}
		})
	}
}

// startRedis starts a server for the benchmark, on a free port.
func startRedis(b *testing.B) string {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		b.Skip("redis-server is not installed: apt-get install -y redis-server")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	_ = listener.Close()
	server := exec.Command(path, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", b.TempDir())
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	for range 1000 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			_ = conn.Close()
			return addr
		}
		time.Sleep(5 * time.Millisecond)
	}
	b.Fatal("redis-server does not start")
	return ""
}
