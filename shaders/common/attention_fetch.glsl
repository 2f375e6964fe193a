// The KEYS keys from key0 on, of which those from end on are the last again, and their values go into the tile, which is read no more; got_unscale and
// got_exponent are what one key's and one value's invocation has. It is main's, behind key0, end and lane.
uvec4 got_k[K_FETCHES], got_v[V_FETCHES][2];
[[unroll]] for (uint f = 0; f < K_FETCHES; f++) {
    uint e = min(f * WORKGROUP + lane, KEYS * EIGHTHS - 1);
    got_k[f] = k[k_at(min(key0 + e / EIGHTHS, end - 1)) * EIGHTHS + e % EIGHTHS];
}
[[unroll]] for (uint f = 0; f < V_FETCHES; f++) {
    uint e = min(f * WORKGROUP + lane, KEYS / 2 * EIGHTHS - 1), key = key0 + 2 * (e % (KEYS / 2)), eighth = e / (KEYS / 2);
    got_v[f][0] = v[k_at(min(key, end - 1)) * EIGHTHS + eighth];
    got_v[f][1] = v[k_at(min(key + 1, end - 1)) * EIGHTHS + eighth];
}
uint of = k_at(min(key0 + lane % KEYS, end - 1));
float got_unscale = k_unscale[of], got_exponent = float(int(floatBitsToUint(v_unscale[of]) >> 23) - 127);
barrier(); // the tile was read
[[unroll]] for (uint f = 0; f < K_FETCHES; f++) {
    uint e = min(f * WORKGROUP + lane, KEYS * EIGHTHS - 1);
    tile[e / EIGHTHS * PITCH + e % EIGHTHS] = got_k[f];
}
[[unroll]] for (uint f = 0; f < V_FETCHES; f++) {
    uint e = min(f * WORKGROUP + lane, KEYS / 2 * EIGHTHS - 1), pair = e % (KEYS / 2), to = VALUES + e / (KEYS / 2) * 8 * VALUE_PITCH + pair / 4;
    [[unroll]] for (uint i = 0; i < 4; i++) {
        uint a = got_v[f][0][i], b = got_v[f][1][i];
        tile[to + 2 * i * VALUE_PITCH][pair % 4] = (a & 0xffffu) | b << 16;
        tile[to + (2 * i + 1) * VALUE_PITCH][pair % 4] = a >> 16 | (b & 0xffff0000u);
    }
}
