// One level of many Merkle trees: each thread hashes two nodes to their parent.
//
// The host names the nodes, so an odd last node is simply named twice, and the roots of all trees
// lie side by side in a stretch that the host fills with noise beforehand.  A level never reads
// what it writes: parents are nodes of the next level.

struct Pair { left: u32, right: u32, parent: u32 }

@group(0) @binding(0) var<storage, read> pairs: array<Pair>;
@group(0) @binding(1) var<storage, read_write> nodes: array<Hash>;

fn word(node: u32, index: u32) -> u32 { return bswap(nodes[node].words[index]); }

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    if thread.x >= arrayLength(&pairs) {
        return;
    }
    let pair = pairs[thread.x];
    let l = pair.left;
    let r = pair.right;
    let state = compress(IV, array<u32, 16>(
        word(l, 0u), word(l, 1u), word(l, 2u), word(l, 3u),
        word(l, 4u), word(l, 5u), word(l, 6u), word(l, 7u),
        word(r, 0u), word(r, 1u), word(r, 2u), word(r, 3u),
        word(r, 4u), word(r, 5u), word(r, 6u), word(r, 7u)));
    // The padding of a 64-byte message is a block of its own.
    let digest = compress(state, array<u32, 16>(
        0x80000000u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 0u, 512u));
    nodes[pair.parent] = to_hash(hash_digest(digest));
}
