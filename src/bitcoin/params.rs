//! The networks and what differs between them.  (Bitcoin Core: `kernel/chainparams.cpp`.)

use std::fmt;
use std::str::FromStr;

use crate::primitives::{CompactTarget, Hash256, Header, Target};

/// One of Bitcoin's public networks, or the local test network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// The main network.
    Main,
    /// The third public test network.
    Testnet3,
    /// The fourth public test network (BIP94).
    Testnet4,
    /// The default signet (BIP325).
    Signet,
    /// Local regression tests: no retargeting, the easiest target.
    Regtest,
}

impl Network {
    /// Every network.
    pub const ALL: [Self; 5] =
        [Self::Main, Self::Testnet3, Self::Testnet4, Self::Signet, Self::Regtest];

    /// The name on the command line and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Testnet3 => "testnet3",
            Self::Testnet4 => "testnet4",
            Self::Signet => "signet",
            Self::Regtest => "regtest",
        }
    }

    /// The four bytes that open every record of a block file.
    #[must_use]
    pub const fn magic(self) -> [u8; 4] {
        match self {
            Self::Main => [0xf9, 0xbe, 0xb4, 0xd9],
            Self::Testnet3 => [0x0b, 0x11, 0x09, 0x07],
            Self::Testnet4 => [0x1c, 0x16, 0x3f, 0x28],
            Self::Signet => [0x0a, 0x03, 0xcf, 0x40],
            Self::Regtest => [0xfa, 0xbf, 0xb5, 0xda],
        }
    }
}

/// The magic of the network with these parameters; that of regtest, where they are of a network that only
/// a test knows.
#[must_use]
pub fn magic_of(params: &Params) -> [u8; 4] {
    params.name.parse().unwrap_or(Network::Regtest).magic()
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that stands for nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} '{name}' (known: {known})")]
pub struct UnknownName {
    /// What kind of thing was named.
    pub what: &'static str,
    /// The name.
    pub name: String,
    /// The names there are.
    pub known: &'static str,
}

impl FromStr for Network {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|network| network.name() == name).ok_or_else(|| UnknownName {
            what: "network",
            name: name.into(),
            known: "main, testnet3, testnet4, signet, regtest",
        })
    }
}

/// From which height on each soft fork holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActivationHeights {
    /// BIP34, height in coinbase: version 2.
    pub bip34: u32,
    /// BIP66, strict DER signatures: version 3.
    pub dersig: u32,
    /// BIP65, `OP_CHECKLOCKTIMEVERIFY`: version 4.
    pub cltv: u32,
    /// BIP68, 112 and 113.
    pub csv: u32,
    /// BIP141, 143 and 147.
    pub segwit: u32,
}

impl ActivationHeights {
    /// Moves one soft fork, as Core's `-testactivationheight=NAME@HEIGHT` does on regtest.
    ///
    /// # Errors
    /// If no soft fork has that name.
    pub fn set(&mut self, name: &str, height: u32) -> Result<(), UnknownName> {
        let place = match name {
            "bip34" => &mut self.bip34,
            "dersig" => &mut self.dersig,
            "cltv" => &mut self.cltv,
            "csv" => &mut self.csv,
            "segwit" => &mut self.segwit,
            _ => {
                return Err(UnknownName {
                    what: "activation",
                    name: name.into(),
                    known: "bip34, dersig, cltv, csv, segwit",
                });
            }
        };
        *place = height;
        Ok(())
    }
}

/// The consensus parameters of a network. All fields are open, so that a test can define its own
/// network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// The name in reports.
    pub name: String,
    /// The first header.
    pub genesis: Header,
    /// The easiest target.
    pub pow_limit: Target,
    /// The wanted distance between blocks, in seconds.
    pub target_spacing_s: u32,
    /// The wanted duration of a difficulty period, in seconds.
    pub target_timespan_s: u32,
    /// Whether a block may have the easiest target when its parent is more than twice the spacing
    /// older (the 20-minute rule of the test networks).
    pub allow_min_difficulty: bool,
    /// Whether the difficulty never changes.
    pub no_retargeting: bool,
    /// BIP94: retarget from the first block of a period, and bound the time of the next one.
    pub enforce_bip94: bool,
    /// Soft forks.
    pub heights: ActivationHeights,
}

