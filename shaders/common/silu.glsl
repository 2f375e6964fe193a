// SiLU(z) = z·σ(z), σ(z) = 1/(1 + e^−z), which is e^z/(1 + e^z) where z is negative: e^−|z| never overflows, and a device need not
// have infinities.
vec4 silu(vec4 z) {
    vec4 e = exp(-abs(z));
    return z * mix(vec4(1.0), e, lessThan(z, vec4(0.0))) / (1.0 + e);
}

// GELU by tanh, z/2·(1 + tanh(√(2/π)·(z + 0.044715·z³))), which is z·σ(t). Source: Hendrycks & Gimpel 2016, arXiv 1606.08415.
vec4 gelu_exponent(vec4 z) {
    z = clamp(z, -30.0, 30.0); // beyond, σ(t) is 0 or 1
    return 1.5957691216 * z * (1.0 + 0.044715 * z * z);
}
vec4 gelu(vec4 z) {
    vec4 t = gelu_exponent(z), e = exp(-abs(t));
    return z * mix(vec4(1.0), e, lessThan(t, vec4(0.0))) / (1.0 + e);
}
