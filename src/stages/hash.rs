//! The second stage: the id of every header, computed once, on the backend.

use crate::bitcoin::Network;
use crate::compute::Backend;
use crate::dump::Batch;
use crate::primitives::{Hash256, Header};
use crate::verdict::Position;

/// Headers with their ids. Only this stage makes them.
pub(super) struct HashedBatch {
    batch: Batch,
    ids: Vec<Hash256>,
}

/// `confirm`: whether every id must be the CPU's, as of what is kept.
pub(super) fn hash(batch: Batch, backend: &dyn Backend, confirm: bool) -> HashedBatch {
    let mut ids = vec![Hash256::ZERO; batch.headers.len()];
    backend.header_ids(&batch.headers, &mut ids);
    if confirm {
        backend.confirm_header_ids(&batch.headers, &mut ids);
    }
    HashedBatch { batch, ids }
}

impl HashedBatch {
    /// The networks that magics name; see [`Batch::magics`].
    pub(super) fn magics(&self) -> &[(usize, Network)] {
        &self.batch.magics
    }

    /// The headers in the order of the input, each with its id and its place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Header, &Hash256, Position)> {
        let places = self.batch.positions.iter().copied();
        let hashed = self.batch.headers.iter().zip(&self.ids).zip(places);
        hashed.map(|((header, id), position)| (header, id, position))
    }

    /// The headers in the order of the input.
    pub(super) fn headers(&self) -> &[Header] {
        &self.batch.headers
    }

    /// The id of each.
    pub(super) fn ids(&self) -> &[Hash256] {
        &self.ids
    }

    /// The place of each.
    pub(super) fn positions(&self) -> &[Position] {
        &self.batch.positions
    }
}
