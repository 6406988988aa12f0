// A node of the Merkle trees of RFC 6962, section 2.1: the SHA-256 of a one byte and its children.

// Four bytes of the two nodes: the last byte of one word and the first three of the next.
fn shifted(before: u32, word: u32) -> u32 { return (before << 24u) | (word >> 8u); }

fn parent_of(l: u32, r: u32) -> array<u32, 8> {
    let l0 = word(l, 0u); let l1 = word(l, 1u); let l2 = word(l, 2u); let l3 = word(l, 3u);
    let l4 = word(l, 4u); let l5 = word(l, 5u); let l6 = word(l, 6u); let l7 = word(l, 7u);
    let r0 = word(r, 0u); let r1 = word(r, 1u); let r2 = word(r, 2u); let r3 = word(r, 3u);
    let r4 = word(r, 4u); let r5 = word(r, 5u); let r6 = word(r, 6u); let r7 = word(r, 7u);
    let state = compress(IV, array<u32, 16>(
        shifted(1u, l0), shifted(l0, l1), shifted(l1, l2), shifted(l2, l3),
        shifted(l3, l4), shifted(l4, l5), shifted(l5, l6), shifted(l6, l7),
        shifted(l7, r0), shifted(r0, r1), shifted(r1, r2), shifted(r2, r3),
        shifted(r3, r4), shifted(r4, r5), shifted(r5, r6), shifted(r6, r7)));
    // The last byte of the 65, and the padding.
    return compress(state, array<u32, 16>(
        shifted(r7, 0x80000000u), 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 520u));
}
