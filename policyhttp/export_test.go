package policyhttp

import "unsafe"

// SizeOfCall is what each request allocates, in bytes.
const SizeOfCall = unsafe.Sizeof(call{})

// CopyStreamError does what the As of net/http's error does, if target is what this package asks with.
func CopyStreamError(target any, id, code uint32, cause error) bool {
	if t, ok := target.(*streamError); ok {
		*t = streamError{id, code, cause}
		return true
	}
	return false
}
