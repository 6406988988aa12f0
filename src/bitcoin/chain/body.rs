//! A block of Bitcoin as its frame holds it.
//!
//! Previous id, height, bits and Merkle root of a header are not there: they follow from the headers before
//! and from the transactions.
//!
//! Numbers marked *v* are of varying size (see [`crate::wire`]), the others little-endian.
//!
//! | field | bytes |
//! |---|---|
//! | version | 4 |
//! | time | v, zigzag; difference to the parent's |
//! | nonce | 4 |
//! | length | v; of the transactions: all bytes of the block behind its header |
//! | transactions | up to the end: `28`, which begins a zstd frame (RFC 8878) with their bytes as they are, or 0, 1 or 2, which begin [`super::columns`] |

use rayon::prelude::*;
use zstd::bulk::Decompressor;

use crate::bitcoin::difficulty::{Required, Schedule, required_bits};
use crate::bitcoin::{Block, Params};
use crate::chain::Ancestor;
use crate::compute::TreeShape;
use crate::compute::sha256::Platform;
use crate::primitives::{Hash256, HashFunction, Header, Messages};
use crate::wire::{Fault, Malformed, Reader, put_varint, put_zigzag};

use super::columns;

/// The longest block that is read, in bytes: no sound one is longer than its weight.
const BLOCK_LEN_MAX: usize = 4_000_000;

/// How a zstd frame begins.
const ZSTD_FIRST: u8 = 0x28;

/// Packs the transactions of blocks, one block after the other.
pub(crate) struct Packer {
    platform: Platform,
    columns: columns::Packer,
}

impl Packer {
    pub(crate) fn new() -> Self {
        Self { platform: Platform::detect(), columns: columns::Packer::new() }
    }

    /// The memory that it keeps for the next block, about.
    pub(crate) fn bytes(&self) -> usize {
        self.columns.bytes()
    }

    /// What a frame holds of a block's transactions. Their ids may be known: to whoever held the root of the tree over
    /// them to the header. The same bytes give the same, whoever packs them.
    pub(crate) fn pack(&mut self, block: &[u8], ids: Option<Vec<Hash256>>) -> Vec<u8> {
        let transactions = &block[Header::LEN..];
        let columns = Block::parse(block).ok().and_then(|block| {
            let ids = ids.unwrap_or_else(|| ids_of(self.platform, &block));
            debug_assert!(ids == ids_of(self.platform, &block), "the ids of another block");
            let columns = self.columns.columns(&block, &ids)?;
            let is_worth_it = columns.len() < transactions.len();
            (is_worth_it && self.columns.lead_back(&ids, transactions)).then_some(columns)
        });
        let packed = columns.unwrap_or_else(|| self.columns.plain(transactions));
        debug_assert!(comes_back(&packed, transactions));
        packed
    }
}

/// Whether what a frame holds is read as these transactions.
fn comes_back(packed: &[u8], transactions: &[u8]) -> bool {
    let fields = Fields { version: 0, step: 0, nonce: 0, len: transactions.len(), packed };
    let mut found = Vec::new();
    unpack(&fields, &mut decompressor(), &mut found).is_ok() && found == transactions
}

/// The ids of a block's transactions.
fn ids_of(platform: Platform, block: &Block<'_>) -> Vec<Hash256> {
    let transactions = block.transactions();
    if let [only] = transactions {
        return vec![only.id()];
    }
    let mut messages = Messages::with_capacity(transactions.len(), block.stripped_len());
    transactions.iter().for_each(|each| messages.push(&each.stripped()));
    let mut ids = vec![Hash256::ZERO; transactions.len()];
    platform.hash_messages(HashFunction::Sha256d, &messages.slices(), &mut ids);
    ids
}

fn decompressor() -> Decompressor<'static> {
    Decompressor::new().expect("memory takes a decompressor")
}

/// The header that a block begins with.
pub(super) fn header_of(bytes: &[u8]) -> Header {
    let header = bytes.first_chunk().expect("a block begins with its header");
    Header::from_bytes(*header)
}

/// The payload of a block, of which `packed` are the transactions.
pub(super) fn encode(bytes: &[u8], packed: &[u8], parent_time: u32) -> Vec<u8> {
    let header = header_of(bytes);
    let mut out = Vec::with_capacity(packed.len() + 20);
    out.extend_from_slice(&header.version().to_le_bytes());
    put_zigzag(&mut out, i64::from(header.time()) - i64::from(parent_time));
    out.extend_from_slice(&header.nonce().to_le_bytes());
    put_varint(&mut out, (bytes.len() - Header::LEN) as u64);
    out.extend_from_slice(packed);
    out
}

