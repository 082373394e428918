// Package proof holds the evidence that the policies are right beyond what the tests beside them show: every outcome in
// every state, histories of real concurrency against sequential models, a soak whose ledger must balance, and leaks.
//
//	../.ci/proof                     # all that shows that the library is right, in minutes, with the counts
//	../.ci/proof long                # the same for a day
//	go test ./...                    # what is in here, short
//	go run ./soak -for 10m           # the soak
//	go run ./mutate                  # are the tests any good?
//
// What else there is stands beside what it proves: the exploration of the breaker's core (breaker), models (model_test.go),
// fuzz targets (fuzz_test.go), and the rules that every policy keeps (policytest).
package proof
