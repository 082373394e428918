package policygrpc

import "strings"

// The full name of a method is "/users.Users/Get". Its service is "users.Users"; as in gRPC, the name of a service may
// have slashes in it. What is said about names is kept in maps by the name without the first slash: "users.Users/Get"
// for a method, "users.Users/" for all methods of a service.

// isMethodOrService reports whether name is the full name of a method, or "/users.Users/", which is all of a service.
func isMethodOrService(name string) bool {
	service, _, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	return ok && name[0] == '/' && service != ""
}

// serviceOf returns the service of a method, "" if it has none.
func serviceOf(method string) string {
	method = strings.TrimPrefix(method, "/")
	return method[:max(0, strings.LastIndexByte(method, '/'))]
}

// byName returns what is said about a method: about its own name, or else about its service. The zero value means
// nothing.
func byName[V comparable](said map[string]V, method string) V {
	var nothing V
	method = strings.TrimPrefix(method, "/")
	if v := said[method]; v != nothing {
		return v
	}
	return said[method[:strings.LastIndexByte(method, '/')+1]]
}
