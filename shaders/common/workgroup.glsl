// The workgroup's size, specialization constant 0. Shaders use WORKGROUP, not gl_WorkGroupSize: lavapipe 22.3 folds expressions of
// the latter with its default of 1, before it is specialized. Workgroups have one dimension: near-square ones gave wrong products on an Adreno 840,
// in one run of ten, which lines of the same size did not (pytorch/executorch issue 22327).
layout(constant_id = 0) const uint WORKGROUP = 64;
layout(local_size_x_id = 0) in;

// Whether a < b, as 1 or 0, and the larger of both, below 2^31, for the lengths of shared arrays: where these depend on a choice between
// specialization constants (?:, a comparison), Qualcomm's driver 512.842 for Adreno 840 computes wrong numbers (Tencent/ncnn pull request 6972).
#define LESS(a, b) (((a) - (b)) >> 31)
#define LARGER(a, b) ((a) + ((b) - (a)) * LESS(a, b))
