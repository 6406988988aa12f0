//! The host side of `messages.wgsl`: messages packed into words.

use std::ops::Range;
use std::slice;

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
        let messages: Vec<Parts<'_>> = messages.iter().map(slice::from_ref).collect();
        let input = Input::new(function, &messages);
        let write = |which: Range<usize>, sink: &mut Sink<'_>| input.write(which, sink);
        let output = messages.len() * size_of::<Hash256>();
        let buffers = InputBuffers {
            function: link.reserve(&mut slot.function, size_of::<u32>())?,
            places: link.reserve(&mut slot.places, size_of_val(&input.places[..]))?,
            words: link.reserve(&mut slot.input, input.bytes)?,
        };
        let digests = link.reserve(&mut slot.output, output)?;
        let pass = self.pass(link, &input, &buffers, part(digests, 0, output));
        let [function, places, words] = input.uploads(&buffers, &write);
        // Which a kernel that writes nothing would leave in place.
        let noise = Upload { buffer: digests, offset: 0, source: Source::Noise(noise, output) };
        let fetch = Fetch { buffer: digests, offset: 0, bytes: output };
        link.submit(&mut slot.staging, &[function, places, words, noise], &[pass], &fetch)
    }

    /// The pass that hashes all messages of an input.
    pub(super) fn pass(
        &self,
        link: &Link,
        input: &Input<'_>,
        buffers: &InputBuffers<'_>,
        digests: wgpu::BufferBinding<'_>,
    ) -> Pass<'_> {
        // In the order of the kernel's bindings.
        let bindings = [
            part(buffers.function, 0, size_of::<u32>()),
            part(buffers.places, 0, size_of_val(&input.places[..])),
            part(buffers.words, 0, input.bytes),
            digests,
        ];
        Pass {
            pipeline: &self.pipeline,
            bindings: link.bind(&self.pipeline, bindings),
            groups: [super::count_u32(input.messages.len()).div_ceil(HASH_GROUP), 1],
        }
    }
}

/// The parts of a message.
pub(super) type Parts<'a> = &'a [&'a [u8]];

/// What the kernel reads.
pub(super) struct Input<'a> {
    messages: &'a [Parts<'a>],
    hash_twice: u32,
    pub(super) places: Vec<Place>,
    /// The bytes of all messages as they are packed.
    pub(super) bytes: usize,
}

/// Where it lies on the device.
pub(super) struct InputBuffers<'a> {
    pub(super) function: &'a wgpu::Buffer,
    pub(super) places: &'a wgpu::Buffer,
    pub(super) words: &'a wgpu::Buffer,
}

impl<'a> Input<'a> {
    pub(super) fn new(function: HashFunction, messages: &'a [Parts<'a>]) -> Self {
        let hash_twice = u32::from(function == HashFunction::Sha256d);
        let (places, bytes) = places(messages);
        Self { messages, hash_twice, places, bytes }
    }

    /// Packs the messages in a range.
    pub(super) fn write(&self, which: Range<usize>, sink: &mut Sink<'_>) {
        self.messages[which].iter().for_each(|message| pack(message, sink));
    }

    /// `write` is [`Input::write`].
    pub(super) fn uploads<'u>(
        &'u self,
        buffers: &InputBuffers<'u>,
        write: &'u (dyn Fn(Range<usize>, &mut Sink<'_>) + Sync),
    ) -> [Upload<'u>; 3] {
        let lens = self.messages.iter().map(|message| packed_len(length(message)));
        let sources = [
            (buffers.function, Source::Bytes(bytemuck::bytes_of(&self.hash_twice))),
            (buffers.places, Source::Bytes(bytemuck::cast_slice(&self.places))),
            (buffers.words, Source::Gathered(Gathered::new(lens, write))),
        ];
        sources.map(|(buffer, source)| Upload { buffer, offset: 0, source })
    }
}

/// The bytes of a message.
fn length(parts: Parts<'_>) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// The bytes of a message of this length that is packed.
const fn packed_len(length: usize) -> usize {
    (length + 1).next_multiple_of(size_of::<u32>())
}

/// Where each message lies, and the bytes of all.
fn places(messages: &[Parts<'_>]) -> (Vec<Place>, usize) {
    let mut at = 0;
    let place = |message: &Parts<'_>| {
        let (first, length) = (super::count_u32(at / size_of::<u32>()), length(message));
        at += packed_len(length);
        Place { first, length: super::count_u32(length) }
    };
    (messages.iter().map(place).collect(), at)
}

/// A message is followed by a one bit, as the padding begins, and by zeros up to the next word.
fn pack(message: Parts<'_>, sink: &mut Sink<'_>) {
    const END: [u8; PACKING_BYTES_MAX] = [0x80, 0, 0, 0];
    message.iter().for_each(|part| sink.put(part));
    let length = length(message);
    sink.put(&END[..packed_len(length) - length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_begin_at_words_and_end_with_a_one_bit() {
        let messages: [Parts<'_>; 4] = [&[], &[b"a", b"", b"bc"], &[b"abc", b"d"], &[b"a"]];
        let (places, len) = places(&messages);
        let place = |first, length| Place { first, length };
        assert_eq!(places, [place(0, 0), place(1, 3), place(2, 4), place(4, 1)]);
        let mut bytes = vec![0xff; len];
        let mut sink = Sink::of(&mut bytes);
        messages.iter().for_each(|message| pack(message, &mut sink));
        assert_eq!(bytes, *b"\x80\0\0\0abc\x80abcd\x80\0\0\0a\x80\0\0");
        assert!(len <= messages.concat().concat().len() + 4 * PACKING_BYTES_MAX);
    }
}
