// The digests of a batch of messages of any length: one thread, one message, block after block.
//
// The padding of SHA-256 is a one bit, zeros, and the length in bits (FIPS 180-4, section 5.1.1).
// The host ends each message with the byte 0x80 and zeros up to a multiple of four bytes, so that
// all messages begin at a word.  The zeros after that and the length are not uploaded.

struct Message {
    // Where it begins among the words.
    first: u32,
    // In bytes, few enough that their bits fit a word.
    length: u32,
}

// One for SHA-256d, zero for SHA-256.
@group(0) @binding(0) var<uniform> hash_twice: u32;
@group(0) @binding(1) var<storage, read> messages: array<Message>;
@group(0) @binding(2) var<storage, read> words: array<u32>;
// The host fills it with noise beforehand, so that a thread that does not run leaves no old answer.
@group(0) @binding(3) var<storage, read_write> digests: array<Hash>;

// A word of the padded message, whose last word has the index `last`.
fn word(message: Message, last: u32, index: u32) -> u32 {
    if index <= message.length / 4u {
        return bswap(words[message.first + index]);
    }
    return select(0u, 8u * message.length, index == last);
}

@compute @workgroup_size(GROUP)
fn main(@builtin(global_invocation_id) thread: vec3<u32>) {
    let i = thread.x;
    if i >= arrayLength(&digests) {
        return;
    }
    let m = messages[i];
    // The padding takes nine bytes or more.
    let blocks = (m.length + 8u) / 64u + 1u;
    let last = 16u * blocks - 1u;
    var state = IV;
    for (var at = 0u; at < last; at += 16u) {
        state = compress(state, array<u32, 16>(
            word(m, last, at), word(m, last, at + 1u),
            word(m, last, at + 2u), word(m, last, at + 3u),
            word(m, last, at + 4u), word(m, last, at + 5u),
            word(m, last, at + 6u), word(m, last, at + 7u),
            word(m, last, at + 8u), word(m, last, at + 9u),
            word(m, last, at + 10u), word(m, last, at + 11u),
            word(m, last, at + 12u), word(m, last, at + 13u),
            word(m, last, at + 14u), word(m, last, at + 15u)));
    }
    if hash_twice == 1u {
        state = hash_digest(state);
    }
    digests[i] = to_hash(state);
}
