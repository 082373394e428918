package policyredis

// Script is what the server runs.
const Script = script
