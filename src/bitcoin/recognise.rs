//! Recognises a network by its genesis block.

use std::sync::LazyLock;

use crate::primitives::{Hash256, Header};

use super::{Network, Params};

static GENESIS: LazyLock<[(Network, Header, Hash256); Network::ALL.len()]> = LazyLock::new(|| {
    Network::ALL.map(|network| {
        let genesis = Params::of(network).genesis;
        (network, genesis, genesis.id())
    })
});

/// The network whose genesis this header is, or has as its parent.
#[must_use]
pub fn network_of(header: &Header) -> Option<Network> {
    let parent = header.parent();
    let found = if parent == Hash256::ZERO {
        GENESIS.iter().find(|(_, genesis, _)| genesis == header)
    } else {
        // Asked of every header: eight bytes tell nearly all of them apart.
        let low = parent.low_u64();
        GENESIS.iter().find(|(.., id)| id.low_u64() == low && *id == parent)
    };
    found.map(|(network, ..)| *network)
}
