//! The host side of `headers.wgsl`.

use wgpu::BufferUsages;

use crate::compute::DeviceError;
use crate::primitives::{Hash256, Header};

use super::kernels::{HASH_GROUP, Kernels};
use super::link::{Download, Grown, Link, Pass, Upload, part};

/// The kernel that hashes headers, and its buffers.
pub(super) struct HeaderKernel {
    pipeline: wgpu::ComputePipeline,
    headers: Grown,
    ids: Grown,
}

impl HeaderKernel {
    pub(super) fn new(link: &Link, kernels: Kernels) -> Result<Self, DeviceError> {
        let storage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
        Ok(Self {
            pipeline: link.pipeline("headers", &kernels.headers())?,
            headers: Grown::new("headers", storage),
            ids: Grown::new("ids", storage | BufferUsages::COPY_SRC),
        })
    }

    pub(super) fn run(
        &mut self,
        link: &mut Link,
        headers: &[Header],
        ids: &mut [Hash256],
    ) -> Result<(), DeviceError> {
        let input: &[u8] = bytemuck::cast_slice(headers);
        let output: &mut [u8] = bytemuck::cast_slice_mut(ids);
        let headers_buffer = link.reserve(&mut self.headers, input.len())?;
        let ids_buffer = link.reserve(&mut self.ids, output.len())?;

        let bindings = [part(headers_buffer, 0, input.len()), part(ids_buffer, 0, output.len())];
        let pass = Pass {
            pipeline: &self.pipeline,
            bindings: link.bind(&self.pipeline, bindings),
            groups: [super::count_u32(headers.len()).div_ceil(HASH_GROUP), 1],
        };
        // The ids arrive as noise, which a kernel that writes nothing would leave in place.
        let noise = output.to_vec();
        let uploads = [
            Upload { buffer: headers_buffer, offset: 0, bytes: input },
            Upload { buffer: ids_buffer, offset: 0, bytes: &noise },
        ];
        link.run(&uploads, &[pass], Download { buffer: ids_buffer, offset: 0, bytes: output })
    }
}
