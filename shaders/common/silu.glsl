// SiLU(z) = z/(1 + e^−z), whose exp never overflows: of |z|.
vec4 silu(vec4 z) {
    vec4 e = exp(-abs(z));
    return z * mix(vec4(1.0), e, lessThan(z, vec4(0.0))) / (1.0 + e);
}
