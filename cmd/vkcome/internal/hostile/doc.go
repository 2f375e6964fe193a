// Package hostile runs the built program on inputs that somebody made to hurt it. It is nothing but tests.
//
// A file for each kind of input makes its cases: what lies in a folder, and the command lines that read it. Cases come from a valid input
// that is small, with one thing of it replaced by a hostile value, so that the hostile part is reached; kinds, places and values are combined,
// and a seed chooses where there are too many. hostile_test.go says what every run must keep to, and runs a sample of each kind, or most of
// them with VKCOME_HOSTILE=all (make test-hostile); VKCOME_HOSTILE=every runs all combinations, some four thousand.
package hostile
