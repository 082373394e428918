package logs

// The kinds of failures.
const (
	kindTimeout    = "timeout"
	kindServer     = "5xx"
	kindThrottled  = "throttled"
	kindConnection = "connection"
	kindCanceled   = "canceled"
	kindRejected   = "rejected"
)

func (r *Record) fail(kind string) { r.Failed, r.Kind = true, kind }

// cut notes a failure that has ended the request before its answer.
func (r *Record) cut(kind string) {
	r.fail(kind)
	r.Censored = true
}

// http judges a status as policyhttp does: 408, 429 and 5xx but for 501 are failures, other answers are answers. 499 is how
// proxies note that the client has gone.
func (r *Record) http(status int) {
	r.Status = status
	switch {
	case status == 408:
		r.fail(kindTimeout)
	case status == 429:
		r.fail(kindThrottled)
	case status == 499:
		r.cut(kindCanceled)
	case status >= 500 && status != 501:
		r.fail(kindServer)
	}
}

// proxied judges a status that a proxy has seen or made: its 504 says that it has given up waiting.
func (r *Record) proxied(status int) {
	r.http(status)
	if status == 504 {
		r.cut(kindTimeout)
	}
}

// grpc judges a status of gRPC as policygrpc does.
func (r *Record) grpc(code int) {
	r.Status = code
	switch code {
	case 1:
		r.cut(kindCanceled)
	case 4:
		r.cut(kindTimeout)
	case 8:
		r.fail(kindThrottled)
	case 2, 13, 14, 15:
		r.fail(kindServer)
	}
}

// grpcCodes are the names of the codes of gRPC, as proxies and spans write them.
var grpcCodes = map[string]int{
	"OK": 0, "CANCELLED": 1, "UNKNOWN": 2, "INVALID_ARGUMENT": 3, "DEADLINE_EXCEEDED": 4, "NOT_FOUND": 5, "ALREADY_EXISTS": 6,
	"PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8, "FAILED_PRECONDITION": 9, "ABORTED": 10, "OUT_OF_RANGE": 11,
	"UNIMPLEMENTED": 12, "INTERNAL": 13, "UNAVAILABLE": 14, "DATA_LOSS": 15, "UNAUTHENTICATED": 16,
	"Ok": 0, "Canceled": 1, "Unknown": 2, "InvalidArgument": 3, "DeadlineExceeded": 4, "NotFound": 5, "AlreadyExists": 6,
	"PermissionDenied": 7, "ResourceExhausted": 8, "FailedPrecondition": 9, "Aborted": 10, "OutOfRange": 11,
	"Unimplemented": 12, "Internal": 13, "Unavailable": 14, "DataLoss": 15, "Unauthenticated": 16,
}

// grpcCode reads a code of gRPC, as a number or by name.
func grpcCode(text []byte) (int, bool) {
	if n, ok := integer(text); ok {
		return int(n), n <= 16
	}
	n, ok := grpcCodes[string(text)]
	return n, ok
}
