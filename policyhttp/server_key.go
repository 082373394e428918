package policyhttp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// maxKey bounds a key, in bytes. It is the default of keyed.MaxKeyLength.
const maxKey = 256

// Key returns the key of the client whose request is handled under ctx, for ratelimit.NewPerKey and keyed.By:
//
//	front := resilience.Compose(ratelimit.NewPerKey(10, 20, policyhttp.Key))
//
// The key is what the function given to [KeyBy] returns, by default [RemoteAddr]. It has at most 256 bytes: a longer one
// is replaced by its SHA-256 in hex. It is computed once for each request, when it is first asked for. Outside of a
// [Handler] it is "".
func Key(ctx context.Context) string {
	if c, ok := ctx.Value(requestKey{}).(*requestContext); ok {
		return c.clientKey()
	}
	return ""
}

// RemoteAddr returns what stands for the address of the client, without the port:
//
//   - IPv4: the address, also if it is written as IPv6 (::ffff:192.0.2.1);
//   - behind NAT64 (64:ff9b::/96): the IPv4 address inside, since all clients have the same first 64 bits;
//   - any other IPv6 address, one of 6to4 (2002::/16) included: the first 64 bits, such as "2001:db8::/64", since a single
//     client usually has the whole /64;
//   - link-local: these bits and the zone, since the same network is another one on another link; other zones are dropped;
//   - no IP address, such as the address of a Unix socket: what it says, at most 64 bytes of it.
//
// Behind a proxy every client has the address of the proxy: use [KeyBy] then.
func RemoteAddr(r *http.Request) string {
	if addr, ok := parseRemote(r.RemoteAddr); ok {
		return network(addr)
	}
	host := r.RemoteAddr
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host[:min(len(host), 64)]
}

// parseRemote parses an address with or without a port.
func parseRemote(remote string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(remote); err == nil {
		return withPort.Addr(), true
	}
	if len(remote) > 2 && remote[0] == '[' && remote[len(remote)-1] == ']' {
		remote = remote[1 : len(remote)-1]
	}
	addr, err := netip.ParseAddr(remote)
	return addr, err == nil
}

// nat64 is the prefix of IPv4 addresses in IPv6 (RFC 6052): the last 32 bits are the IPv4 address.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// network returns what stands for a client with the address addr.
func network(addr netip.Addr) string {
	addr = addr.Unmap()
	if nat64.Contains(addr) {
		bytes := addr.As16()
		addr = netip.AddrFrom4([4]byte(bytes[12:]))
	}
	if addr.Is4() {
		return addr.String()
	}
	zone := ""
	if addr.IsLinkLocalUnicast() {
		zone = addr.Zone()
	}
	prefix, _ := addr.WithZone("").Prefix(64) // valid for every IPv6 address
	if zone != "" {
		return prefix.String() + "%" + zone[:min(len(zone), 64)]
	}
	return prefix.String()
}

// requestKey is the key by which a requestContext finds itself.
type requestKey struct{}

// requestContext is the context of a request in a pipeline.
type requestContext struct {
	context.Context
	request *http.Request
	keyBy   func(*http.Request) string // nil: RemoteAddr

	once sync.Once
	key  string
}

// Value returns c for requestKey.
func (c *requestContext) Value(key any) any {
	if key == (requestKey{}) {
		return c
	}
	return c.Context.Value(key)
}

func (c *requestContext) clientKey() string {
	c.once.Do(func() { c.key = clientKey(c.request, c.keyBy) })
	return c.key
}

func clientKey(r *http.Request, keyBy func(*http.Request) string) string {
	key := ""
	if keyBy != nil {
		key = keyBy(r)
	}
	if key == "" {
		return RemoteAddr(r)
	}
	if len(key) > maxKey {
		sum := sha256.Sum256([]byte(key))
		return hex.EncodeToString(sum[:])
	}
	return key
}
