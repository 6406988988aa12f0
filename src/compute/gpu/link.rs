//! An open device: its queue, its staging buffers, and a place where its errors gather.
//!
//! Work is bytes in, passes, bytes out: one submission by [`Link::submit`], and one wait in
//! [`Link::collect`]. Several submissions overlap, each with a [`Staging`] of its own.

use std::cell::Cell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rayon::prelude::*;

use crate::compute::{DeviceError, DeviceTimes, DeviceType, Noise};

use super::adapter::{self, Adapter};
use super::stamps::{self, Stamps};

/// How long to wait for hardware. One dispatch takes well under a second.
const PATIENCE_HARDWARE: Duration = Duration::from_secs(10);

/// How long to wait for a software driver, whose first dispatch compiles the kernel.
const PATIENCE_SOFTWARE: Duration = Duration::from_secs(60);

/// The smallest buffer worth keeping, in bytes.
const BUFFER_BYTES_MIN: u64 = 4096;

/// Runs `work` and turns a panic of the graphics library into an error.
///
/// wgpu reports most failures, but panics when a wait finds the device lost, and on some failures
/// while a queue is dropped.
pub(super) fn contain<T>(work: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("the graphics library panicked");
        Err(DeviceError::Lost(one_line(message)))
    })
}

/// The first error that the library reported and nobody has taken yet.
#[derive(Clone, Default)]
struct Fault(Arc<Mutex<Option<DeviceError>>>);

impl Fault {
    fn report(&self, error: DeviceError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn check(&self) -> Result<(), DeviceError> {
        let fault = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        fault.map_or(Ok(()), Err)
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn device_error(error: &wgpu::Error) -> DeviceError {
    match error {
        wgpu::Error::OutOfMemory { .. } => DeviceError::OutOfMemory,
        other => DeviceError::Refused(one_line(&other.to_string())),
    }
}

/// Bytes to put into a buffer before the passes.
pub(super) struct Upload<'a> {
    pub(super) buffer: &'a wgpu::Buffer,
    /// In bytes; a multiple of four, as is the length.
    pub(super) offset: u64,
    pub(super) source: Source<'a>,
}

/// Where bytes come from that are to go to the device. They are written to the memory from which the device
/// fetches them, without a copy in between.
pub(super) enum Source<'a> {
    Bytes(&'a [u8]),
    /// So many bytes of noise.
    Noise(&'a Noise, usize),
    Gathered(Gathered<'a>),
}

/// The bytes of each thing in a list, one after the other, in pieces of several things that threads write
/// side by side.
pub(super) struct Gathered<'a> {
    /// Of each piece its last thing, excluded, and the end of its bytes.
    ends: Vec<(usize, usize)>,
    write: &'a (dyn Fn(Range<usize>, &mut Sink<'_>) + Sync),
}

/// The bytes of a piece: few enough to occupy all threads, and enough to be worth handing over.
const PIECE_BYTES: usize = 64 << 10;

/// Where mapped memory may begin.
#[expect(clippy::cast_possible_truncation, reason = "it is eight")]
const MAP_ALIGNMENT: usize = wgpu::MAP_ALIGNMENT as usize;

const _: () = assert!(PIECE_BYTES.is_multiple_of(MAP_ALIGNMENT));

/// Pieces that one thread writes before others could have begun.
const PIECES_ALONE: usize = 4;

impl<'a> Gathered<'a> {
    /// Things that take so many bytes each; `write` puts those in a range into the sink.
    pub(super) fn new(
        sizes: impl Iterator<Item = usize>,
        write: &'a (dyn Fn(Range<usize>, &mut Sink<'_>) + Sync),
    ) -> Self {
        let (mut ends, mut begin, mut at, mut count) = (Vec::new(), 0, 0, 0);
        for size in sizes {
            (at, count) = (at + size, count + 1);
            if at - begin >= PIECE_BYTES && at.is_multiple_of(MAP_ALIGNMENT) {
                ends.push((count, at));
                begin = at;
            }
        }
        if at > begin {
            ends.push((count, at));
        }
        Self { ends, write }
    }
}

