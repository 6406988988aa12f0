//! The host side of `headers.wgsl`.

use std::ops::Range;

use crate::compute::{DeviceError, Noise};
use crate::primitives::{Hash256, Header};

use super::kernels::{HASH_GROUP, Kernels};
use super::link::{Fetch, Gathered, Link, Pass, Sink, Source, Submitted, Upload, part};
use super::slot::Slot;

/// The kernel that hashes headers.
pub(super) struct HeaderKernel {
    pipeline: wgpu::ComputePipeline,
}

impl HeaderKernel {
    pub(super) fn new(link: &Link, kernels: Kernels) -> Result<Self, DeviceError> {
        Ok(Self { pipeline: link.pipeline("headers", &kernels.headers())? })
    }

    pub(super) fn start(
        &self,
        link: &Link,
        slot: &mut Slot,
        headers: &[&Header],
        noise: &Noise,
    ) -> Result<Submitted, DeviceError> {
        let (input, output) = (headers.len() * Header::LEN, headers.len() * size_of::<Hash256>());
        let headers_buffer = link.reserve(&mut slot.input, input)?;
        let ids_buffer = link.reserve(&mut slot.output, output)?;
        let bindings = [part(headers_buffer, 0, input), part(ids_buffer, 0, output)];
        let pass = Pass {
            pipeline: &self.pipeline,
            bindings: link.bind(&self.pipeline, bindings),
            groups: [super::count_u32(headers.len()).div_ceil(HASH_GROUP), 1],
        };
        let sizes = std::iter::repeat_n(Header::LEN, headers.len());
        let write = |which: Range<usize>, sink: &mut Sink<'_>| {
            headers[which].iter().for_each(|header| sink.put(header.as_bytes()));
        };
        let gathered = Gathered::new(sizes, &write);
        let uploads = [
            Upload { buffer: headers_buffer, offset: 0, source: Source::Gathered(gathered) },
            // Which a kernel that writes nothing would leave in place.
            Upload { buffer: ids_buffer, offset: 0, source: Source::Noise(noise, output) },
        ];
        let fetch = Fetch { buffer: ids_buffer, offset: 0, bytes: output };
        link.submit(&mut slot.staging, &uploads, &[pass], &fetch)
    }
}
