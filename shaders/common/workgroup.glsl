// The workgroup's size, specialization constant 0. Shaders use WORKGROUP, not gl_WorkGroupSize: lavapipe 22.3 folds expressions of
// the latter with its default of 1, before it is specialized.
layout(constant_id = 0) const uint WORKGROUP = 64;
layout(local_size_x_id = 0) in;