impl Source<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Noise(_, len) => *len,
            Self::Gathered(Gathered { ends, .. }) => ends.last().map_or(0, |(_, end)| *end),
        }
    }

    /// What is to be written, in pieces, each with its length.
    fn pieces(&self) -> Vec<(usize, Content<'_>)> {
        match self {
            Self::Bytes(bytes) => {
                let chunks = bytes.chunks(PIECE_BYTES);
                chunks.map(|chunk| (chunk.len(), Content::Bytes(chunk))).collect()
            }
            Self::Noise(noise, len) => {
                let begins = (0..*len).step_by(PIECE_BYTES).enumerate();
                let piece =
                    |(number, at)| (PIECE_BYTES.min(len - at), Content::Noise(noise, number));
                begins.map(piece).collect()
            }
            Self::Gathered(Gathered { ends, write }) => {
                let mut before = (0, 0);
                let piece = |&(last, end): &(usize, usize)| {
                    let (first, at) = std::mem::replace(&mut before, (last, end));
                    (end - at, Content::Things(*write, first..last))
                };
                ends.iter().map(piece).collect()
            }
        }
    }
}

/// What is written to a piece of memory.
enum Content<'a> {
    Bytes(&'a [u8]),
    /// The piece of the noise with this number.
    Noise(&'a Noise, usize),
    Things(&'a (dyn Fn(Range<usize>, &mut Sink<'_>) + Sync), Range<usize>),
}

impl Content<'_> {
    fn write(self, mut view: wgpu::BufferViewMut) {
        let len = view.len();
        let mut sink = Sink(view.slice(..));
        match self {
            Self::Bytes(bytes) => sink.put(bytes),
            Self::Noise(noise, number) => {
                let mut bytes = vec![0; len];
                noise.fill(number, &mut bytes);
                sink.put(&bytes);
            }
            Self::Things(write, things) => write(things, &mut sink),
        }
    }
}

/// What is left of a piece of memory that the device reads: it may be uncached, and is written once, in
/// order.
pub(super) struct Sink<'m>(wgpu::WriteOnly<'m, [u8]>);

impl<'m> Sink<'m> {
    #[cfg(test)]
    pub(super) fn of(bytes: &'m mut [u8]) -> Self {
        Self(wgpu::WriteOnly::from(bytes))
    }

    /// Writes the next bytes.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let (mut these, rest) = std::mem::take(&mut self.0).split_at(bytes.len());
        these.copy_from_slice(bytes);
        self.0 = rest;
    }
}

/// One dispatch of a kernel.
pub(super) struct Pass<'a> {
    pub(super) pipeline: &'a wgpu::ComputePipeline,
    pub(super) bindings: wgpu::BindGroup,
    /// Workgroups along the first two dimensions.
    pub(super) groups: [u32; 2],
}

/// Which bytes of a buffer to fetch after the passes.
pub(super) struct Fetch<'a> {
    pub(super) buffer: &'a wgpu::Buffer,
    /// In bytes; a multiple of four, as is the length.
    pub(super) offset: u64,
    pub(super) bytes: usize,
}

/// Where the bytes of one submission wait on their way to the device and back.
pub(super) struct Staging {
    /// Mapped for writing whenever no work is under way.
    upload: Option<wgpu::Buffer>,
    download: Grown,
    /// Made once the times are asked for.
    stamps: Option<Stamps>,
}

impl Staging {
    pub(super) fn new() -> Self {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        Self { upload: None, download: Grown::new("download", usage), stamps: None }
    }
}

/// Work that was submitted and whose result was not fetched yet.
pub(super) struct Submitted {
    submission: wgpu::SubmissionIndex,
    staged: wgpu::Buffer,
    result: wgpu::Buffer,
    bytes: u64,
    /// How long the host took to stage it, if somebody asked.
    staging_took: Option<Duration>,
}

/// An open device.
pub(super) struct Link {
    pub(super) device: wgpu::Device,
    queue: wgpu::Queue,
    fault: Fault,
    pub(super) patience: Duration,
    /// How long all parts took since somebody asked; `None` if nobody did.
    times: Cell<Option<DeviceTimes>>,
}

impl Link {
    pub(super) fn open(adapter: &Adapter) -> Result<Self, DeviceError> {
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("blockmill"),
            // The defaults would cap bindings far below what the hardware takes.
            required_limits: adapter.handle().limits(),
            required_features: adapter.handle().features() & stamps::FEATURES,
            ..Default::default()
        };
        let opened = {
            let _guard = adapter::one_at_a_time();
            pollster::block_on(adapter.handle().request_device(&descriptor))
        };
        let (device, queue) =
            opened.map_err(|error| DeviceError::Unavailable(one_line(&error.to_string())))?;

        // Errors reach the handler at once and in order, so one sink that is read after each step
        // sees what nested error scopes would; without a handler they would panic.
        let fault = Fault::default();
        let sink = fault.clone();
        device.on_uncaptured_error(Arc::new(move |error| sink.report(device_error(&error))));
        let sink = fault.clone();
        device.set_device_lost_callback(move |reason, message| {
            sink.report(DeviceError::Lost(one_line(&format!("{reason:?} {message}"))));
        });

