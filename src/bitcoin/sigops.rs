//! Signature operations that can be counted without the outputs that are spent.

/// What a multi-signature check counts as where its number of keys is not looked at.
/// (Bitcoin Core: `MAX_PUBKEYS_PER_MULTISIG`.)
const MULTISIG_KEYS_MAX: u64 = 20;

const OP_PUSHDATA1: u8 = 0x4c;
const OP_PUSHDATA2: u8 = 0x4d;
const OP_PUSHDATA4: u8 = 0x4e;
const OP_CHECKSIG: u8 = 0xac;
const OP_CHECKSIGVERIFY: u8 = 0xad;
const OP_CHECKMULTISIG: u8 = 0xae;
const OP_CHECKMULTISIGVERIFY: u8 = 0xaf;

/// The signature operations of a script, as a block counts them. What follows a push that the script is too
/// short for is not counted.  (Bitcoin Core: `CScript::GetSigOpCount` without `fAccurate`.)
#[must_use]
pub fn legacy_sigops(script: &[u8]) -> u64 {
    let mut count = 0;
    let mut rest = script;
    while let Some((&opcode, after)) = rest.split_first() {
        let pushed = match opcode {
            OP_CHECKSIG | OP_CHECKSIGVERIFY => {
                count += 1;
                Some((0, 0))
            }
            OP_CHECKMULTISIG | OP_CHECKMULTISIGVERIFY => {
                count += MULTISIG_KEYS_MAX;
                Some((0, 0))
            }
            ..OP_PUSHDATA1 => Some((0, opcode.into())),
            OP_PUSHDATA1 => length::<1>(after),
            OP_PUSHDATA2 => length::<2>(after),
            OP_PUSHDATA4 => length::<4>(after),
            _ => Some((0, 0)),
        };
        let Some(next) = pushed.and_then(|(head, len)| after.get(head..)?.get(len..)) else {
            return count;
        };
        rest = next;
    }
    count
}

/// A length of `N` bytes, little-endian, and how many bytes it takes itself.
fn length<const N: usize>(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = [0; 4];
    length[..N].copy_from_slice(bytes.get(..N)?);
    Some((N, usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pushes_hide_what_they_push() {
        assert_eq!(legacy_sigops(&[]), 0);
        assert_eq!(legacy_sigops(&[OP_CHECKSIG, OP_CHECKMULTISIG, OP_CHECKSIGVERIFY]), 22);
        assert_eq!(legacy_sigops(&[1, OP_CHECKSIG, OP_CHECKSIG]), 1);
        assert_eq!(legacy_sigops(&[OP_PUSHDATA1, 2, 0xac, 0xac, OP_CHECKMULTISIGVERIFY]), 20);
        assert_eq!(legacy_sigops(&[OP_PUSHDATA2, 1, 0, 0xac, 0xac]), 1);
        assert_eq!(legacy_sigops(&[OP_PUSHDATA4, 1, 0, 0, 0, 0xac, 0xac]), 1);
        // Cut short: what came before counts, the rest does not.
        assert_eq!(legacy_sigops(&[0xac, 2, 0xac]), 1);
        assert_eq!(legacy_sigops(&[0xac, OP_PUSHDATA4, 0xff, 0xff, 0xff]), 1);
        assert_eq!(legacy_sigops(&[0xac, OP_PUSHDATA4, 0xff, 0xff, 0xff, 0xff, 0xac]), 1);
    }

    proptest! {
        /// Against rust-bitcoin.
        #[test]
        fn counts_are_those_of_rust_bitcoin(
            script in prop::collection::vec(
                prop_oneof![any::<u8>(), 0u8..6, 0x4bu8..0x4f, 0xabu8..0xb0], 0..40)
        ) {
            let peer = ::bitcoin::Script::from_bytes(&script);
            prop_assert_eq!(legacy_sigops(&script), peer.count_sigops_legacy() as u64);
        }
    }
}
