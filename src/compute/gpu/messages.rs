//! The host side of `messages.wgsl`: messages packed into words.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::compute::{DeviceError, Noise};
use crate::primitives::{Hash256, HashFunction};

use super::kernels::{HASH_GROUP, Kernels};
use super::link::{Fetch, Gathered, Link, Pass, Sink, Source, Submitted, Upload, part};
use super::slot::Slot;

/// The most bytes by which packing makes a message longer: a byte of padding, and up to three to the
/// next word.
pub(super) const PACKING_BYTES_MAX: usize = size_of::<u32>();

/// Where a message lies, as `messages.wgsl` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Place {
    /// The index of its first word.
    first: u32,
    /// In bytes.
    length: u32,
}

/// The kernel that hashes messages.
pub(super) struct MessageKernel {
    pipeline: wgpu::ComputePipeline,
}

impl MessageKernel {
    pub(super) fn new(link: &Link, kernels: Kernels) -> Result<Self, DeviceError> {
        Ok(Self { pipeline: link.pipeline("messages", &kernels.messages())? })
    }

    pub(super) fn start(
        &self,
        link: &Link,
        slot: &mut Slot,
        function: HashFunction,
        messages: &[&[u8]],
        noise: &Noise,
    ) -> Result<Submitted, DeviceError> {
        let hash_twice = u32::from(function == HashFunction::Sha256d);
        let (places, words) = places(messages);
        let output = messages.len() * size_of::<Hash256>();
        let write = |which: Range<usize>, sink: &mut Sink<'_>| {
            messages[which].iter().for_each(|message| pack(message, sink));
        };
        let gathered = Gathered::new(messages.iter().map(|one| packed_len(one)), &write);

        // In the order of the kernel's bindings.
        let buffers = [
            link.reserve(&mut slot.function, size_of_val(&hash_twice))?,
            link.reserve(&mut slot.places, size_of_val(&places[..]))?,
            link.reserve(&mut slot.input, words)?,
            link.reserve(&mut slot.output, output)?,
        ];
        let lens = [size_of_val(&hash_twice), size_of_val(&places[..]), words, output];
        let sources = [
            Source::Bytes(bytemuck::bytes_of(&hash_twice)),
            Source::Bytes(bytemuck::cast_slice(&places)),
            Source::Gathered(gathered),
            // Which a kernel that writes nothing would leave in place.
            Source::Noise(noise, output),
        ];
        let bindings = std::array::from_fn::<_, 4, _>(|i| part(buffers[i], 0, lens[i]));
        let pass = Pass {
            pipeline: &self.pipeline,
            bindings: link.bind(&self.pipeline, bindings),
            groups: [super::count_u32(messages.len()).div_ceil(HASH_GROUP), 1],
        };
        let mut buffer = buffers.into_iter();
        let uploads = sources.map(|source| {
            let buffer = buffer.next().expect("a buffer for each source");
            Upload { buffer, offset: 0, source }
        });
        let fetch = Fetch { buffer: buffers[3], offset: 0, bytes: output };
        link.submit(&mut slot.staging, &uploads, &[pass], &fetch)
    }
}

/// The bytes of a message that is packed.
fn packed_len(message: &[u8]) -> usize {
    (message.len() + 1).next_multiple_of(size_of::<u32>())
}

/// Where each message lies, and the bytes of all.
fn places(messages: &[&[u8]]) -> (Vec<Place>, usize) {
    let mut at = 0;
    let place = |message: &&[u8]| {
        let first = super::count_u32(at / size_of::<u32>());
        at += packed_len(message);
        Place { first, length: super::count_u32(message.len()) }
    };
    (messages.iter().map(place).collect(), at)
}

/// A message is followed by a one bit, as the padding begins, and by zeros up to the next word.
fn pack(message: &[u8], sink: &mut Sink<'_>) {
    const END: [u8; PACKING_BYTES_MAX] = [0x80, 0, 0, 0];
    sink.put(message);
    sink.put(&END[..packed_len(message) - message.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_begin_at_words_and_end_with_a_one_bit() {
        let messages: [&[u8]; 4] = [b"", b"abc", b"abcd", b"a"];
        let (places, len) = places(&messages);
        let place = |first, length| Place { first, length };
        assert_eq!(places, [place(0, 0), place(1, 3), place(2, 4), place(4, 1)]);
        let mut bytes = vec![0xff; len];
        let mut sink = Sink::of(&mut bytes);
        messages.iter().for_each(|message| pack(message, &mut sink));
        assert_eq!(bytes, *b"\x80\0\0\0abc\x80abcd\x80\0\0\0a\x80\0\0");
        assert!(len <= messages.concat().len() + 4 * PACKING_BYTES_MAX);
    }
}