        let patience = match adapter.info().kind {
            DeviceType::Software => PATIENCE_SOFTWARE,
            _ => PATIENCE_HARDWARE,
        };
        Ok(Self { device, queue, fault, patience, times: Cell::new(None) })
    }

    /// As [`crate::compute::Device::take_times`].
    pub(super) fn take_times(&self) -> Option<DeviceTimes> {
        let can_tell = self.device.features().contains(stamps::FEATURES);
        can_tell.then(|| self.times.replace(Some(DeviceTimes::default())).unwrap_or_default())
    }

    /// Compiles a kernel; its entry point is `main`, its bindings are those that the text names.
    pub(super) fn pipeline(
        &self,
        label: &str,
        text: &str,
    ) -> Result<wgpu::ComputePipeline, DeviceError> {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some(label),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(label),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        self.fault.check()?;
        Ok(pipeline)
    }

    /// Binds the parts of buffers, in order, to the kernel's bindings from zero on.
    pub(super) fn bind<const N: usize>(
        &self,
        pipeline: &wgpu::ComputePipeline,
        parts: [wgpu::BufferBinding<'_>; N],
    ) -> wgpu::BindGroup {
        let mut binding = 0;
        let entries = parts.map(|part| {
            binding += 1;
            wgpu::BindGroupEntry {
                binding: binding - 1,
                resource: wgpu::BindingResource::Buffer(part),
            }
        });
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }

    /// Makes sure that `buffer` holds at least `bytes`.
    pub(super) fn reserve<'a>(
        &self,
        buffer: &'a mut Grown,
        bytes: usize,
    ) -> Result<&'a wgpu::Buffer, DeviceError> {
        let buffer = buffer.reserve(&self.device, bytes);
        self.fault.check()?;
        Ok(buffer)
    }

    /// Uploads, runs the passes one after the other, and downloads, without waiting for it.
    ///
    /// A staging serves one submission at a time: the next one comes after [`Link::collect`].
    pub(super) fn submit(
        &self,
        staging: &mut Staging,
        uploads: &[Upload<'_>],
        passes: &[Pass<'_>],
        fetch: &Fetch<'_>,
    ) -> Result<Submitted, DeviceError> {
        let watched = self.times.get().map(|_| Instant::now());
        let staged = self.stage(staging, uploads)?;
        let staging_took = watched.map(|start| start.elapsed());
        let stamps = &mut staging.stamps;
        let stamps = watched.map(|_| &*stamps.get_or_insert_with(|| Stamps::new(&self.device)));
        let result = staging.download.reserve(&self.device, fetch.bytes).clone();
        let result_bytes = fetch.bytes as u64;

        let mut encoder = self.device.create_command_encoder(&Default::default());
        let stamp = |encoder: &mut _, number| {
            if let Some(stamps) = stamps {
                stamps.put(encoder, number);
            }
        };
        stamp(&mut encoder, 0);
        for (upload, staged_at) in uploads.iter().zip(staging_offsets(uploads)) {
            let bytes = upload.source.len() as u64;
            encoder.copy_buffer_to_buffer(&staged, staged_at, upload.buffer, upload.offset, bytes);
        }
        stamp(&mut encoder, 1);
        {
            let mut compute = encoder.begin_compute_pass(&Default::default());
            for pass in passes {
                compute.set_pipeline(pass.pipeline);
                compute.set_bind_group(0, &pass.bindings, &[]);
                compute.dispatch_workgroups(pass.groups[0], pass.groups[1], 1);
            }
        }
        stamp(&mut encoder, 2);
        encoder.copy_buffer_to_buffer(fetch.buffer, fetch.offset, &result, 0, result_bytes);
        stamp(&mut encoder, 3);
        if let Some(stamps) = stamps {
            stamps.fetch(&mut encoder);
        }
        // Mapping that fails shows when the ranges are asked for; the callbacks have no news.
        encoder.map_buffer_on_submit(&result, wgpu::MapMode::Read, ..result_bytes, |_| {});
        encoder.map_buffer_on_submit(&staged, wgpu::MapMode::Write, .., |_| {});
        let commands = encoder.finish();
        self.fault.check()?;

        let submission = self.queue.submit([commands]);
        self.fault.check()?;
        Ok(Submitted { submission, staged, result, bytes: result_bytes, staging_took })
    }

    /// Waits for submitted work and fetches its result, which has the length that was asked for.
    pub(super) fn collect(
        &self,
        staging: &mut Staging,
        submitted: Submitted,
        bytes: &mut [u8],
    ) -> Result<(), DeviceError> {
        let Submitted { submission, staged, result, bytes: result_bytes, staging_took } = submitted;
        self.wait(submission)?;
        let start = Instant::now();
        let view = result.get_mapped_range(..result_bytes).map_err(|error| lost(&error))?;
        // Mapped memory may be uncached: it is read once, in order.
        bytes.copy_from_slice(&view);
        drop(view);
        result.unmap();
        staging.upload = Some(staged);
        if let Some((took, stamps)) = staging_took.zip(staging.stamps.as_ref()) {
            let copying = start.elapsed();
            let mut times = stamps.read(self.queue.get_timestamp_period())?;
            times.upload += took;
            times.read_back += copying;
            times += self.times.get().unwrap_or_default();
            self.times.set(Some(times));
        }
        self.fault.check()
    }

    fn wait(&self, submission: wgpu::SubmissionIndex) -> Result<(), DeviceError> {
        let waited = self.device.poll(wgpu::PollType::Wait {
            submission_index: Some(submission),
            timeout: Some(self.patience),
        });
        self.fault.check()?;
        match waited {
            Ok(_) => Ok(()),
            Err(wgpu::PollError::Timeout) => {
                Err(DeviceError::TimedOut { seconds: self.patience.as_secs() })
            }
            Err(error) => Err(lost(&error)),
        }
    }

    /// Copies the bytes of all uploads, one after the other, into the staging buffer, and takes it:
    /// whoever maps it again puts it back.
    fn stage(
        &self,
        staging: &mut Staging,
        uploads: &[Upload<'_>],
    ) -> Result<wgpu::Buffer, DeviceError> {
        let bytes = staging_offsets(uploads)[uploads.len()];
        let kept = staging.upload.take().filter(|buffer| buffer.size() >= bytes);
        let staged = kept.unwrap_or_else(|| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("upload"),
                size: grown(bytes),
                usage: wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: true,
            })
        });
        self.fault.check()?;
        let mut pieces = Vec::new();
        for (upload, mut at) in uploads.iter().zip(staging_offsets(uploads)) {
            for (len, content) in upload.source.pieces() {
                let view = staged.get_mapped_range_mut(at..at + len as u64);
                pieces.push((view.map_err(|error| lost(&error))?, content));
                at += len as u64;
            }
        }
        if pieces.len() <= PIECES_ALONE {
            pieces.into_iter().for_each(|(view, content)| content.write(view));
        } else {
            pieces.into_par_iter().for_each(|(view, content)| content.write(view));
        }
        staged.unmap();
        self.fault.check()?;
        Ok(staged)
    }
}

