//! The host side of `messages.wgsl`: messages packed into words.

use bytemuck::{Pod, Zeroable};
use wgpu::BufferUsages;

use crate::compute::DeviceError;
use crate::primitives::{Hash256, HashFunction, Messages};

use super::kernels::{HASH_GROUP, Kernels};
use super::link::{Download, Grown, Link, Pass, Upload, part};

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

/// The kernel that hashes messages, and its buffers.
pub(super) struct MessageKernel {
    pipeline: wgpu::ComputePipeline,
    hash_twice: Grown,
    places: Grown,
    words: Grown,
    digests: Grown,
}

impl MessageKernel {
    pub(super) fn new(link: &Link, kernels: Kernels) -> Result<Self, DeviceError> {
        let storage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        let uniform = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
        Ok(Self {
            pipeline: link.pipeline("messages", &kernels.messages())?,
            hash_twice: Grown::new("hash twice", uniform),
            places: Grown::new("places", storage),
            words: Grown::new("words", storage),
            digests: Grown::new("digests", storage | BufferUsages::COPY_SRC),
        })
    }

    pub(super) fn run(
        &mut self,
        link: &mut Link,
        function: HashFunction,
        messages: &Messages,
        digests: &mut [Hash256],
    ) -> Result<(), DeviceError> {
        let hash_twice = u32::from(function == HashFunction::Sha256d);
        let (places, words) = pack(messages);
        let output: &mut [u8] = bytemuck::cast_slice_mut(digests);
        // The digests arrive as noise, which a kernel that writes nothing would leave in place.
        let noise = output.to_vec();

        // In the order of the kernel's bindings.
        let buffers = [
            link.reserve(&mut self.hash_twice, size_of_val(&hash_twice))?,
            link.reserve(&mut self.places, size_of_val(&places[..]))?,
            link.reserve(&mut self.words, words.len())?,
            link.reserve(&mut self.digests, noise.len())?,
        ];
        let inputs: [&[u8]; 4] =
            [bytemuck::bytes_of(&hash_twice), bytemuck::cast_slice(&places), &words, &noise];
        let bindings = std::array::from_fn::<_, 4, _>(|i| part(buffers[i], 0, inputs[i].len()));
        let uploads: [_; 4] =
            std::array::from_fn(|i| Upload { buffer: buffers[i], offset: 0, bytes: inputs[i] });
        let pass = Pass {
            pipeline: &self.pipeline,
            bindings: link.bind(&self.pipeline, bindings),
            groups: [super::count_u32(messages.len()).div_ceil(HASH_GROUP), 1],
        };
        let download = Download { buffer: buffers[3], offset: 0, bytes: output };
        link.run(&uploads, &[pass], download)
    }
}

/// Where each message lies, and the bytes of all: each is followed by a one bit, as the padding
/// begins, and by zeros up to the next word.
fn pack(messages: &Messages) -> (Vec<Place>, Vec<u8>) {
    let bytes_max = messages.bytes().len() + messages.len() * PACKING_BYTES_MAX;
    let (mut places, mut bytes) =
        (Vec::with_capacity(messages.len()), Vec::with_capacity(bytes_max));
    for message in messages.iter() {
        places.push(Place {
            first: super::count_u32(bytes.len() / size_of::<u32>()),
            length: super::count_u32(message.len()),
        });
        bytes.extend_from_slice(message);
        bytes.push(0x80);
        bytes.resize(bytes.len().next_multiple_of(size_of::<u32>()), 0);
    }
    (places, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_begin_at_words_and_end_with_a_one_bit() {
        let mut messages = Messages::new();
        let contents: [&[u8]; 4] = [b"", b"abc", b"abcd", b"a"];
        contents.iter().for_each(|content| messages.push(&[content]));
        let (places, bytes) = pack(&messages);
        let place = |first, length| Place { first, length };
        assert_eq!(places, [place(0, 0), place(1, 3), place(2, 4), place(4, 1)]);
        assert_eq!(bytes, *b"\x80\0\0\0abc\x80abcd\x80\0\0\0a\x80\0\0");
        assert!(bytes.len() <= messages.bytes().len() + 4 * PACKING_BYTES_MAX);
    }
}
