package policyredis_test

const workerVariable = "POLICYREDIS_TEST_WORKER"

func work(string) {}
