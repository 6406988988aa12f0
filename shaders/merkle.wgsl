// One level of many Merkle trees: each thread hashes two nodes to their parent.
//
// How two nodes are hashed stands elsewhere: `parent_of` is merkle_bitcoin.wgsl or
// merkle_rfc6962.wgsl.  The host names the nodes, and so decides what becomes of an odd last one.
// The roots of all trees lie side by side in a stretch that the host fills with noise beforehand.
// A level never reads what it writes: parents are nodes of a later level.

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
    nodes[pair.parent] = to_hash(parent_of(pair.left, pair.right));
}
