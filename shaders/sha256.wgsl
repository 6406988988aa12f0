// SHA-256 (FIPS 180-4): the functions of section 4.1.2, and what all kernels build on `compress`.
//
// A kernel is this text, one form of `compress`, and a body.  The host puts the constants before
// it: GROUP, the threads of a workgroup, and IV, the initial state of section 5.3.3.

fn s0(x: u32) -> u32 { return ((x >> 7u) | (x << 25u)) ^ ((x >> 18u) | (x << 14u)) ^ (x >> 3u); }
fn s1(x: u32) -> u32 { return ((x >> 17u) | (x << 15u)) ^ ((x >> 19u) | (x << 13u)) ^ (x >> 10u); }
fn b0(x: u32) -> u32 {
    return ((x >> 2u) | (x << 30u)) ^ ((x >> 13u) | (x << 19u)) ^ ((x >> 22u) | (x << 10u));
}
fn b1(x: u32) -> u32 {
    return ((x >> 6u) | (x << 26u)) ^ ((x >> 11u) | (x << 21u)) ^ ((x >> 25u) | (x << 7u));
}
fn ch(x: u32, y: u32, z: u32) -> u32 { return z ^ (x & (y ^ z)); }
fn maj(x: u32, y: u32, z: u32) -> u32 { return (x & y) | (z & (x | y)); }

// Buffers hold bytes in the order of the wire, read as little-endian words; SHA-256 is big-endian.
fn bswap(x: u32) -> u32 {
    return (x << 24u) | ((x & 0xff00u) << 8u) | ((x >> 8u) & 0xff00u) | (x >> 24u);
}

// 32 bytes in the order in which SHA-256 produces them.
struct Hash { words: array<u32, 8> }

// The second hash of SHA-256d: one block of the first digest, a one bit, and the length in bits.
fn hash_digest(d: array<u32, 8>) -> array<u32, 8> {
    return compress(IV, array<u32, 16>(
        d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7], 0x80000000u, 0u, 0u, 0u, 0u, 0u, 0u, 256u));
}

fn to_hash(d: array<u32, 8>) -> Hash {
    return Hash(array<u32, 8>(bswap(d[0]), bswap(d[1]), bswap(d[2]), bswap(d[3]),
                              bswap(d[4]), bswap(d[5]), bswap(d[6]), bswap(d[7])));
}
