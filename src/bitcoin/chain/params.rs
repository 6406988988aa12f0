//! The parameters in the head of Bitcoin's chain files.
//!
//! | field | bytes |
//! |---|---|
//! | name of the network | v length, bytes |
//! | heights from which BIP34, BIP66, BIP65, BIP68 and BIP141 hold | 5 × 4; regtest can move them |

use crate::bitcoin::{ActivationHeights, Network, Params};
use crate::chain::file::{ChainFileError, FileHead, FileLevel};
use crate::wire::{Fault, Malformed, Reader, put_prefixed};

/// The longest name of a network that is read.
const NAME_LEN_MAX: usize = 64;

/// The head of a file for the network with these parameters.
pub(super) fn file_head(params: &Params, level: FileLevel) -> FileHead {
    FileHead {
        is_ledger: false,
        level,
        chain_id: params.genesis.id(),
        params: encode_params(params),
    }
}

/// The network that the head of a chain file names, which must be of this level.
pub(super) fn params_at_level(head: &FileHead, level: FileLevel) -> Result<Params, ChainFileError> {
    if head.level != level && !head.is_ledger {
        let (found, level) = (head.level.name(), level.name());
        let why = format!("a chain file of level {found}, not {level}");
        return Err(ChainFileError::NotAChainFile(why));
    }
    params_of_head(head)
}

/// The network that the head of a chain file names.
///
/// # Errors
/// If it is another family's, or names no network that is known.
pub fn params_of_head(head: &FileHead) -> Result<Params, ChainFileError> {
    let no = |why: String| Err(ChainFileError::NotAChainFile(why));
    if head.is_ledger {
        return no("a chain file of a ledger, not of Bitcoin".into());
    }
    let params = match decode_params(&head.params) {
        Ok(params) => params,
        Err(why) => return no(format!("the chain file's parameters: {why}")),
    };
    if params.genesis.id() != head.chain_id {
        return no("the chain file's chain id is not the genesis of its network".into());
    }
    Ok(params)
}

pub(super) fn encode_params(params: &Params) -> Vec<u8> {
    let mut out = Vec::new();
    put_prefixed(&mut out, params.name.as_bytes());
    let ActivationHeights { bip34, dersig, cltv, csv, segwit } = params.heights;
    for height in [bip34, dersig, cltv, csv, segwit] {
        out.extend_from_slice(&height.to_le_bytes());
    }
    out
}

fn decode_params(bytes: &[u8]) -> Result<Params, Malformed> {
    let mut reader = Reader::new(bytes);
    let name = reader.prefixed(NAME_LEN_MAX)?;
    let network = std::str::from_utf8(name).ok().and_then(|name| name.parse::<Network>().ok());
    let unknown = Reader::fault_at(0, Fault::NotAllowed("no network of this name is known"));
    let mut params = Params::of(network.ok_or(unknown)?);
    let heights_at = reader.offset();
    let heights = ActivationHeights {
        bip34: reader.u32()?,
        dersig: reader.u32()?,
        cltv: reader.u32()?,
        csv: reader.u32()?,
        segwit: reader.u32()?,
    };
    reader.finish()?;
    if params.heights != heights && params.name != Network::Regtest.name() {
        let fault = Fault::NotAllowed("soft forks are moved, and this is not regtest");
        return Err(Reader::fault_at(heights_at, fault));
    }
    params.heights = heights;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_back_and_only_regtest_moves_forks() {
        for network in Network::ALL {
            let mut params = Params::of(network);
            let encoded = encode_params(&params);
            assert_eq!(decode_params(&encoded), Ok(params.clone()));
            for cut in 0..encoded.len() {
                assert!(decode_params(&encoded[..cut]).is_err());
            }
            params.heights.csv += 1;
            let moved = decode_params(&encode_params(&params));
            assert_eq!(moved.is_ok(), network == Network::Regtest, "{network}");
        }
    }
}
