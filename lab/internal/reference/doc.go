// Package reference holds second simulations of what the lab measures, for numbers that no formula gives. They share no
// code with the library or with package sim: a loop of events, and the rules of each experiment written down again, as
// plainly as possible. Each function says the same whenever it is called: its seed is fixed.
package reference
