//! An open device: its queue, its staging buffers, and a place where its errors gather.
//!
//! Work goes through [`Link::run`]: bytes in, passes, bytes out, one submission, one wait. Where
//! several submissions are to overlap, each has its own [`Staging`], and [`Link::submit`] and
//! [`Link::collect`] are the two halves of a run.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::compute::{DeviceError, DeviceTimes, DeviceType};

use super::adapter::Adapter;
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
    pub(super) bytes: &'a [u8],
}

/// One dispatch of a kernel.
pub(super) struct Pass<'a> {
    pub(super) pipeline: &'a wgpu::ComputePipeline,
    pub(super) bindings: wgpu::BindGroup,
    /// Workgroups along the first two dimensions.
    pub(super) groups: [u32; 2],
}

/// Bytes to fetch from a buffer after the passes.
pub(super) struct Download<'a> {
    pub(super) buffer: &'a wgpu::Buffer,
    /// In bytes; a multiple of four, as is the length.
    pub(super) offset: u64,
    pub(super) bytes: &'a mut [u8],
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
    staging: Staging,
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
        let (device, queue) = pollster::block_on(adapter.handle().request_device(&descriptor))
            .map_err(|error| DeviceError::Unavailable(one_line(&error.to_string())))?;

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
        let (staging, times) = (Staging::new(), Cell::new(None));
        Ok(Self { device, queue, fault, patience, staging, times })
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

    /// Uploads, runs the passes one after the other, downloads, and waits for all of it.
    pub(super) fn run(
        &mut self,
        uploads: &[Upload<'_>],
        passes: &[Pass<'_>],
        download: Download<'_>,
    ) -> Result<(), DeviceError> {
        // An error shuts the device, and the buffers go with it.
        let mut staging = std::mem::replace(&mut self.staging, Staging::new());
        let Download { buffer, offset, bytes } = download;
        let fetch = Fetch { buffer, offset, bytes: bytes.len() };
        let submitted = self.submit(&mut staging, uploads, passes, &fetch)?;
        self.collect(&mut staging, submitted, bytes)?;
        self.staging = staging;
        Ok(())
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
            let bytes = upload.bytes.len() as u64;
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
        for (upload, offset) in uploads.iter().zip(staging_offsets(uploads)) {
            let view = staged.get_mapped_range_mut(offset..offset + upload.bytes.len() as u64);
            view.map_err(|error| lost(&error))?.copy_from_slice(upload.bytes);
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
        let end = offsets[offsets.len() - 1] + upload.bytes.len() as u64;
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
