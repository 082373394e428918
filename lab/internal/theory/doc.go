// Package theory holds the closed forms that the lab's measurements are compared with. Times have the unit of the
// service time that they are given.
package theory
