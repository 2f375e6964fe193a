// The running softmax of a row: its largest element and Σ exp((x − top)·scale), block by block.
// Milakov & Gimelshein 2018, arXiv 1805.02867. Nothing is contracted: rows of the same bits give the same bits, whatever is around.
struct Softmax { float top; float sum; };

Softmax softmax_start() { return Softmax(-3.4e38, 0.0); }

void softmax_fold(inout Softmax s, float scale, vec4 a, vec4 b, vec4 c, vec4 d) {
    vec4 m = max(max(a, b), max(c, d));
    float top = max(s.top, max(max(m.x, m.y), max(m.z, m.w)));
    precise vec4 e = (exp((a - top) * scale) + exp((b - top) * scale)) + (exp((c - top) * scale) + exp((d - top) * scale));
    precise float sum = s.sum * exp((s.top - top) * scale) + ((e.x + e.y) + (e.z + e.w));
    s.sum = sum;
    s.top = top;
}
