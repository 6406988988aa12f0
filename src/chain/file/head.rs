//! The head of a chain file.

use crate::primitives::Hash256;
use crate::wire::Reader;

use super::{ChainFileError, PAGE, Storage};

/// The first bytes of a chain file.
pub const CHAIN_FILE_MAGIC: [u8; 8] = *b"\x89bmchn\r\n";

const FORMAT: u32 = 1;

/// Magic, format version, length, family, level, chain id, length of the parameters.
const FIXED_LEN: usize = 8 + 4 + 4 + 1 + 1 + 32 + 4;

const LEN_MAX: usize = 64 << 20;

/// How thoroughly the blocks of a file were judged, and so what it holds of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileLevel {
    /// Headers alone.
    Headers,
    /// Whole blocks, judged by all rules that need no other block's outputs.
    Blocks,
    /// Whole blocks, judged by every rule.
    Full,
}

impl FileLevel {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Blocks => "blocks",
            Self::Full => "full",
        }
    }
}

/// What a chain file is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHead {
    /// Whether it holds a ledger; otherwise it holds Bitcoin's blocks.
    pub is_ledger: bool,
    /// How thoroughly its blocks were judged.
    pub level: FileLevel,
    /// The id of genesis.
    pub chain_id: Hash256,
    /// The family's own encoding of what else defines the chain.
    pub params: Vec<u8>,
}

impl FileHead {
    /// The head of a file.
    ///
    /// # Errors
    /// If it is no chain file, or its head is damaged.
    pub fn of(storage: &impl Storage) -> Result<Self, ChainFileError> {
        Self::read(storage).map(|(head, _)| head)
    }

    /// Why a file with this head cannot take the chain of another, if it cannot.
    #[must_use]
    pub fn difference(&self, wanted: &Self) -> Option<String> {
        let family = |head: &Self| if head.is_ledger { "a ledger" } else { "Bitcoin" };
        if self.is_ledger != wanted.is_ledger {
            return Some(format!("it holds {}, and this is {}", family(self), family(wanted)));
        }
        if self.level != wanted.level {
            let (found, wanted) = (self.level.name(), wanted.level.name());
            return Some(format!("it is of level {found}, and this is of level {wanted}"));
        }
        if self.chain_id != wanted.chain_id {
            let (found, wanted) = (self.chain_id, wanted.chain_id);
            return Some(format!("it holds the chain {found}, and this is {wanted}"));
        }
        let is_same = self.params == wanted.params;
        (!is_same).then(|| "its parameters differ: heights of soft forks were moved".into())
    }

    fn len(&self) -> usize {
        (FIXED_LEN + self.params.len() + 4).next_multiple_of(PAGE)
    }

    /// Where the first frame stands.
    pub(super) const fn start(&self) -> u64 {
        ((FIXED_LEN + self.params.len() + 4).next_multiple_of(PAGE) + 2 * PAGE) as u64
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let len = self.len();
        assert!(len <= LEN_MAX, "parameters of at most 64 MiB");
        let number = |value: usize| u32::try_from(value).expect("below the limit").to_le_bytes();
        let mut out = CHAIN_FILE_MAGIC.to_vec();
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&number(len));
        out.push(u8::from(self.is_ledger));
        out.push(match self.level {
            FileLevel::Headers => 0,
            FileLevel::Blocks => 1,
            FileLevel::Full => 2,
        });
        out.extend_from_slice(self.chain_id.as_bytes());
        out.extend_from_slice(&number(self.params.len()));
        out.extend_from_slice(&self.params);
        out.resize(len - 4, 0);
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads the head of a file, and gives its bytes as well.
    pub(super) fn read(storage: &impl Storage) -> Result<(Self, Vec<u8>), ChainFileError> {
        let no = |why: &str| ChainFileError::NotAChainFile(why.into());
        let damaged = |offset: usize, what: &str| ChainFileError::Damaged {
            offset: offset as u64,
            height: 0,
            what: what.into(),
        };
        let mut fixed = [0; FIXED_LEN];
        let read = storage.read_at(0, &mut fixed)?;
        let mut reader = Reader::new(&fixed[..read]);
        if reader.array().ok() != Some(CHAIN_FILE_MAGIC) {
            return Err(no("not a chain file"));
        }
        let version = reader.u32().map_err(|_| no("a chain file that is cut short"))?;
        if version != FORMAT {
            let why = format!("a chain file of format {version}, this version knows {FORMAT}");
            return Err(ChainFileError::NotAChainFile(why));
        }
        let len = reader.u32().map_err(|_| no("a chain file that is cut short"))? as usize;
        if len > LEN_MAX || len == 0 || !len.is_multiple_of(PAGE) {
            return Err(damaged(12, "the head has an impossible length"));
        }
        let mut bytes = vec![0; len];
        if storage.read_at(0, &mut bytes)? < len {
            return Err(damaged(read, "the head is cut short"));
        }
        let (covered, checksum) = bytes.split_at(len - 4);
        if crc32c::crc32c(covered).to_le_bytes() != checksum {
            return Err(damaged(0, "the head's checksum does not match"));
        }
        let head = Self::decode(covered).ok_or_else(|| no("the head of a later version"))?;
        Ok((head, bytes))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        reader.take(16).ok()?;
        let is_ledger = match reader.u8().ok()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let level = match reader.u8().ok()? {
            0 => FileLevel::Headers,
            1 => FileLevel::Blocks,
            2 => FileLevel::Full,
            _ => return None,
        };
        let chain_id = Hash256::from_bytes(reader.array().ok()?);
        let params_len = reader.u32().ok()? as usize;
        let params = reader.take(params_len).ok()?.to_vec();
        let head = Self { is_ledger, level, chain_id, params };
        (head.len() == bytes.len() + 4).then_some(head)
    }
}
