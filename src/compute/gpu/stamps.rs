//! The device's own clock, looked at between the parts of a submission.

use std::time::Duration;

use crate::compute::{DeviceError, DeviceTimes};

use super::link::lost;

/// What a device must be able to do.
pub(super) const FEATURES: wgpu::Features =
    wgpu::Features::TIMESTAMP_QUERY.union(wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS);

/// Before the upload, between it and the kernels, between these and the download, and after that.
const COUNT: u32 = 4;

const BYTES: u64 = 8 * COUNT as u64;

/// The clock's readings of one submission.
pub(super) struct Stamps {
    readings: wgpu::QuerySet,
    on_device: wgpu::Buffer,
    on_host: wgpu::Buffer,
}

impl Stamps {
    /// Of a device that has [`FEATURES`].
    pub(super) fn new(device: &wgpu::Device) -> Self {
        let buffer = |usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size: BYTES,
                usage,
                mapped_at_creation: false,
            })
        };
        Self {
            readings: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("timestamps"),
                ty: wgpu::QueryType::Timestamp,
                count: COUNT,
            }),
            on_device: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            on_host: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
        }
    }

    /// Looks at the clock.
    pub(super) fn put(&self, encoder: &mut wgpu::CommandEncoder, number: u32) {
        encoder.write_timestamp(&self.readings, number);
    }

    /// Brings all readings to the host.
    pub(super) fn fetch(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.readings, 0..COUNT, &self.on_device, 0);
        encoder.copy_buffer_to_buffer(&self.on_device, 0, &self.on_host, 0, BYTES);
        encoder.map_buffer_on_submit(&self.on_host, wgpu::MapMode::Read, .., |_| {});
    }

    /// What lies between the readings, once the submission is done. A step of the clock is `period`
    /// nanoseconds.
    pub(super) fn read(&self, period: f32) -> Result<DeviceTimes, DeviceError> {
        let view = self.on_host.get_mapped_range(..).map_err(|error| lost(&error))?;
        let mut readings = [0; COUNT as usize];
        bytemuck::cast_slice_mut(&mut readings).copy_from_slice(&view);
        drop(view);
        self.on_host.unmap();
        Ok(between(readings, period))
    }
}

fn between(readings: [u64; COUNT as usize], period: f32) -> DeviceTimes {
    // A clock that was set back tells nothing.
    let part = |number: usize| {
        let steps = readings[number + 1].saturating_sub(readings[number]);
        Duration::from_secs_f64(steps as f64 * f64::from(period.max(0.0)) / 1e9)
    };
    DeviceTimes { upload: part(0), kernel: part(1), read_back: part(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_become_parts() {
        let nanos = Duration::from_nanos;
        let times = between([1_000, 1_010, 1_510, 1_512], 2.0);
        let right = DeviceTimes { upload: nanos(20), kernel: nanos(1000), read_back: nanos(4) };
        assert_eq!(times, right);
        let set_back = between([1_000, 10, 20, 15], 1.0);
        let right = DeviceTimes { kernel: nanos(10), ..DeviceTimes::default() };
        assert_eq!(set_back, right);
    }
}
