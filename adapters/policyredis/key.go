package policyredis

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// maxKey is how long a key can be. A longer one is cut, and its hash added. Names made so are longer than those of other keys.
const maxKey = 128

// redisKey returns what a key is called in Redis. Keys come from outside: they are as long as that, and no two have the same
// name. What is between the first braces of a name decides about the node of a cluster, unless there is nothing: a key for
// which that would be so is hashed too.
func redisKey(prefix, key string) string {
	if key == "" || len(key) > maxKey || key[0] == '}' {
		sum := sha256.Sum256([]byte(key))
		head := maxKey + 1 - 2*len(sum)
		key = strings.ReplaceAll((key + strings.Repeat("-", head))[:head], "}", "-") + hex.EncodeToString(sum[:])
	}
	return prefix + ":{" + key + "}"
}
