// Terms of KL(p‖q) that are never negative, so that nothing cancels where q is near p. With δ = log(q/p) they are p·(e^δ − 1 − δ),
// which differ from −p·δ by q − p, whose sum is 0. There e^δ − 1 − δ is a polynomial, and q − p is p times that plus δ.
// log(a/b), to the last bits where the ratio is near 1.
float log_ratio(float a, float b) {
    float u = (a - b) / (a + b), s = u * u;
    float series = 2.0 * u * (1.0 + s * (1.0 / 3.0 + s * (1.0 / 5.0 + s * (1.0 / 7.0 + s * (1.0 / 9.0 + s / 11.0)))));
    return abs(u) < 0.25 ? series : log(a / b);
}

// Of p = a, q = b and δ = d: the term, and q − p.
vec4 divergence_term(vec4 a, vec4 b, vec4 d, out vec4 difference) {
    vec4 series = d * d * (0.5 + d * (1.0 / 6.0 + d * (1.0 / 24.0 + d * (1.0 / 120.0 + d * (1.0 / 720.0 + d * (1.0 / 5040.0 + d * (1.0 / 40320.0)))))));
    bvec4 near = lessThan(abs(d), vec4(0.5));
    difference = mix(b - a, a * (d + series), near);
    return mix(b - a - a * d, a * series, near);
}

float divergence_term(float a, float b, float d) {
    vec4 difference;
    return divergence_term(vec4(a), vec4(b), vec4(d), difference).x;
}
