//! Messages of any length, side by side. Those that fill equally many blocks are hashed in step. Of the others each
//! lane works on a message of its own, and takes the next one as soon as it is done, so that lanes stay busy
//! whatever the lengths are.

use std::cmp::Reverse;

use crate::compute::reference::IV;
use crate::primitives::HashFunction;

use super::block::{BLOCK, State, block_of_digest, digest_of};

/// Messages, and as many places for their digests.
pub(super) struct Jobs<'a> {
    pub(super) function: HashFunction,
    pub(super) messages: &'a [&'a [u8]],
    pub(super) digests: &'a mut [[u8; 32]],
}

/// Blocks that a message ends with at most: its last bytes, and its length if that needs another.
const TAIL_BLOCKS: usize = 2;

/// The bytes behind a message at least: a one bit and the length (FIPS 180-4, 5.1.1).
const PADDING_MIN: usize = 9;

/// The blocks that so many bytes fill with what is behind them.
const fn blocks(length: usize) -> usize {
    (length + PADDING_MIN).div_ceil(BLOCK)
}

/// A message that a lane works on.
struct Lane<'a> {
    /// The number of its digest.
    place: usize,
    /// Whether the digest is hashed once more.
    again: bool,
    /// Blocks that lie in the message whole.
    body: &'a [[u8; BLOCK]],
    /// The blocks of the tail that are left.
    tail_from: usize,
    tail_to: usize,
}

/// What a message ends with. It stays where it is written, and lanes are small enough to be moved.
type Tail = [[u8; BLOCK]; TAIL_BLOCKS];

/// Writes the rest of a message of so many bytes to a tail of zeros, and what is behind it (FIPS 180-4, 5.1.1).
/// Gives the number of blocks.
fn put_tail(tail: &mut Tail, rest: &[u8], len: usize) -> usize {
    let blocks = blocks(rest.len());
    let bytes = tail.as_flattened_mut();
    bytes[..rest.len()].copy_from_slice(rest);
    bytes[rest.len()] = 0x80;
    let end = blocks * BLOCK;
    bytes[end - 8..end].copy_from_slice(&(8 * len as u64).to_be_bytes());
    blocks
}

impl<'a> Lane<'a> {
    /// The state of `place` from its first block on.
    fn new(function: HashFunction, place: usize, message: &'a [u8], tail: &mut Tail) -> Self {
        let room = TAIL_BLOCKS * BLOCK - PADDING_MIN;
        // A message that the tail can hold goes there whole: one run is quicker than two.
        let body = if message.len() <= room { &[] } else { message.as_chunks::<BLOCK>().0 };
        let rest = &message[body.len() * BLOCK..];
        *tail = [[0; BLOCK]; TAIL_BLOCKS];
        let tail_to = put_tail(tail, rest, message.len());
        let again = function == HashFunction::Sha256d;
        Self { place, again, body, tail_from: 0, tail_to }
    }

    /// Blocks that lie in a row.
    fn run<'b>(&'b self, tail: &'b Tail) -> &'b [[u8; BLOCK]] {
        if self.body.is_empty() { &tail[self.tail_from..self.tail_to] } else { self.body }
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
    fn hash_again(&mut self, tail: &mut Tail, state: &mut State) {
        self.again = false;
        tail[0] = block_of_digest(state);
        (self.tail_from, self.tail_to) = (0, 1);
        *state = IV;
    }
}

impl Jobs<'_> {
    /// Hashes all messages, up to `N` at a time, in the order of their blocks, so that nearly all find others with
    /// equally many. What is left over begins with those that have most: runs are long, and none of the longest is
    /// left alone at last.
    pub(super) fn hash_by_length<const N: usize>(
        self,
        compress: impl Fn(&mut [State; N], [&[[u8; BLOCK]]; N]),
        compress_one: impl Fn(&mut State, &[[u8; BLOCK]]),
    ) {
        let mut places: Vec<usize> = (0..self.digests.len()).collect();
        places.sort_unstable_by_key(|place| Reverse(self.blocks(*place)));
        self.hash_places(&places, compress, compress_one);
    }

    /// Hashes all messages, up to `N` at a time, one after the other: quicker for two lanes.
    pub(super) fn hash<const N: usize>(
        self,
        compress: impl Fn(&mut [State; N], [&[[u8; BLOCK]]; N]),
        compress_one: impl Fn(&mut State, &[[u8; BLOCK]]),
    ) {
        let places: Vec<usize> = (0..self.digests.len()).collect();
        self.hash_places(&places, compress, compress_one);
    }

    fn blocks(&self, place: usize) -> usize {
        blocks(self.messages[place].len())
    }

