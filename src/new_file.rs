//! Writing a file that is not there yet: whole, and never over another.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Who may open the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Whoever the system's defaults allow.
    Default,
    /// Its owner.
    Owner,
}

/// Creates a file with these bytes, and returns when they are on the disk. One that cannot be completed
/// is removed.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] if there is anything of that name, a link included.
pub(crate) fn write_new(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let mut file = create(path, access)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    sync_folder_of(path);
    Ok(())
}

fn create(path: &Path, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Owner {
        use std::os::unix::fs::OpenOptionsExt;
        // With the first system call, so that nobody can open it in between.
        options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    }
    options.open(path)
}

/// Makes sure that the name of a new file is on the disk too. A folder that cannot be opened for that,
/// or a file system that does not know it, is no reason to give up a file that is there.
pub(crate) fn sync_folder_of(path: &Path) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
}
