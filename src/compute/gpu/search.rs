//! The host side of `search.wgsl`, and the kernel text that is specialised for it.

use std::collections::VecDeque;

use wgpu::BufferUsages;

use crate::compute::reference::{IV, compress};
use crate::compute::{
    DeviceError, HIT_LIST_CAPACITY, Hits, SEARCH_GROUP, SEARCHES_AT_ONCE, SearchDispatch,
    SearchResult,
};
use crate::primitives::{Header, Target};

use super::emit::{Emitter, Function, NonceFunction, Sums, Word};
use super::kernels::{Kernels, constant};
use super::link::{Fetch, Grown, Link, Pass, Source, Staging, Submitted, Upload, part};

const SEARCH: &str = include_str!("../../../shaders/search.wgsl");
const SEARCH_ID: &str = include_str!("../../../shaders/search_id.wgsl");

/// The words of a header that its nonce does not touch.
const FIXED_WORDS: usize = Header::LEN / size_of::<u32>() - 1;

/// The words of one `Hits` of the kernel: count, lowest, and the list.
const HITS_WORDS: usize = 2 + HIT_LIST_CAPACITY;

/// The width of the grid, in workgroups. One dimension is too short for the largest dispatch; a
/// narrow grid wastes few groups on its last row, and makes small dispatches use two as well.
const GRID_WIDTH: u32 = 256;

/// `Hits` before a dispatch: none yet, and nothing is lower than the lowest.
const NO_HITS: [u32; 2] = [0, u32::MAX];

/// The kernel that searches nonces, and the buffers of the searches under way.
pub(super) struct SearchKernel {
    pipeline: wgpu::ComputePipeline,
    /// What the host computes of each job; the readable kernel computes all itself.
    specialised: Option<NonceFunction>,
    /// The buffers that no search uses.
    free: Vec<Slot>,
    /// First the search that began first.
    under_way: VecDeque<(Slot, Submitted)>,
}

/// The buffers of one search.
struct Slot {
    params: Grown,
    hits: Grown,
    staging: Staging,
}

impl Slot {
    fn new() -> Self {
        let hits = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        Self {
            params: Grown::new("search", BufferUsages::UNIFORM | BufferUsages::COPY_DST),
            hits: Grown::new("hits", hits),
            staging: Staging::new(),
        }
    }
}

/// What a search returns: the hits of the header that is mined, and those of the decoy.
type HitsOfBoth = [[u32; HITS_WORDS]; 2];

impl SearchKernel {
    pub(super) fn new(link: &Link, kernels: Kernels) -> Result<Self, DeviceError> {
        let specialised = specialised(kernels);
        let text = text_of(kernels, specialised.as_ref());
        Ok(Self {
            pipeline: link.pipeline("search", &text)?,
            specialised,
            free: (0..SEARCHES_AT_ONCE).map(|_| Slot::new()).collect(),
            under_way: VecDeque::new(),
        })
    }

    pub(super) fn start(
        &mut self,
        link: &Link,
        dispatch: &SearchDispatch,
        noise: &mut dyn FnMut(&mut [u8]),
    ) -> Result<(), DeviceError> {
        let Some(mut slot) = self.free.pop() else {
            let why = format!("{SEARCHES_AT_ONCE} searches are under way already");
            return Err(DeviceError::Refused(why));
        };
        let params = self.params(dispatch);
        let params: &[u8] = bytemuck::cast_slice(&params);
        let mut before: HitsOfBoth = [[0; HITS_WORDS]; 2];
        noise(bytemuck::cast_slice_mut(&mut before));
        for hits in &mut before {
            hits[..NO_HITS.len()].copy_from_slice(&NO_HITS);
        }
        let before: &[u8] = bytemuck::cast_slice(&before);

        let params_buffer = link.reserve(&mut slot.params, params.len())?;
        let hits_buffer = link.reserve(&mut slot.hits, before.len())?;
        let bindings = [part(params_buffer, 0, params.len()), part(hits_buffer, 0, before.len())];
        let pass = Pass {
            pipeline: &self.pipeline,
            bindings: link.bind(&self.pipeline, bindings),
            groups: grid(dispatch.work_groups() + 1),
        };
        let uploads = [
            Upload { buffer: params_buffer, offset: 0, source: Source::Bytes(params) },
            Upload { buffer: hits_buffer, offset: 0, source: Source::Bytes(before) },
        ];
        let fetch = Fetch { buffer: hits_buffer, offset: 0, bytes: before.len() };
        let submitted = link.submit(&mut slot.staging, &uploads, &[pass], &fetch)?;
        self.under_way.push_back((slot, submitted));
        Ok(())
    }

    pub(super) fn finish(&mut self, link: &Link) -> Result<SearchResult, DeviceError> {
        let Some((mut slot, submitted)) = self.under_way.pop_front() else {
            return Err(DeviceError::Refused("no search is under way".into()));
        };
        let mut hits: HitsOfBoth = [[0; HITS_WORDS]; 2];
        link.collect(&mut slot.staging, submitted, bytemuck::cast_slice_mut(&mut hits))?;
        self.free.push(slot);
        let [header, decoy] = hits.map(|words| read_hits(&words));
        Ok(SearchResult { header, decoy })
    }

