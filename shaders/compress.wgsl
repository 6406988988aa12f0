// The readable form of `compress`: hashes one block of 16 big-endian words into a state
// (FIPS 180-4, section 6.2.2).  Production kernels use a generated, unrolled form with the same
// signature, and a test holds the two equal.  The host puts K, the round constants, before it.

fn compress(state: array<u32, 8>, block: array<u32, 16>) -> array<u32, 8> {
    // A dynamic index into a `const` array would copy the whole array before each read.
    var k = K;
    var w: array<u32, 64>;
    var words = block;
    for (var t = 0u; t < 16u; t++) {
        w[t] = words[t];
    }
    for (var t = 16u; t < 64u; t++) {
        w[t] = s1(w[t - 2u]) + w[t - 7u] + s0(w[t - 15u]) + w[t - 16u];
    }

    var a = state[0]; var b = state[1]; var c = state[2]; var d = state[3];
    var e = state[4]; var f = state[5]; var g = state[6]; var h = state[7];
    for (var t = 0u; t < 64u; t++) {
        let t1 = h + b1(e) + ch(e, f, g) + k[t] + w[t];
        let t2 = b0(a) + maj(a, b, c);
        h = g; g = f; f = e; e = d + t1;
        d = c; c = b; b = a; a = t1 + t2;
    }
    return array<u32, 8>(a + state[0], b + state[1], c + state[2], d + state[3],
                         e + state[4], f + state[5], g + state[6], h + state[7]);
}
