// The readable form of `id_top_word`: the most significant word of a header's id, as a
// little-endian number, with this nonce.  A job's words are the header's first 19, big-endian.

fn id_top_word(job: u32, nonce: u32) -> u32 {
    var block: array<u32, 16>;
    for (var i = 0u; i < 16u; i++) {
        block[i] = job_word(job, i);
    }
    let midstate = compress(IV, block);
    let digest = compress(midstate, array<u32, 16>(
        job_word(job, 16u), job_word(job, 17u), job_word(job, 18u), bswap(nonce),
        0x80000000u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 640u));
    return bswap(hash_digest(digest)[7]);
}
