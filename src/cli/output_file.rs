//! A file that is there whole, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Bytes that go to the operating system at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// What is being written: it grows beside the file, in `FILE.part`, and takes its name when it is
/// complete. Dropped before that, it is removed. Standard output and special files (pipes, devices)
/// are written as it goes.
pub(super) struct OutputFile {
    /// As the user named it, for messages.
    name: PathBuf,
    writer: BufWriter<Box<dyn Write>>,
    part: Option<Part>,
}

/// The file under its first name; dropped before it has its own, it is removed.
struct Part {
    file: File,
    path: PathBuf,
    /// The name it shall have.
    destination: PathBuf,
    /// Whether there may be such a file already.
    force: bool,
    is_complete: bool,
}

impl OutputFile {
    /// Opens `-`, a special file, or a new file; an existing one only by `force`.
    pub(super) fn create(name: &Path, force: bool) -> Result<Self, Error> {
        if name == Path::new("-") {
            return Ok(Self::in_place(name, Box::new(io::stdout())));
        }
        let destination = match fs::metadata(name) {
            Ok(found) if found.is_dir() => {
                return Err(Error::usage(format!("{} is a directory", name.display())));
            }
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(name).map_err(unwritable(name))?;
                return Ok(Self::in_place(name, Box::new(file)));
            }
            Ok(_) if !force => return Err(exists(name)),
            // A link stays one: what it points to is replaced.
            Ok(_) => fs::canonicalize(name).map_err(unwritable(name))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => name.into(),
            Err(error) => return Err(unwritable(name)(error)),
        };
        let part = Part::create(destination, force)?;
        let file = part.file.try_clone().map_err(unwritable(name))?;
        Ok(Self { part: Some(part), ..Self::in_place(name, Box::new(file)) })
    }

    fn in_place(name: &Path, file: Box<dyn Write>) -> Self {
        let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
        Self { name: name.into(), writer, part: None }
    }

    /// Where to write.
    pub(super) fn writer(&mut self) -> &mut impl Write {
        &mut self.writer
    }

    /// The file that is there until the work is complete, if it is another than the one wished for.
    pub(super) fn part_path(&self) -> Option<PathBuf> {
        self.part.as_ref().map(|part| part.path.clone())
    }

    /// What to say when writing failed.
    pub(super) fn error(&self, source: io::Error) -> Error {
        unwritable(&self.name)(source)
    }

    /// Makes sure that all of it is on the disk, and gives it its name.
    pub(super) fn complete(mut self) -> Result<(), Error> {
        self.writer.flush().map_err(unwritable(&self.name))?;
        let Some(part) = &mut self.part else { return Ok(()) };
        // Some file systems find out only now that the disk is full.
        part.file.sync_all().map_err(unwritable(&self.name))?;
        if !part.force && part.destination.exists() {
            return Err(exists(&self.name));
        }
        fs::rename(&part.path, &part.destination).map_err(unwritable(&self.name))?;
        part.is_complete = true;
        Ok(())
    }
}

impl Part {
    fn create(destination: PathBuf, force: bool) -> Result<Self, Error> {
        let mut path = destination.clone().into_os_string();
        path.push(".part");
        let path = PathBuf::from(path);
        if force {
            // Should this fail, so will the next step, with a reason.
            let _ = fs::remove_file(&path);
        }
        match File::create_new(&path) {
            Ok(file) => Ok(Self { file, path, destination, force, is_complete: false }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::usage(format!(
                    "{} exists: another run is writing it, or was killed; --force removes it",
                    path.display()
                )))
            }
            Err(error) => Err(unwritable(&path)(error)),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_complete {
            // Nothing better can be done with an error here.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn exists(name: &Path) -> Error {
    Error::usage(format!("{} exists; --force replaces it", name.display()))
}

fn unwritable(name: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Unwritable { path: name.into(), source }
}
