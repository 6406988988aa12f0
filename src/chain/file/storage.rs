//! Where the bytes of a chain file lie: on a disk, in memory, or in a test that loses some of them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// Bytes that can be read and written at any place.
pub trait Storage: Send {
    /// How many bytes there are.
    ///
    /// # Errors
    /// If the operating system does not say.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are no bytes.
    ///
    /// # Errors
    /// As [`Storage::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `bytes` from `offset` on, and says how many there were: fewer only at the end.
    ///
    /// # Errors
    /// If they cannot be read.
    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` from `offset` on.
    ///
    /// # Errors
    /// If they cannot be written; any part of them may have been.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts what lies behind `len`.
    ///
    /// # Errors
    /// If it cannot be cut.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Whether another process may write the bytes at the same time.
    fn may_change(&self) -> bool {
        false
    }

    /// Returns when all that was written would survive a loss of power.
    ///
    /// # Errors
    /// If that is not sure. What was written before may then be lost in any part.
    fn sync(&mut self) -> io::Result<()>;
}

impl<S: Storage + ?Sized> Storage for Box<S> {
    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write_at(offset, bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        (**self).truncate(len)
    }

    fn may_change(&self) -> bool {
        (**self).may_change()
    }

    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }
}

/// A storage of any kind.
pub type AnyStorage = Box<dyn Storage>;

/// A file on a disk.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    /// Whether it was opened without the lock that keeps others from writing.
    is_shared: bool,
}

impl FileStorage {
    /// Opens a file that only this process may write while it is open.
    ///
    /// # Errors
    /// If it cannot be opened, or another process has it open for writing
    /// ([`io::ErrorKind::WouldBlock`]).
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        lock(&file)?;
        Ok(Self { file, is_shared: false })
    }

    /// Opens a file for reading, whoever writes it at the same time.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open_for_reading(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::open(path)?, is_shared: true })
    }

    /// Creates a file that begins with `bytes`: all of them, or there is no file.
    ///
    /// # Errors
    /// If it cannot be written, or there is such a file.
    pub fn create(path: &Path, bytes: &[u8]) -> io::Result<Self> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        // A name that nobody has, so that nothing of anybody's is overwritten.
        let mut unfinished = tempfile::Builder::new();
        // Opened here, as an error of `tempfile_in` names a file that nobody asked for.
        let mut unfinished =
            unfinished.prefix(".chain-").suffix(".new").make_in(parent, |path| {
                OpenOptions::new().read(true).write(true).create_new(true).open(path)
            })?;
        lock(unfinished.as_file())?;
        io::Write::write_all(&mut unfinished, bytes)?;
        unfinished.as_file().sync_all()?;
        let file = unfinished.persist_noclobber(path).map_err(|error| error.error)?;
        sync_folder(parent)?;
        Ok(Self { file, is_shared: false })
    }
}

fn lock(file: &File) -> io::Result<()> {
    file.try_lock().map_err(|error| match error {
        TryLockError::Error(error) => error,
        TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
    })
}

/// Makes a new name in a folder survive a loss of power.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Folders cannot be synced here; names are kept in the file system's journal.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Storage for FileStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        crate::positioned::read_up_to(&self.file, offset, bytes)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        crate::positioned::write_all(&self.file, offset, bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn may_change(&self) -> bool {
        self.is_shared
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Bytes in memory, for tests and for those who need no file.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Storage for MemoryStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let count = bytes.len().min(self.bytes.len() - start);
        bytes[..count].copy_from_slice(&self.bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::OutOfMemory)?;
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        self.bytes[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}
