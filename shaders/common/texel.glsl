// Weights of any dtype out of texel buffers of rgba32ui, 16 bytes at a time. Include common/dtype.glsl first.
#if defined(F32)
#define TEXEL_WEIGHTS 4
vec4 texel_quad(uvec4 t, uint quad) { return uintBitsToFloat(t); }
#else
#define TEXEL_WEIGHTS 8
vec4 texel_quad(uvec4 t, uint quad) { return unpack4(quad == 0 ? t.xy : t.zw); }
#endif
#define TEXEL_QUADS (TEXEL_WEIGHTS / 4)
