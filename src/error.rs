//! What keeps blockmill from judging. A rejected block is a verdict, not an error.

use std::io;
use std::path::PathBuf;

use crate::chain::file::ChainFileError;
use crate::keys::KeyError;

/// A failure, by what the user can do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The question cannot be answered as it was put.
    #[error("{message}")]
    Usage {
        /// What is wrong with it, and what would be right.
        message: String,
        /// The place in the input that shows it.
        place: Option<Place>,
    },
    /// The operating system or a decompressor gave up.
    #[error("{place}: {source}")]
    Unreadable {
        /// Where reading ended.
        place: Place,
        /// Why.
        source: io::Error,
    },
    /// The input is nothing that blockmill reads.
    #[error("{place}: {why}")]
    NotRecognised {
        /// Where it differs from everything known.
        place: Place,
        /// What it looks like instead.
        why: String,
    },
    /// Nothing in the input connects to the chain.
    #[error("{message}")]
    NothingConnects {
        /// What might help.
        message: String,
        /// The first block of the input.
        place: Option<Place>,
    },
    /// A device or a resource was asked for and is not there.
    #[error("{0}")]
    Device(String),
    /// A secret key could not be had, nor kept.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file, of the key or of its passphrase, as the user named it.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
    /// There is no room for a temporary file.
    #[error("cannot keep a decompressed or piped dump in a temporary file: {0}")]
    Spool(io::Error),
    /// The report could not be written.
    #[error("cannot write the report: {0}")]
    Output(io::Error),
    /// A file that was asked for could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// The file as the user named it; `-` is standard output.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A chain file cannot be used.
    #[error("{}: {source}", path.display())]
    ChainFile {
        /// The file as the user named it.
        path: PathBuf,
        /// Why.
        source: ChainFileError,
    },
    /// The user ended the work.
    #[error("interrupted")]
    Interrupted,
}

/// A byte of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as the user named it; `-` is standard input.
    pub path: PathBuf,
    /// The offset in the decompressed file.
    pub offset: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, offset {}", self.path.display(), self.offset)
    }
}

impl Error {
    /// A stable name for the report.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Usage { .. } => "usage",
            Self::Unreadable { .. } => "unreadable",
            Self::NotRecognised { .. } => "not-recognised",
            Self::NothingConnects { .. } => "nothing-connects",
            Self::Device(_) => "device",
            Self::Key { .. } => "key",
            Self::Spool(_) => "spool",
            Self::Output(_) => "output",
            Self::Unwritable { .. } => "unwritable",
            Self::ChainFile { source, .. } => match source {
                ChainFileError::Damaged { .. } => "damaged-chain-file",
                ChainFileError::NotAChainFile(_) => "not-recognised",
                ChainFileError::Locked => "locked",
                ChainFileError::Io(_) | ChainFileError::Poisoned => "chain-file",
            },
            Self::Interrupted => "interrupted",
        }
    }

    /// The exit code of the process.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Unreadable { .. } | Self::NotRecognised { .. } | Self::NothingConnects { .. } => {
                3
            }
            Self::Device(_)
            | Self::Key { .. }
            | Self::Spool(_)
            | Self::Output(_)
            | Self::Unwritable { .. } => 5,
            Self::ChainFile { source, .. } => match source {
                ChainFileError::Damaged { .. } | ChainFileError::NotAChainFile(_) => 3,
                ChainFileError::Io(_) | ChainFileError::Locked | ChainFileError::Poisoned => 5,
            },
            Self::Interrupted => 130,
        }
    }

    /// The place in the input, if there is one.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::ChainFile { path, source: ChainFileError::Damaged { offset, .. } } => {
                Some(Place { path: path.clone(), offset: *offset })
            }
            Self::ChainFile { path, .. } => Some(Place { path: path.clone(), offset: 0 }),
            Self::Unreadable { place, .. } | Self::NotRecognised { place, .. } => {
                Some(place.clone())
            }
            Self::Usage { place, .. } | Self::NothingConnects { place, .. } => place.clone(),
            Self::Device(_)
            | Self::Key { .. }
            | Self::Spool(_)
            | Self::Output(_)
            | Self::Unwritable { .. }
            | Self::Interrupted => None,
        }
    }

    /// The same, and what else is wrong with the input.
    pub(crate) fn and(self, other: &str) -> Self {
        match self {
            Self::NotRecognised { place, why } => {
                Self::NotRecognised { place, why: format!("{why}; {other}") }
            }
            Self::Unreadable { place, source } => {
                let source = io::Error::new(source.kind(), format!("{source}; {other}"));
                Self::Unreadable { place, source }
            }
            first => first,
        }
    }

    /// What is wrong, where the place is known anyway.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Unreadable { source, .. } => source.to_string(),
            Self::NotRecognised { why, .. } => why.clone(),
            other => other.to_string(),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), place: None }
    }
}
