//! Blocks of Bitcoin's regtest, of about a megabyte each, made and mined on the spot.
//!
//! Their transactions have the shapes that are common on the main network: payments from one to three
//! witness keys, and some of the older kind whose signature stands in the script. The outputs that they
//! spend exist nowhere, and no signature is one: level `blocks` looks at neither.

use crate::bitcoin::{Network, Params, genesis_block, put_block_record};
use crate::primitives::{Hash256, Header, merkle_root, sha256d};
use crate::wire::put_compact_size;

/// The transactions of a block stop at this size.
const BLOCK_BYTES: usize = 1_000_000;

/// The header, the count and the coinbase take no more than this.
const REST_BYTES: usize = 400;

/// The length of a signature in DER with its type, and of a public key.
const SIGNATURE_LEN: usize = 72;
const KEY_LEN: usize = 33;

/// One in so many transactions is of the older kind.
const LEGACY_EACH: usize = 5;

/// Seconds between blocks.
const SPACING_S: u32 = 600;

/// A chain of synthetic blocks on regtest's genesis.
pub struct SyntheticChain {
    /// The block file, genesis first.
    pub file: Vec<u8>,
    /// The id of the last block.
    pub tip: Hash256,
    /// How many blocks there are, genesis aside.
    pub blocks: u32,
    /// How many transactions they hold, coinbases included.
    pub transactions: usize,
}

impl SyntheticChain {
    /// A chain of `blocks` blocks of no more than about a megabyte, the same in every process.
    #[must_use]
    pub fn new(blocks: u32) -> Self {
        let magic = Network::Regtest.magic();
        let genesis = Params::of(Network::Regtest).genesis;
        let mut chain = Self { file: Vec::new(), tip: genesis.id(), blocks, transactions: 0 };
        put_block_record(&mut chain.file, magic, &genesis_block(Network::Regtest));
        for height in 1..=blocks {
            let transactions = transactions(chain.transactions);
            let coinbase = coinbase(height, &transactions);
            let ids = std::iter::once(&coinbase).chain(&transactions).map(Transaction::id);
            let root = merkle_root(&ids.collect::<Vec<_>>());
            let time = genesis.time() + height * SPACING_S;
            let header = Header::from_fields(0x2000_0000, chain.tip, root, time, genesis.bits(), 0);
            let header = super::suites::solved(header);
            chain.tip = header.id();
            let mut block = header.as_bytes().to_vec();
            put_compact_size(&mut block, 1 + transactions.len() as u64);
            block.extend_from_slice(&coinbase.whole);
            transactions.iter().for_each(|one| block.extend_from_slice(&one.whole));
            put_block_record(&mut chain.file, magic, &block);
            chain.transactions += 1 + transactions.len();
        }
        chain
    }
}

/// A transaction with its witnesses, and the bytes that its id is the hash of.
struct Transaction {
    whole: Vec<u8>,
    stripped: Vec<u8>,
}

impl Transaction {
    fn id(&self) -> Hash256 {
        sha256d(&self.stripped)
    }

    /// Of inputs (the output that each spends, with its script), the scripts of outputs with their
    /// values, and the witness of each input, if there are any.
    fn new(
        inputs: &[([u8; 36], Vec<u8>)],
        outputs: &[(u64, Vec<u8>)],
        witnesses: &[Vec<&[u8]>],
    ) -> Self {
        let mut middle = Vec::new();
        put_compact_size(&mut middle, inputs.len() as u64);
        for (spent, script) in inputs {
            middle.extend_from_slice(spent);
            put_bytes(&mut middle, script);
            middle.extend_from_slice(&[0xff; 4]);
        }
        put_compact_size(&mut middle, outputs.len() as u64);
        for (value, script) in outputs {
            middle.extend_from_slice(&value.to_le_bytes());
            put_bytes(&mut middle, script);
        }
        let (version, lock_time) = ([2, 0, 0, 0], [0; 4]);
        let stripped = [&version[..], &middle, &lock_time].concat();
        if witnesses.is_empty() {
            return Self { whole: stripped.clone(), stripped };
        }
        let mut whole = [&version[..], &[0, 1], &middle].concat();
        for items in witnesses {
            put_compact_size(&mut whole, items.len() as u64);
            items.iter().for_each(|item| put_bytes(&mut whole, item));
        }
        whole.extend_from_slice(&lock_time);
        Self { whole, stripped }
    }
}

/// As many transactions as fit a block; `first` numbers them.
fn transactions(first: usize) -> Vec<Transaction> {
    let mut all = Vec::new();
    let mut room = BLOCK_BYTES - REST_BYTES;
    for number in first.. {
        let transaction = payment(number);
        let Some(left) = room.checked_sub(transaction.whole.len()) else { break };
        room = left;
        all.push(transaction);
    }
    all
}

