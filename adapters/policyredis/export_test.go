package policyredis

// Script is what the server runs.
const Script = script

// RedisKey is what a key is called in Redis.
func RedisKey(prefix, key string) string { return redisKey(prefix, key) }
