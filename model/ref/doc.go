// Package ref computes everything vkcome computes in plain Go and float64: the oracle that the GPU operations, the merge
// and the folders written by the tool are compared with. It is written to be read: one operation a file, of the same stem
// as its shader; no Vulkan, and no code shared with the model reader (LoadModel has its own).
//
// Matrices are row-major, one row a token or one row an output of a weight. Functions return new matrices and leave their
// arguments as they are. Sizes that disagree panic.
package ref