/// Where each upload lies in the staging buffer, and where they end: a mapped range begins at a
/// multiple of eight bytes.
fn staging_offsets(uploads: &[Upload<'_>]) -> Vec<u64> {
    let mut offsets = vec![0];
    for upload in uploads {
        let end = offsets[offsets.len() - 1] + upload.source.len() as u64;
        offsets.push(end.next_multiple_of(wgpu::MAP_ALIGNMENT));
    }
    offsets
}

/// A wait or a mapping that fails: commands for a lost device vanish without an error of their own,
/// and are missed only here.
pub(super) fn lost(error: &impl std::error::Error) -> DeviceError {
    DeviceError::Lost(one_line(&error.to_string()))
}

/// The size of a buffer that is to hold `bytes`: doubled, so that it seldom grows again.
fn grown(bytes: u64) -> u64 {
    bytes.next_power_of_two().max(BUFFER_BYTES_MIN)
}

/// A buffer that is kept between calls and replaced by a larger one when need be.
pub(super) struct Grown {
    label: &'static str,
    usage: wgpu::BufferUsages,
    buffer: Option<wgpu::Buffer>,
}

impl Grown {
    pub(super) fn new(label: &'static str, usage: wgpu::BufferUsages) -> Self {
        Self { label, usage, buffer: None }
    }

    pub(super) fn reserve(&mut self, device: &wgpu::Device, bytes: usize) -> &wgpu::Buffer {
        let bytes = bytes as u64;
        // The old one goes before the new one comes.
        let kept = self.buffer.take().filter(|buffer| buffer.size() >= bytes);
        self.buffer.insert(kept.unwrap_or_else(|| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(self.label),
                size: grown(bytes),
                usage: self.usage,
                mapped_at_creation: false,
            })
        }))
    }
}

/// The first `bytes` of a buffer from `offset` on, as a binding.
pub(super) fn part(buffer: &wgpu::Buffer, offset: usize, bytes: usize) -> wgpu::BufferBinding<'_> {
    wgpu::BufferBinding { buffer, offset: offset as u64, size: wgpu::BufferSize::new(bytes as u64) }
}
