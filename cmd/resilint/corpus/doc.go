// Package corpus holds what the checks of resilint were measured on. See README.md.
package corpus