/// How long the block is whose payload this is, if it is one.
pub(super) fn claimed_len(payload: &[u8]) -> usize {
    Fields::decode(payload).map_or(0, |fields| Header::LEN + fields.len)
}

/// The block that stands in the file as `payload` behind `parent`.
pub(super) fn decode(
    payload: &[u8],
    params: &Params,
    parent: Ancestor<'_>,
) -> Result<Vec<u8>, String> {
    Unpacked::of(payload, &mut decompressor())?.behind(params, parent)
}

/// A block without what follows from its parent.
pub(super) struct Unpacked {
    version: i32,
    /// The difference to the parent's time.
    step: i64,
    nonce: u32,
    merkle_root: Hash256,
    /// Room for the header, and the transactions.
    bytes: Vec<u8>,
}

impl Unpacked {
    /// The blocks of many payloads, on all threads.
    pub(super) fn of_all(payloads: &[Vec<u8>]) -> Vec<Result<Self, String>> {
        let one = |zstd: &mut Decompressor<'_>, payload: &Vec<u8>| Self::of(payload, zstd);
        payloads.par_iter().map_init(decompressor, one).collect()
    }

    fn of(payload: &[u8], zstd: &mut Decompressor<'_>) -> Result<Self, String> {
        let fields = Fields::decode(payload).map_err(|malformed| malformed.to_string())?;
        let mut bytes = Vec::with_capacity(Header::LEN + fields.len);
        bytes.resize(Header::LEN, 0);
        unpack(&fields, zstd, &mut bytes).map_err(|error| format!("the transactions: {error}"))?;
        let block = Block::parse(&bytes).map_err(|error| error.to_string())?;
        let ids = ids_of(Platform::detect(), &block);
        // Nothing says of a file that is damaged that there are any.
        let merkle_root =
            if ids.is_empty() { Hash256::ZERO } else { TreeShape::Bitcoin.root(&ids) };
        let Fields { version, step, nonce, .. } = fields;
        Ok(Self { version, step, nonce, merkle_root, bytes })
    }

    /// The block as it came, which follows `parent`.
    pub(super) fn behind(self, params: &Params, parent: Ancestor<'_>) -> Result<Vec<u8>, String> {
        let Self { version, step, nonce, merkle_root, mut bytes } = self;
        let time = i64::from(parent.time()).checked_add(step);
        let time = time.and_then(|time| u32::try_from(time).ok()).ok_or("a time out of range")?;
        let Required::Exactly(bits) = required_bits(params, Schedule::of(params), time, parent)
        else {
            unreachable!("the file begins at genesis")
        };
        let header = Header::from_fields(version, parent.id(), merkle_root, time, bits, nonce);
        bytes[..Header::LEN].copy_from_slice(header.as_bytes());
        Ok(bytes)
    }
}

/// Appends the transactions to `out`.
fn unpack(
    fields: &Fields<'_>,
    zstd: &mut Decompressor<'_>,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let &Fields { len, packed, .. } = fields;
    if packed.first() != Some(&ZSTD_FIRST) {
        return columns::decode(packed, len, zstd, out);
    }
    let found = zstd.decompress(packed, len).map_err(|error| error.to_string())?;
    if found.len() != len {
        return Err(format!("{} bytes, not {len}", found.len()));
    }
    out.extend_from_slice(&found);
    Ok(())
}

/// What the file holds of a block.
struct Fields<'a> {
    version: i32,
    /// The difference to the parent's time.
    step: i64,
    nonce: u32,
    /// The length of the transactions.
    len: usize,
    packed: &'a [u8],
}

