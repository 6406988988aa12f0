//! Finding graphics hardware, naming it, and knowing how much it takes at once.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::compute::{DeviceError, DeviceInfo, DeviceType};

use super::kernels::Kernels;
use super::{Gpu, link};

/// A device that a driver offers, not yet opened.
#[derive(Clone, Debug)]
pub struct Adapter {
    info: DeviceInfo,
    kernels: Kernels,
    limits: AdapterLimits,
    handle: wgpu::Adapter,
}

/// The limits of an adapter that bound a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterLimits {
    /// The largest part of a buffer that a kernel can see, in bytes.
    pub storage_binding_bytes_max: u64,
    /// The largest buffer, in bytes.
    pub buffer_bytes_max: u64,
    /// The most workgroups along one dimension of a dispatch.
    pub groups_per_dimension_max: u32,
    /// The most threads of a workgroup.
    pub threads_per_group_max: u32,
}

/// Every adapter of every graphics API; an empty list if there is no driver.
///
/// Two APIs may offer the same hardware, each under an id of its own.
#[must_use]
pub fn adapters() -> Vec<Adapter> {
    // A driver that makes the library panic offers nothing that could be used.
    link::contain(|| Ok(enumerate())).unwrap_or_default()
}

/// Held by whoever asks a driver for adapters or opens a device: not every driver bears that on two threads.
pub(super) fn one_at_a_time() -> MutexGuard<'static, ()> {
    static OPENING: Mutex<()> = Mutex::new(());
    OPENING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The library's one entry to all drivers. It stays until the process ends: NVIDIA's driver crashes where several
/// threads open one of their own.  (gfx-rs/wgpu, issue 5930.) A driver that is replaced meanwhile may not
/// be found again through it; then the CPU goes on.
fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        // Debug builds would turn on the validation layer, which warns falsely about every shader.
        descriptor.flags = wgpu::InstanceFlags::empty().with_env();
        wgpu::Instance::new(descriptor)
    })
}

fn enumerate() -> Vec<Adapter> {
    let one_at_a_time = one_at_a_time();
    let handles = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::all()));
    drop(one_at_a_time);

    let mut seen = HashMap::new();
    let mut adapters: Vec<_> = handles.into_iter().map(Adapter::new).collect();
    for adapter in &mut adapters {
        let count = seen.entry(adapter.info.id.clone()).or_insert(0u32);
        *count += 1;
        if *count > 1 {
            adapter.info.id += &format!("#{count}");
        }
    }
    adapters
}

impl Adapter {
    fn new(handle: wgpu::Adapter) -> Self {
        let found = handle.get_info();
        let (info, kernels) = (describe(&found), kernels_for(&found));
        let limits = handle.limits();
        let limits = AdapterLimits {
            storage_binding_bytes_max: limits.max_storage_buffer_binding_size,
            buffer_bytes_max: limits.max_buffer_size,
            groups_per_dimension_max: limits.max_compute_workgroups_per_dimension,
            threads_per_group_max: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x),
        };
        Self { info, kernels, limits, handle }
    }

    /// What the adapter calls itself.
    #[must_use]
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// How much it takes at once.
    #[must_use]
    pub fn limits(&self) -> AdapterLimits {
        self.limits
    }

    /// The kernels that are best for it.
    #[must_use]
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// Opens the device with the kernels that are best for it.
    ///
    /// # Errors
    /// If the driver refuses, or the device is too small for the kernels.
    pub fn open(&self) -> Result<Gpu, DeviceError> {
        self.open_with(self.kernels)
    }

    /// Opens the device with kernels of one's choice, so that a test can compare them.
    ///
    /// # Errors
    /// As for [`Adapter::open`].
    pub fn open_with(&self, kernels: Kernels) -> Result<Gpu, DeviceError> {
        Gpu::new(self.clone(), kernels)
    }

    pub(super) fn handle(&self) -> &wgpu::Adapter {
        &self.handle
    }
}

fn kernels_for(info: &wgpu::AdapterInfo) -> Kernels {
    // As the PCI-SIG has it.
    const NVIDIA: u32 = 0x10de;
    if info.vendor == NVIDIA { Kernels::MultiplyAdd } else { Kernels::Generated }
}

fn describe(info: &wgpu::AdapterInfo) -> DeviceInfo {
    let api = info.backend.to_str().to_owned();
    let pci = Some(info.device_pci_bus_id.clone()).filter(|address| !address.is_empty());
    // Two equal cards share a name but not a PCI address.
    let place = pci.clone().unwrap_or_else(|| slug(&info.name));
    DeviceInfo {
        id: format!("{api}:{place}"),
        name: info.name.clone(),
        api,
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => DeviceType::Discrete,
            wgpu::DeviceType::IntegratedGpu => DeviceType::Integrated,
            wgpu::DeviceType::VirtualGpu => DeviceType::Virtual,
            wgpu::DeviceType::Cpu => DeviceType::Software,
            wgpu::DeviceType::Other => DeviceType::Other,
        },
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        pci,
    }
}

/// A name as part of an id: lower-case words joined by hyphens. What stands in parentheses is left
/// out: compiler versions, which would make the id change with an update, and trademark signs.
fn slug(name: &str) -> String {
    let mut depth = 0u32;
    let mut slug = String::new();
    for character in name.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            _ if character.is_ascii_alphanumeric() => slug.push(character.to_ascii_lowercase()),
            _ if slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    let slug = slug.trim_matches('-');
    if slug.is_empty() { "unnamed".to_owned() } else { slug.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_and_stable() {
        assert_eq!(slug("llvmpipe (LLVM 15.0.6, 256 bits)"), "llvmpipe");
        assert_eq!(slug("Intel(R) UHD Graphics 620"), "intel-uhd-graphics-620");
        assert_eq!(slug("Apple M2 Pro"), "apple-m2-pro");
        assert_eq!(slug("(?)"), "unnamed");
    }
}
