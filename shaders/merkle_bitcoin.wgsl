// A node of Bitcoin's Merkle trees: the SHA-256d of its two children.

fn parent_of(l: u32, r: u32) -> array<u32, 8> {
    let state = compress(IV, array<u32, 16>(
        word(l, 0u), word(l, 1u), word(l, 2u), word(l, 3u),
        word(l, 4u), word(l, 5u), word(l, 6u), word(l, 7u),
        word(r, 0u), word(r, 1u), word(r, 2u), word(r, 3u),
        word(r, 4u), word(r, 5u), word(r, 6u), word(r, 7u)));
    // The padding of a 64-byte message is a block of its own.
    let digest = compress(state, array<u32, 16>(
        0x80000000u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 512u));
    return hash_digest(digest);
}