    /// The uniform `search` of the kernel, word by word.
    fn params(&self, dispatch: &SearchDispatch) -> Vec<u32> {
        // Structs that hold vectors begin at multiples of 16 bytes.
        let mut words = vec![dispatch.decoy_group, 1, 0, 0];
        let jobs = [
            (&dispatch.header, dispatch.target, dispatch.first, dispatch.count),
            (&dispatch.decoy, dispatch.decoy_target, dispatch.decoy_first, SEARCH_GROUP),
        ];
        for (header, target, first, count) in jobs {
            words.extend([first, count, Target::top_word(target), 0]);
            let end = words.len() + 4 * vectors(self.specialised.as_ref());
            let fixed = fixed_words(header);
            match &self.specialised {
                Some(function) => words.extend(function.words(&inputs(header, &fixed))),
                None => words.extend(fixed),
            }
            words.resize(end, 0);
        }
        words
    }
}

/// The text of the kernel.
pub(super) fn text(kernels: Kernels) -> String {
    text_of(kernels, specialised(kernels).as_ref())
}

fn specialised(kernels: Kernels) -> Option<NonceFunction> {
    match kernels {
        Kernels::Generated => Some(id_top_word(Sums::Plain)),
        Kernels::MultiplyAdd => Some(id_top_word(Sums::Multiplied)),
        Kernels::Readable => None,
    }
}

fn text_of(kernels: Kernels, specialised: Option<&NonceFunction>) -> String {
    let id = specialised.map_or(SEARCH_ID, |function| &function.text);
    let text = [
        &kernels.prelude(SEARCH_GROUP),
        &constant("HIT_LIST_CAPACITY", super::count_u32(HIT_LIST_CAPACITY)),
        &constant("JOB_VECTORS", super::count_u32(vectors(specialised))),
        SEARCH,
        id,
    ];
    text.concat()
}

/// The number of four-word vectors that hold a job's words.
fn vectors(specialised: Option<&NonceFunction>) -> usize {
    specialised.map_or(FIXED_WORDS, NonceFunction::word_count).div_ceil(4)
}

/// The words of a header before its nonce, as SHA-256 reads them.
fn fixed_words(header: &Header) -> [u32; FIXED_WORDS] {
    let words = header.as_bytes().as_chunks::<4>().0;
    std::array::from_fn(|i| u32::from_be_bytes(words[i]))
}

/// What the specialised kernel is computed from: the midstate of the first block, then the three
/// words of the second block before the nonce.
fn inputs(header: &Header, fixed: &[u32; FIXED_WORDS]) -> [u32; 11] {
    let mut midstate = IV;
    let (blocks, _) = header.as_bytes().as_chunks::<64>();
    compress(&mut midstate, &blocks[0]);
    std::array::from_fn(|i| midstate.get(i).copied().unwrap_or_else(|| fixed[16 + i - 8]))
}

/// The function of `search_id.wgsl`, specialised.
///
/// Rounds 0 to 2 and the words w16 and w17 are the same for all nonces, as are parts of w18, w19,
/// w31 and w32: the emitter moves them to the host. The last word of the digest needs no more than
/// round 60 of the second hash, because a round renames three of the words it returns:
/// `h_63 = g_62 = f_61 = e_60`.
fn id_top_word(sums: Sums) -> NonceFunction {
    let mut emitter = Emitter::default();
    let midstate = std::array::from_fn(|i| emitter.job_input(i));
    let nonce = emitter.thread_input("bswap(nonce)");
    let mut block = [Word::Known(0); 16];
    for (index, word) in block.iter_mut().take(3).enumerate() {
        *word = emitter.job_input(8 + index);
    }
    block[3] = nonce;
    block[4] = Word::Known(0x8000_0000);
    block[15] = Word::Known(8 * 80);
    let digest = emitter.compress(midstate, block);

    let mut block = [Word::Known(0); 16];
    block[..8].copy_from_slice(&digest);
    block[8] = Word::Known(0x8000_0000);
    block[15] = Word::Known(8 * 32);
    let [.., e, _, _, _] = emitter.rounds(IV.map(Word::Known), block, 61);
    let last = emitter.sum(&[Word::Known(IV[7]), e]);
    let top = emitter.call(Function::SwapBytes, &[last]);
    NonceFunction::new(emitter, "id_top_word", top, sums)
}

/// A grid of at least `groups` workgroups; the kernel counts them row by row.
fn grid(groups: u32) -> [u32; 2] {
    [GRID_WIDTH, groups.div_ceil(GRID_WIDTH)]
}

fn read_hits(words: &[u32; HITS_WORDS]) -> Hits {
    let [count, lowest, nonces @ ..] = words;
    // The count is the device's word: it may exceed the list.
    let listed = usize::try_from(*count).map_or(nonces.len(), |count| count.min(nonces.len()));
    Hits { count: *count, lowest: *lowest, nonces: nonces[..listed].to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_takes_over_what_nonces_share() {
        let function = id_top_word(Sums::Plain);
        // The midstate; ten words of rounds 3 to 6, until the nonce has reached all of the state;
        // eight of the schedule, four of them with a round constant or with padding.
        assert_eq!(function.word_count(), 8 + 10 + 8);
        // Everything else is one let per step: no more than the two hashes have.
        let lets = function.text.matches("let").count();
        assert!(lets < 26 + 2 * (48 * 3 + 64 * 7), "{lets}");
    }
}