impl<'a> Fields<'a> {
    fn decode(payload: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(payload);
        let version = i32::from_le_bytes(reader.array()?);
        let step = reader.zigzag()?;
        let nonce = reader.u32()?;
        let at = reader.offset();
        // Before anybody makes room for it.
        let len = usize::try_from(reader.varint()?).ok().filter(|&len| len <= BLOCK_LEN_MAX);
        let len = len.ok_or(Reader::fault_at(at, Fault::TooLarge))?;
        let packed = reader.take(reader.remaining())?;
        Ok(Self { version, step, nonce, len, packed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitcoin::{HeaderRules, Network, genesis_block};
    use crate::chain::{BlockTree, HeaderTree, Start};

    #[test]
    fn fields_come_back_and_no_cut_is_taken_for_a_block() {
        let bytes = genesis_block(Network::Regtest);
        let header = header_of(&bytes);
        let rules = HeaderRules::new(Params::of(Network::Regtest), u64::MAX);
        let tree = HeaderTree::new(rules, Start::Genesis, 0);
        let parent = tree.block(BlockTree::<HeaderRules>::START);
        let decoded = |payload: &[u8]| decode(payload, tree.rules().params(), parent);
        let plain = columns::Packer::new().plain(&bytes[Header::LEN..]);
        for packed in [Packer::new().pack(&bytes, None), plain] {
            let payload = encode(&bytes, &packed, header.time() - 600);
            let fields = Fields::decode(&payload).expect("a block");
            assert_eq!((fields.version, fields.nonce), (header.version(), header.nonce()));
            assert_eq!((fields.step, fields.len), (600, bytes.len() - Header::LEN));
            let again = decoded(&encode(&bytes, &packed, parent.time())).expect("a block");
            assert_eq!(again[Header::LEN..], bytes[Header::LEN..]);
            assert_eq!(header_of(&again).merkle_root(), header.merkle_root());
            for cut in 0..payload.len() {
                assert!(decoded(&payload[..cut]).is_err(), "cut at {cut}");
            }
            assert!(decoded(&[&payload[..], &[0]].concat()).is_err());
            // Lengths that are not that of the transactions; they stand before what was packed.
            let at = payload.len() - packed.len() - 2;
            for off in [1, 2, 0x7f] {
                let mut payload = payload.clone();
                payload[at] ^= off;
                let error = decoded(&payload).expect_err("another length");
                assert!(error.starts_with("the transactions: "), "{error}");
            }
        }
    }

    /// No sound block has none, but a file that is damaged may say so.
    #[test]
    fn a_block_without_transactions_is_read() {
        let params = Params::of(Network::Regtest);
        let tree = HeaderTree::new(HeaderRules::new(params, u64::MAX), Start::Genesis, 0);
        let parent = tree.block(BlockTree::<HeaderRules>::START);
        let bytes = [&tree.rules().params().genesis.as_bytes()[..], &[0]].concat();
        for packed in [columns::Packer::new().plain(&[0]), Packer::new().pack(&bytes, None)] {
            let payload = encode(&bytes, &packed, parent.time());
            let found = decode(&payload, tree.rules().params(), parent).expect("a block");
            assert_eq!(found[Header::LEN..], [0]);
            assert_eq!(header_of(&found).merkle_root(), Hash256::ZERO);
        }
    }

    /// What is left of the block before changes nothing.
    #[test]
    fn a_packer_that_was_used_packs_as_a_new_one() {
        let genesis = genesis_block(Network::Main);
        let (header, transaction) = genesis[..=Header::LEN].split_at(Header::LEN);
        assert_eq!(transaction, [1]);
        let transaction = &genesis[Header::LEN + 1..];
        let block = |transactions: &[&[u8]]| {
            let count = u8::try_from(transactions.len()).expect("few");
            [header, &[count], &transactions.concat()].concat()
        };
        // The amount of the last transaction is one that no column takes.
        let at = transaction.len() - 4 - 68 - 8;
        let too_much = [&transaction[..at], &[0x7f; 8], &transaction[at + 8..]].concat();
        let many = vec![transaction; 40];
        let unusual = [&many[..], &[&too_much]].concat();
        let (rows, columns, plain) = (block(&[transaction]), block(&many), block(&unusual));
        let first = |block: &[u8]| Packer::new().pack(block, None)[0];
        assert_eq!((first(&columns), first(&plain)), (0, ZSTD_FIRST));
        assert!([1, 2].contains(&first(&rows)));
        let mut packer = Packer::new();
        for block in [&columns, &rows, &plain, &columns, &plain, &rows, &columns] {
            assert_eq!(packer.pack(block, None), Packer::new().pack(block, None));
        }
    }

    #[test]
    fn a_lying_length_makes_no_room() {
        let mut payload = vec![0; 4];
        put_zigzag(&mut payload, 0);
        payload.extend([0; 4]);
        let head = payload.clone();
        put_varint(&mut payload, BLOCK_LEN_MAX as u64 + 1);
        let fault = Fields::decode(&payload).map(|fields| fields.len);
        assert_eq!(fault, Err(Reader::fault_at(head.len(), Fault::TooLarge)));
        assert_eq!(claimed_len(&payload), 0);
    }
}
