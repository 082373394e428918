// Package proof holds the evidence that the policies are right beyond what the tests beside them show: every outcome in
// every state, histories of real concurrency against sequential models, a soak whose ledger must balance, and leaks.
//
//	go test ./...                    # all of it, short
//	go run ./soak -for 10m           # the soak, long
//	go run ./mutate                  # are the tests any good?
package proof
