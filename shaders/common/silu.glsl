// SiLU(z) = z·σ(z), σ(z) = 1/(1 + e^−z), which is e^z/(1 + e^z) where z is negative: e^−|z| never overflows, and a device need not
// have infinities.
vec4 silu(vec4 z) {
    vec4 e = exp(-abs(z));
    return z * mix(vec4(1.0), e, lessThan(z, vec4(0.0))) / (1.0 + e);
}
