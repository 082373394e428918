// Package plot draws figures: as SVG that needs nothing else, and as text for a terminal. The same figure gives the
// same bytes, always.
package plot
