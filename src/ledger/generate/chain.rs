//! Signed transactions to blocks: rewarded, linked, mined and written.

use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroU32;

use crate::ledger::asert::{Anchor, Asert};
use crate::ledger::{Block, Params, RULES_VERSION, Transaction, put_record};
use crate::primitives::{Hash256, Header, rfc6962};

use super::plan::{Draft, MAIN};
use super::sign::{Signed, Signers};
use super::{GenerateError, SPACING_S};

/// The last block of a branch.
#[derive(Clone, Copy)]
struct Tip {
    id: Hash256,
    height: u32,
    time: u32,
}

/// The branches, as far as they are written.
pub(super) struct Chain<'p> {
    params: &'p Params,
    asert: Asert,
    /// The last two blocks of the main branch, because a side branch may begin beside the last.
    main: [Tip; 2],
    sides: BTreeMap<u32, Tip>,
    /// The record being written; kept for its room.
    record: Vec<u8>,
    block: Vec<u8>,
}

impl<'p> Chain<'p> {
    pub(super) fn new(params: &'p Params) -> Self {
        let genesis = params.genesis();
        let parent_time_s = i64::from(genesis.time()) - i64::from(SPACING_S);
        let anchor = Anchor { bits: genesis.bits(), parent_time_s, height: 0 };
        let half_life_s = u32::try_from(params.half_life_s()).ok().and_then(NonZeroU32::new);
        let half_life_s = half_life_s.expect("checked with the parameters");
        let limit = params.pow_limit().decode().expect("checked with the parameters");
        let asert = Asert::new(SPACING_S, half_life_s, limit, anchor);
        let asert = asert.expect("genesis is at the limit");
        let tip = Tip { id: genesis.id(), height: 0, time: genesis.time() };
        let (record, block) = (Vec::new(), Vec::new());
        Self { params, asert, main: [tip; 2], sides: BTreeMap::new(), record, block }
    }

    /// The id of the main branch's last block.
    pub(super) fn tip(&self) -> Hash256 {
        self.main[1].id
    }

    /// Completes a block and writes its record, whose length is returned.
    pub(super) fn append(
        &mut self,
        draft: &Draft,
        signed: &[Signed],
        signers: &Signers<'_>,
        out: &mut impl Write,
    ) -> Result<u64, GenerateError> {
        let height = u64::from(draft.height);
        let fees: u64 = signed.iter().map(|part| part.fees).sum();
        let reward = Transaction::Reward {
            height,
            to: signers.account(draft.rewarded),
            amount: self.params.subsidy(height) + fees,
            extranonce: 0,
        };
        let mut reward_leaf = Vec::new();
        reward.encode(&mut reward_leaf);
        let mut hashes = vec![rfc6962::leaf_hash(&reward_leaf)];
        hashes.extend(signed.iter().flat_map(|part| &part.hashes));
        let header = self.mine(draft, rfc6962::root(&hashes));
        self.advance(draft, &header);

        let mut leaves: Vec<&[u8]> = vec![&reward_leaf];
        leaves.extend(signed.iter().flat_map(|part| part.leaves.iter()));
        self.block.clear();
        Block::encode_leaves(&header, &leaves, &mut self.block);
        self.record.clear();
        put_record(&mut self.record, &self.block);
        out.write_all(&self.record)?;
        Ok(self.record.len() as u64)
    }

    /// The header with its lowest winning nonce.
    fn mine(&self, draft: &Draft, merkle_root: Hash256) -> Header {
        let parent = self.parent_of(draft);
        let bits = self.asert.next_bits(u64::from(parent.height), i64::from(parent.time));
        let target = bits.decode().expect("the schedule gives targets alone");
        let header =
            Header::from_fields(RULES_VERSION, parent.id, merkle_root, draft.time, bits, 0);
        let mut headers = (0..=u32::MAX).map(|nonce| header.with_nonce(nonce));
        let solved = headers.find(|header| target.is_met_by(&header.id()));
        solved.expect("on schedule, every second nonce wins")
    }

    fn parent_of(&self, draft: &Draft) -> Tip {
        if draft.branch == MAIN {
            return self.main[1];
        }
        let fork = || self.main.iter().find(|tip| tip.height + 1 == draft.height);
        let parent = self.sides.get(&draft.branch).or_else(fork);
        *parent.expect("side branches begin below or beside the main branch's last block")
    }

    fn advance(&mut self, draft: &Draft, header: &Header) {
        let tip = Tip { id: header.id(), height: draft.height, time: draft.time };
        if draft.branch == MAIN {
            self.main = [self.main[1], tip];
        } else if draft.is_last {
            self.sides.remove(&draft.branch);
        } else {
            self.sides.insert(draft.branch, tip);
        }
    }
}
