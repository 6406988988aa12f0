//! Crossovers of earlier runs, in the user's cache directory.
//!
//! One small JSON file for each pair of a device and a CPU. Its name follows from everything that the
//! figures depend on, so that another driver or another kernel finds no file and measures again.

use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::compute::{Backend, Cpu, DeviceInfo};
use crate::primitives::Hash256;

use super::Crossovers;

/// Where the crossovers of one device against one CPU are kept.
#[derive(Clone, Debug)]
pub struct Cache {
    /// `None` if the system has no cache directory for this user.
    path: Option<PathBuf>,
    key: Key,
}

/// What the figures depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key {
    version: String,
    device: String,
    name: String,
    driver: String,
    /// A digest of all kernels.
    kernels: String,
    cpu: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    key: Key,
    crossovers: Crossovers,
}

impl Cache {
    /// The place for this device, which runs `kernels`, and this CPU.
    #[must_use]
    pub fn new(device: &DeviceInfo, kernels: Hash256, cpu: &Cpu) -> Self {
        let folder = dirs::cache_dir().map(|folder| folder.join("blockmill"));
        Self::within(folder, device, kernels, cpu)
    }

    fn within(folder: Option<PathBuf>, device: &DeviceInfo, kernels: Hash256, cpu: &Cpu) -> Self {
        let key = Key {
            version: env!("CARGO_PKG_VERSION").into(),
            device: device.id.clone(),
            name: device.name.clone(),
            driver: device.driver.clone(),
            kernels: kernels.to_string(),
            cpu: cpu.device(),
        };
        let digest = Sha256::digest(serde_json::to_vec(&key).unwrap_or_default());
        let name = format!("crossovers-{}.json", hex::encode(&digest[..8]));
        Self { path: folder.map(|folder| folder.join(name)), key }
    }

    /// What was kept. A file that is damaged or of another key is as good as none.
    #[must_use]
    pub fn load(&self) -> Option<Crossovers> {
        let text = std::fs::read(self.path.as_ref()?).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        (kept.key == self.key && kept.crossovers.is_complete()).then_some(kept.crossovers)
    }

    /// Keeps what was measured. If that fails, the next run measures again, and nothing else is lost.
    pub fn store(&self, crossovers: &Crossovers) {
        let Some(path) = &self.path else { return };
        let Some(folder) = path.parent() else { return };
        let kept = Kept { key: self.key.clone(), crossovers: crossovers.clone() };
        // Whole or not at all: another process may read it at the same time.
        let write = || {
            std::fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&serde_json::to_vec_pretty(&kept)?)?;
            file.persist(path)?;
            Ok::<(), std::io::Error>(())
        };
        let _ = write();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Crossover, JobKind};
    use super::*;
    use crate::compute::DeviceType;

    fn info(driver: &str) -> DeviceInfo {
        DeviceInfo {
            id: "vulkan:0000:01:00.0".into(),
            name: "A card".into(),
            api: "vulkan".into(),
            kind: DeviceType::Discrete,
            driver: driver.into(),
            pci: None,
        }
    }

    fn some_crossovers() -> Crossovers {
        let rates = |job| Crossover {
            job,
            from: (job == JobKind::Headers).then_some(4096),
            batch: 1 << 17,
            device_rate: 1.5e9,
            cpu_rate: 1.0 / 3.0,
        };
        JobKind::ALL.iter().copied().map(rates).collect()
    }

    #[test]
    fn what_is_kept_comes_back_until_driver_kernels_or_cpu_change() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (Cpu::new(1).expect("a thread"), Cpu::new(2).expect("threads"));
        let kernels = [1, 2].map(|byte| Hash256::from_bytes([byte; 32]));
        let cache = |driver: &str, kernels, cpu| {
            Cache::within(Some(folder.path().join("not/there")), &info(driver), kernels, cpu)
        };
        let first = cache("1.0", kernels[0], &one);
        assert_eq!(first.load(), None);
        first.store(&some_crossovers());
        assert_eq!(first.load(), Some(some_crossovers()));
        assert_eq!(cache("1.0", kernels[0], &one).load(), Some(some_crossovers()));
        assert_eq!(cache("1.1", kernels[0], &one).load(), None);
        assert_eq!(cache("1.0", kernels[1], &one).load(), None);
        assert_eq!(cache("1.0", kernels[0], &two).load(), None);

        // Nothing but the file is left in the folder.
        let path = first.path.clone().expect("a path");
        assert_eq!(std::fs::read_dir(path.parent().expect("a folder")).expect("files").count(), 1);
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let cpu = Cpu::new(1).expect("a thread");
        let cache = |driver: &str| {
            Cache::within(Some(folder.path().into()), &info(driver), Hash256::ZERO, &cpu)
        };
        let kept = cache("1.0");
        kept.store(&some_crossovers());
        let path = kept.path.clone().expect("a path");
        let text = std::fs::read_to_string(&path).expect("text");
        // A file of another key under this name.
        let other = cache("2.0").path.expect("a path");
        std::fs::copy(&path, &other).expect("a copy");
        assert_eq!(cache("2.0").load(), None);
        for end in 0..text.len() {
            std::fs::write(&path, &text[..end]).expect("written");
            assert_eq!(kept.load(), None, "{end}");
        }
        let lacking = text.replace("headers", "something-else");
        std::fs::write(&path, lacking).expect("written");
        assert_eq!(kept.load(), None);
    }

    #[test]
    fn without_a_cache_directory_nothing_is_kept() {
        let cpu = Cpu::new(1).expect("a thread");
        let cache = Cache::within(None, &info("1.0"), Hash256::ZERO, &cpu);
        cache.store(&some_crossovers());
        assert_eq!(cache.load(), None);
    }
}