impl Params {
    /// The parameters of one of Bitcoin's networks.
    #[must_use]
    pub fn of(network: Network) -> Self {
        let mainlike = Self {
            name: network.name().into(),
            genesis: genesis(network),
            pow_limit: limit(0x1d00_ffff),
            target_spacing_s: 10 * 60,
            target_timespan_s: 14 * 24 * 60 * 60,
            allow_min_difficulty: false,
            no_retargeting: false,
            enforce_bip94: false,
            heights: ActivationHeights { bip34: 1, dersig: 1, cltv: 1, csv: 1, segwit: 1 },
        };
        match network {
            Network::Main => Self {
                heights: ActivationHeights {
                    bip34: 227_931,
                    dersig: 363_725,
                    cltv: 388_381,
                    csv: 419_328,
                    segwit: 481_824,
                },
                ..mainlike
            },
            Network::Testnet3 => Self {
                allow_min_difficulty: true,
                heights: ActivationHeights {
                    bip34: 21_111,
                    dersig: 330_776,
                    cltv: 581_885,
                    csv: 770_112,
                    segwit: 834_624,
                },
                ..mainlike
            },
            Network::Testnet4 => {
                Self { allow_min_difficulty: true, enforce_bip94: true, ..mainlike }
            }
            Network::Signet => Self { pow_limit: limit(0x1e03_77ae), ..mainlike },
            Network::Regtest => Self {
                pow_limit: limit(0x207f_ffff),
                target_timespan_s: 24 * 60 * 60,
                allow_min_difficulty: true,
                no_retargeting: true,
                heights: ActivationHeights { bip34: 1, dersig: 1, cltv: 1, csv: 1, segwit: 0 },
                ..mainlike
            },
        }
    }

    /// The number of blocks in a difficulty period: 2016 on the public networks.
    #[must_use]
    pub const fn retarget_interval(&self) -> u32 {
        self.target_timespan_s / self.target_spacing_s
    }
}

/// The limit whose low bits Core fills with ones reads the same once it is rounded to compact bits,
/// but it is the filled number that bounds a target.
fn limit(bits: u32) -> Target {
    let compact = CompactTarget::from_bits(bits);
    let target = compact.decode().expect("the networks' limits are valid bits");
    // Signet's limit is the compact number itself; the others are 2^k - 1.
    if bits == 0x1e03_77ae {
        return target;
    }
    let mut bytes = target.to_be_bytes();
    let first = bytes.iter().position(|&byte| byte != 0).expect("a limit is not zero");
    bytes[first + 1..].fill(0xff);
    Target::from_be_bytes(bytes)
}

/// The genesis header of a network.  (Bitcoin Core: `CreateGenesisBlock`.)
fn genesis(network: Network) -> Header {
    const SATOSHI_ROOT: &str = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b";
    const BIP94_ROOT: &str = "7aa0a7ae1e223414cb807e40cd57e667b718e42aaf9306db9102fe28912b7b4e";
    let (root, time, bits, nonce) = match network {
        Network::Main => (SATOSHI_ROOT, 1_231_006_505, 0x1d00_ffff, 2_083_236_893),
        Network::Testnet3 => (SATOSHI_ROOT, 1_296_688_602, 0x1d00_ffff, 414_098_458),
        Network::Testnet4 => (BIP94_ROOT, 1_714_777_860, 0x1d00_ffff, 393_743_547),
        Network::Signet => (SATOSHI_ROOT, 1_598_918_400, 0x1e03_77ae, 52_613_770),
        Network::Regtest => (SATOSHI_ROOT, 1_296_688_602, 0x207f_ffff, 2),
    };
    let root: Hash256 = root.parse().expect("the roots are 64 hex digits");
    Header::from_fields(1, Hash256::ZERO, root, time, CompactTarget::from_bits(bits), nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn genesis_ids_are_the_published_ones() {
        let published = [
            "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
            "000000000933ea01ad0ee984209779baaec3ced90fa3f408719526f8d77f4943",
            "00000000da84f2bafbbc53dee25a72ae507ff4914b867c565be350b0da8bf043",
            "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
            "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
        ];
        for (network, id) in Network::ALL.into_iter().zip(published) {
            assert_eq!(Params::of(network).genesis.id().to_string(), id, "{network}");
        }
    }

    #[test]
    fn parameters_are_those_of_rust_bitcoin() {
        use ::bitcoin::{Network as Peer, params::Params as PeerParams};
        let peers = [Peer::Bitcoin, Peer::Testnet, Peer::Testnet4, Peer::Signet, Peer::Regtest];
        for (network, peer) in Network::ALL.into_iter().zip(peers) {
            let (ours, theirs) = (Params::of(network), PeerParams::new(peer));
            assert_eq!(network.magic(), peer.magic().to_bytes(), "{network}");
            assert_eq!(ours.allow_min_difficulty, theirs.allow_min_difficulty_blocks, "{network}");
            assert_eq!(ours.no_retargeting, theirs.no_pow_retargeting, "{network}");
            assert_eq!(u64::from(ours.target_spacing_s), theirs.pow_target_spacing, "{network}");
            let header = ::bitcoin::consensus::encode::serialize(
                &::bitcoin::constants::genesis_block(peer).header,
            );
            assert_eq!(ours.genesis.as_bytes()[..], header, "{network}");
            // The limit as bits; rust-bitcoin keeps Core's filled number.
            let compact = theirs.max_attainable_target.to_compact_lossy().to_consensus();
            assert_eq!(ours.pow_limit.to_compact().to_bits(), compact, "{network}");
        }
    }
}