    /// Hashes the messages of these places, which are all that there are.
    ///
    /// `compress` hashes runs of blocks, equally many of each lane, into the lanes' states, and
    /// `compress_one` does so for one lane, which is quicker than lanes of which few are busy.
    fn hash_places<const N: usize>(
        mut self,
        mut places: &[usize],
        compress: impl Fn(&mut [State; N], [&[[u8; BLOCK]]; N]),
        compress_one: impl Fn(&mut State, &[[u8; BLOCK]]),
    ) {
        let mut others = Vec::new();
        while let Some((first, behind)) = places.split_first() {
            let blocks = self.blocks(*first);
            let lanes = places.first_chunk::<N>();
            match lanes.filter(|lanes| lanes.iter().all(|place| self.blocks(*place) == blocks)) {
                Some(lanes) => {
                    self.hash_equal(lanes, blocks, &compress);
                    places = &places[N..];
                }
                None => {
                    others.push(*first);
                    places = behind;
                }
            }
        }
        self.hash_mixed(others.into_iter(), compress, compress_one);
    }

    /// Hashes messages that fill `blocks` each: nobody has to look which lane is free.
    fn hash_equal<const N: usize>(
        &mut self,
        places: &[usize; N],
        blocks: usize,
        compress: impl Fn(&mut [State; N], [&[[u8; BLOCK]]; N]),
    ) {
        // The blocks before the tail lie in all messages whole.
        let whole = blocks.saturating_sub(TAIL_BLOCKS);
        let mut states = [IV; N];
        if whole > 0 {
            let run = |place: usize| &self.messages[place].as_chunks::<BLOCK>().0[..whole];
            compress(&mut states, places.map(run));
        }
        let mut tails = [[[0; BLOCK]; TAIL_BLOCKS]; N];
        for (tail, place) in tails.iter_mut().zip(places) {
            let message = self.messages[*place];
            put_tail(tail, &message[whole * BLOCK..], message.len());
        }
        compress(&mut states, std::array::from_fn(|lane| &tails[lane][..blocks - whole]));
        if self.function == HashFunction::Sha256d {
            for (tail, state) in tails.iter_mut().zip(&states) {
                tail[0] = block_of_digest(state);
            }
            states = [IV; N];
            compress(&mut states, std::array::from_fn(|lane| &tails[lane][..1]));
        }
        for (place, state) in places.iter().zip(&states) {
            self.digests[*place] = digest_of(state);
        }
    }

    /// Hashes messages of different lengths: each lane takes the next when it is done.
    fn hash_mixed<const N: usize>(
        self,
        mut places: impl Iterator<Item = usize>,
        compress: impl Fn(&mut [State; N], [&[[u8; BLOCK]]; N]),
        compress_one: impl Fn(&mut State, &[[u8; BLOCK]]),
    ) {
        let Self { function, messages, digests } = self;
        let mut begin = |tail: &mut Tail| {
            let place = places.next()?;
            Some(Lane::new(function, place, messages[place], tail))
        };
        let mut states = [IV; N];
        let mut tails = [[[0; BLOCK]; TAIL_BLOCKS]; N];
        let mut lanes: [Option<Lane<'_>>; N] = std::array::from_fn(|lane| begin(&mut tails[lane]));
        loop {
            if lanes.iter().flatten().count() <= few(N) {
                break;
            }
            let mut busy =
                lanes.iter().zip(&tails).filter_map(|(lane, tail)| Some(lane.as_ref()?.run(tail)));
            // A lane without a message hashes what another one does, and nobody looks.
            let some = busy.next().unwrap_or(&[]);
            let blocks = busy.map(<[_]>::len).fold(some.len(), usize::min);
            let runs = std::array::from_fn(|lane| {
                &lanes[lane].as_ref().map_or(some, |at| at.run(&tails[lane]))[..blocks]
            });
            compress(&mut states, runs);
            for ((lane, tail), state) in lanes.iter_mut().zip(&mut tails).zip(&mut states) {
                let Some(at) = lane else { continue };
                if at.advance(blocks) {
                    continue;
                }
                if at.again {
                    at.hash_again(tail, state);
                } else {
                    digests[at.place] = digest_of(state);
                    *state = IV;
                    *lane = begin(tail);
                }
            }
        }
        for ((lane, mut tail), mut state) in lanes.into_iter().zip(tails).zip(states) {
            let Some(mut lane) = lane else { continue };
            loop {
                let run = lane.run(&tail);
                let blocks = run.len();
                compress_one(&mut state, run);
                if lane.advance(blocks) {
                    continue;
                }
                if !lane.again {
                    break;
                }
                lane.hash_again(&mut tail, &mut state);
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
