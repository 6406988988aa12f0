// The ids of a batch of 80-byte headers: one thread, one SHA-256d.

struct Header { words: array<u32, 20> }

@group(0) @binding(0) var<storage, read> headers: array<Header>;
// The host fills it with noise beforehand, so that a thread that does not run leaves no old answer.
@group(0) @binding(1) var<storage, read_write> ids: array<Hash>;

fn word(header: u32, index: u32) -> u32 { return bswap(headers[header].words[index]); }

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let i = thread.x;
    if i >= arrayLength(&ids) {
        return;
    }
    let midstate = compress(IV, array<u32, 16>(
        word(i, 0u), word(i, 1u), word(i, 2u), word(i, 3u),
        word(i, 4u), word(i, 5u), word(i, 6u), word(i, 7u),
        word(i, 8u), word(i, 9u), word(i, 10u), word(i, 11u),
        word(i, 12u), word(i, 13u), word(i, 14u), word(i, 15u)));
    let digest = compress(midstate, array<u32, 16>(
        word(i, 16u), word(i, 17u), word(i, 18u), word(i, 19u),
        0x80000000u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 640u));
    ids[i] = to_hash(hash_digest(digest));
}
