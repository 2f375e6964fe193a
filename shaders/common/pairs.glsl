// Four pairs that are turned together lie as neighbours in two vec4: APART_PAIRS puts the first of each into a and the second into b,
// JOIN_PAIRS puts them back.
#define APART_PAIRS(a, b) { vec4 firsts = vec4(a.xz, b.xz), seconds = vec4(a.yw, b.yw); a = firsts; b = seconds; }
#define JOIN_PAIRS(a, b) { vec4 front = vec4(a.x, b.x, a.y, b.y), back = vec4(a.z, b.z, a.w, b.w); a = front; b = back; }
