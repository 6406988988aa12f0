// Proof-of-work search: one thread, one nonce.  One workgroup somewhere among the others searches
// a decoy, whose answers the host knows.
//
// Which hash the threads compute stands elsewhere: `id_top_word` is search_id.wgsl, or generated
// with all that a job's nonces have in common computed beforehand.  The host puts
// HIT_LIST_CAPACITY and JOB_VECTORS, the length of a job's words, before this text.

struct Job {
    // Offsets from `count` on are not reported.
    first: u32,
    count: u32,
    // The most significant word of the target.
    target_top: u32,
    // What `id_top_word` needs of the header.
    words: array<vec4<u32>, JOB_VECTORS>,
}

struct Search {
    decoy_group: u32,
    // Always one, which the compiler cannot know: see `Sums` in emit.rs.
    one: u32,
    // The header that is mined, then the decoy.
    jobs: array<Job, 2>,
}

// Count and lowest stay exact when there are more hits than the list holds.
struct Hits {
    count: atomic<u32>,
    lowest: atomic<u32>,
    nonces: array<u32, HIT_LIST_CAPACITY>,
}

@group(0) @binding(0) var<uniform> search: Search;
@group(0) @binding(1) var<storage, read_write> hits: array<Hits, 2>;

fn job_word(job: u32, index: u32) -> u32 {
    return search.jobs[job].words[index / 4u][index % 4u];
}

@compute @workgroup_size(GROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let group = workgroup.y * workgroups.x + workgroup.x;
    var job = 0u;
    var offset = thread.x;
    if group == search.decoy_group {
        job = 1u;
    } else {
        offset += (group - u32(group > search.decoy_group)) * GROUP;
    }
    if offset >= search.jobs[job].count {
        return;
    }
    let nonce = search.jobs[job].first + offset;
    if id_top_word(job, nonce) > search.jobs[job].target_top {
        return;
    }
    let place = atomicAdd(&hits[job].count, 1u);
    atomicMin(&hits[job].lowest, nonce);
    if place < HIT_LIST_CAPACITY {
        hits[job].nonces[place] = nonce;
    }
}
