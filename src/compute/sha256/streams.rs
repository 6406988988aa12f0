//! Messages of any length, side by side: each lane works on a message of its own, and takes the next
//! one as soon as it is done, so that lanes stay busy whatever the lengths are.

use crate::compute::reference::IV;
use crate::primitives::{HashFunction, Messages};

use super::block::{BLOCK, State, block_of_digest, digest_of};

/// Messages of a batch, from one of them on, and where their digests go.
pub(super) struct Jobs<'a> {
    pub(super) function: HashFunction,
    pub(super) messages: &'a Messages,
    /// The message whose digest is the first.
    pub(super) first: usize,
    pub(super) digests: &'a mut [[u8; 32]],
}

/// Blocks that a message ends with at most: its last bytes, and its length if that needs another.
const TAIL_BLOCKS: usize = 2;

/// The bytes behind a message at least: a one bit and the length (FIPS 180-4, 5.1.1).
const PADDING_MIN: usize = 9;

/// A message that a lane works on.
struct Lane<'a> {
    /// The number of its digest.
    place: usize,
    /// Whether the digest is hashed once more.
    again: bool,
    /// Blocks that lie in the message whole.
    body: &'a [[u8; BLOCK]],
    tail: [[u8; BLOCK]; TAIL_BLOCKS],
    /// The blocks of the tail that are left.
    tail_from: usize,
    tail_to: usize,
}

impl<'a> Lane<'a> {
    /// The state of `place` from its first block on.
    fn new(function: HashFunction, place: usize, message: &'a [u8]) -> Self {
        let room = TAIL_BLOCKS * BLOCK - PADDING_MIN;
        // A message that the tail can hold goes there whole: one run is quicker than two.
        let body = if message.len() <= room { &[] } else { message.as_chunks::<BLOCK>().0 };
        let rest = &message[body.len() * BLOCK..];
        let mut tail = [[0; BLOCK]; TAIL_BLOCKS];
        let tail_to = (rest.len() + PADDING_MIN).div_ceil(BLOCK);
        let bytes = tail.as_flattened_mut();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        let end = tail_to * BLOCK;
        bytes[end - 8..end].copy_from_slice(&(8 * message.len() as u64).to_be_bytes());
        let again = function == HashFunction::Sha256d;
        Self { place, again, body, tail, tail_from: 0, tail_to }
    }

    /// Blocks that lie in a row.
    fn run(&self) -> &[[u8; BLOCK]] {
        if self.body.is_empty() { &self.tail[self.tail_from..self.tail_to] } else { self.body }
    }

    /// Goes on behind `blocks` of the run. `false` if that was the end of the message.
    fn advance(&mut self, blocks: usize) -> bool {
        if self.body.is_empty() {
            self.tail_from += blocks;
        } else {
            self.body = &self.body[blocks..];
        }
        self.tail_from < self.tail_to
    }

    /// Begins the second hash of two.
    fn hash_again(&mut self, state: &mut State) {
        self.again = false;
        self.tail[0] = block_of_digest(state);
        (self.tail_from, self.tail_to) = (0, 1);
        *state = IV;
    }
}

impl Jobs<'_> {
    /// Hashes all messages, up to `N` at a time.
    ///
    /// `compress` hashes runs of blocks, equally many of each lane, into the lanes' states, and
    /// `compress_one` does so for one lane, which is quicker than lanes of which few are busy.
    pub(super) fn hash<const N: usize>(
        self,
        compress: impl Fn(&mut [State; N], [&[[u8; BLOCK]]; N]),
        compress_one: impl Fn(&mut State, &[[u8; BLOCK]]),
    ) {
        let Self { function, messages, first, digests } = self;
        let mut places = 0..digests.len();
        let mut begin = || {
            let place = places.next()?;
            Some(Lane::new(function, place, messages.get(first + place)))
        };
        let mut states = [IV; N];
        let mut lanes: [Option<Lane<'_>>; N] = std::array::from_fn(|_| begin());
        loop {
            let busy = || lanes.iter().flatten();
            if busy().count() <= few(N) {
                break;
            }
            // A lane without a message hashes what another one does, and nobody looks.
            let some = busy().next().map_or(&[][..], Lane::run);
            let run = |lane: &Option<Lane<'_>>| lane.as_ref().map_or(some.len(), |l| l.run().len());
            let blocks = lanes.iter().map(run).min().unwrap_or(0);
            let runs =
                std::array::from_fn(|lane| &lanes[lane].as_ref().map_or(some, Lane::run)[..blocks]);
            compress(&mut states, runs);
            for (lane, state) in lanes.iter_mut().zip(&mut states) {
                let Some(at) = lane else { continue };
                if at.advance(blocks) {
                    continue;
                }
                if at.again {
                    at.hash_again(state);
                } else {
                    digests[at.place] = digest_of(state);
                    *state = IV;
                    *lane = begin();
                }
            }
        }
        for (lane, mut state) in lanes.into_iter().zip(states) {
            let Some(mut lane) = lane else { continue };
            loop {
                let blocks = lane.run().len();
                compress_one(&mut state, lane.run());
                if lane.advance(blocks) {
                    continue;
                }
                if !lane.again {
                    break;
                }
                lane.hash_again(&mut state);
            }
            digests[lane.place] = digest_of(&state);
        }
    }
}

/// How many busy lanes of `lanes` are too few for all of them.
const fn few(lanes: usize) -> usize {
    let few = lanes.div_ceil(4);
    if few < lanes { few } else { lanes - 1 }
}