/// A payment to somebody, with change.
fn payment(number: usize) -> Transaction {
    let seed = |what: u8, index: usize| {
        sha256d(&[&[what][..], &index.to_le_bytes(), &number.to_le_bytes()].concat())
    };
    let is_legacy = number.is_multiple_of(LEGACY_EACH);
    // One input is the most common, then two.
    let inputs = [1, 1, 1, 2, 2, 3][usize::from(seed(b'n', 0).as_bytes()[0]) % 6];
    let signed: Vec<_> = (0..inputs)
        .map(|input| {
            let mut signature = repeat(&seed(b's', input), SIGNATURE_LEN);
            signature[0] = 0x30;
            let mut key = repeat(&seed(b'k', input), KEY_LEN);
            key[0] = 2;
            (signature, key)
        })
        .collect();
    let spent = |input: usize, script: Vec<u8>| {
        let mut place = [0; 36];
        place[..32].copy_from_slice(seed(b'i', input).as_bytes());
        (place, script)
    };
    let hash = |output: usize| repeat(&seed(b'o', output), 20);
    let value = |output| 1000 + u64::from(seed(b'v', output).as_bytes()[0]) * 12_345;
    if is_legacy {
        let script = |(signature, key): &(Vec<u8>, Vec<u8>)| {
            let mut script = Vec::new();
            put_bytes(&mut script, signature);
            put_bytes(&mut script, key);
            script
        };
        let inputs: Vec<_> =
            signed.iter().map(script).enumerate().map(|(i, s)| spent(i, s)).collect();
        // Duplicate, hash, compare with the hash that is pushed, check the signature.
        let outputs = [0, 1].map(|output| {
            (value(output), [&[0x76, 0xa9, 20][..], &hash(output), &[0x88, 0xac]].concat())
        });
        return Transaction::new(&inputs, &outputs, &[]);
    }
    let witnesses: Vec<Vec<&[u8]>> =
        signed.iter().map(|(signature, key)| vec![&signature[..], &key[..]]).collect();
    let inputs: Vec<_> = (0..inputs).map(|input| spent(input, Vec::new())).collect();
    let outputs = [0, 1].map(|output| (value(output), [&[0, 20][..], &hash(output)].concat()));
    Transaction::new(&inputs, &outputs, &witnesses)
}

/// The first transaction of a block, which commits to the witnesses of the others.
fn coinbase(height: u32, others: &[Transaction]) -> Transaction {
    let nonce = [0; 32];
    let mut ids = vec![Hash256::ZERO];
    ids.extend(others.iter().map(|transaction| sha256d(&transaction.whole)));
    let root = merkle_root(&ids);
    let commitment = sha256d(&[root.as_bytes(), &nonce[..]].concat());
    let commitment = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], commitment.as_bytes()].concat();
    let mut nowhere = [0; 36];
    nowhere[32..].fill(0xff);
    // A script has at least two bytes, which a low height alone does not take.
    let script = [&height_push(height)[..], &[0]].concat();
    let pay = [&[0, 20][..], &[7; 20]].concat();
    // Heights below 150, where regtest's subsidy is still that of the first block.
    let outputs = [(50 * 100_000_000, pay), (0, commitment)];
    Transaction::new(&[(nowhere, script)], &outputs, &[vec![&nonce]])
}

/// The height, as a script pushes numbers.
fn height_push(height: u32) -> Vec<u8> {
    if let 1..=16 = height {
        return vec![0x50 + height.to_le_bytes()[0]];
    }
    let mut number = height.to_le_bytes().to_vec();
    while number.last() == Some(&0) {
        number.pop();
    }
    // The highest bit would be a sign.
    if number.last().is_some_and(|last| last & 0x80 != 0) {
        number.push(0);
    }
    let mut push = Vec::new();
    put_bytes(&mut push, &number);
    push
}

/// The first bytes of a digest that is written again and again.
fn repeat(digest: &Hash256, len: usize) -> Vec<u8> {
    digest.as_bytes().iter().copied().cycle().take(len).collect()
}

/// Appends bytes behind their number; of fewer than 76 bytes that is also how a script pushes them.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_compact_size(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::bitcoin::consensus::deserialize;

    #[test]
    fn rust_bitcoin_finds_the_blocks_sound_and_of_a_megabyte() {
        let chain = SyntheticChain::new(18);
        let mut rest = &chain.file[..];
        let (mut parent, mut count) = (None, 0);
        for height in 0.. {
            let Some((head, left)) = rest.split_at_checked(8) else { break };
            let len = u32::from_le_bytes(*head[4..].first_chunk().expect("four")) as usize;
            let block: ::bitcoin::Block = deserialize(&left[..len]).expect("a block");
            rest = &left[len..];
            assert!(block.check_merkle_root() && block.check_witness_commitment());
            block.header.validate_pow(block.header.target()).expect("mined");
            if height > 0 {
                // It does not know how heights up to 16 are pushed.
                assert!(height <= 16 || block.bip34_block_height() == Ok(height));
                assert_eq!(Some(block.header.prev_blockhash), parent);
                assert!((980_000..=BLOCK_BYTES).contains(&len), "{len}");
                count += block.txdata.len();
            }
            parent = Some(block.block_hash());
        }
        assert_eq!(count, chain.transactions);
        assert_eq!(parent.map(|id| *AsRef::<[u8; 32]>::as_ref(&id)), Some(*chain.tip.as_bytes()));
    }

    #[test]
    fn heights_are_pushed_as_scripts_push_numbers() {
        assert_eq!(height_push(16), [0x60]);
        assert_eq!(height_push(17), [1, 17]);
        assert_eq!(height_push(128), [2, 128, 0]);
        assert_eq!(height_push(0x1234), [2, 0x34, 0x12]);
    }
}
