//! Single verdicts against rule E1 written out slowly, and batches against single verdicts.

mod common;

use blockmill::signature::{BadSignature, InvalidSignature, PublicKey, verify_batch};
use common::signatures::{
    Company, Signed, cofactorless_holds, expected, good_company, judged, judged_in_pools, pools,
    sign, sign_with_torsion, slowly_valid,
};
use curve25519_dalek::constants::EIGHT_TORSION;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn verdict(signed: &Signed) -> Result<(), InvalidSignature> {
    let verdict = signed.verdict();
    assert_eq!(verdict.is_ok(), slowly_valid(signed), "{signed:?}");
    verdict
}

/// The verdict alone and among good signatures.
fn among_good(signed: &Signed) -> Result<(), InvalidSignature> {
    Company::with(std::slice::from_ref(signed)).verdict_on(signed)
}

/// Every torsion point added to A and to R: only the cofactored equation holds for most of these,
/// and a batch without the cofactor would give each of them the answer of its company.
#[test]
fn torsion_in_key_and_commitment_changes_nothing() {
    let mut mixed = Vec::new();
    for of_key in 0..8 {
        for of_r in 0..8 {
            mixed.push(sign_with_torsion(7, 7, of_key, of_r));
        }
    }
    let cofactorless = mixed.iter().filter(|signed| cofactorless_holds(signed)).count();
    assert!(cofactorless < 24, "{cofactorless} of 64: about eight");
    let company = Company::with(&mixed);
    for signed in &mixed {
        assert_eq!(company.verdict_on(signed), Ok(()));
    }
    assert_eq!(judged_in_pools(&mixed.iter().collect::<Vec<_>>(), &pools()), Ok(()));
}

/// R of small order, s = k a: the equation holds, and E1 allows it.
#[test]
fn a_commitment_of_small_order_is_allowed() {
    for torsion in EIGHT_TORSION {
        let signed = sign_with_commitment(torsion.compress().to_bytes());
        assert_eq!(among_good(&signed), Ok(()));
    }
}

/// A signature whose R bytes are given and decode to a small-order point: s = k a.
fn sign_with_commitment(r_bytes: [u8; 32]) -> Signed {
    use curve25519_dalek::{EdwardsPoint, Scalar};
    use sha2::{Digest, Sha512};

    let secret = Scalar::from(123_456_789u64);
    let key = EdwardsPoint::mul_base(&secret).compress().to_bytes();
    let hash = Sha512::new().chain_update(r_bytes).chain_update(key).chain_update(b"m").finalize();
    let challenge = Scalar::from_bytes_mod_order_wide(&hash.into());
    let signature = [r_bytes, (challenge * secret).to_bytes()].concat();
    Signed { key: key.to_vec(), message: b"m".to_vec(), signature }
}

/// All encodings that decode leniently and are not canonical: y from p up to 2^255 - 1, and x = 0
/// with the sign bit.
fn non_canonical() -> Vec<[u8; 32]> {
    let mut encodings = Vec::new();
    for low in 0xed..=0xffu8 {
        for high in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);
            encodings.push(bytes);
        }
    }
    let mut one = [0; 32];
    (one[0], one[31]) = (1, 0x80);
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    encodings.extend([one, minus_one]);
    encodings
}

#[test]
fn non_canonical_encodings_are_refused() {
    let good = sign(1, 1);
    let company = Company::with(&[sign(2, 2), spoiled(&good, false), spoiled(&good, true)]);
    for bytes in non_canonical() {
        // The equation of the second holds wherever the bytes decode to a small-order point.
        let mut foreign = good.clone();
        foreign.signature[..32].copy_from_slice(&bytes);
        for signed in [foreign, sign_with_commitment(bytes)] {
            assert_eq!(company.verdict_on(&signed), Err(InvalidSignature::CommitmentEncoding));
        }
        let signed = Signed { key: bytes.to_vec(), ..good.clone() };
        assert_eq!(company.verdict_on(&signed), Err(InvalidSignature::KeyEncoding));
        assert_eq!(PublicKey::from_bytes(&bytes), Err(InvalidSignature::KeyEncoding));
    }
}

/// With a key of small order, R = [s]B fits every message whose k is a multiple of 8.
#[test]
fn keys_of_small_order_are_refused() {
    for torsion in EIGHT_TORSION {
        let mut signed = sign(1, 1);
        signed.key = torsion.compress().to_bytes().to_vec();
        signed.signature = [[1; 1].as_slice(), &[0; 63]].concat(); // R the identity, s = 0
        assert_eq!(among_good(&signed), Err(InvalidSignature::KeySmallOrder));
    }
}

/// s + L is the same scalar in other bytes.
#[test]
fn a_response_not_below_the_order_is_refused() {
    const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let order = hex::decode(ORDER).expect("hex");
    let mut signed = sign(1, 1);
    let mut carry = 0u16;
    for (byte, add) in signed.signature[32..].iter_mut().zip(&order) {
        carry += u16::from(*byte) + u16::from(*add);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    assert_eq!(among_good(&signed), Err(InvalidSignature::ScalarRange));
    signed.signature[32..].copy_from_slice(&order);
    assert_eq!(verdict(&signed), Err(InvalidSignature::ScalarRange));
    signed.signature[32] -= 1; // L - 1 is the largest scalar there is
    assert_eq!(verdict(&signed), Err(InvalidSignature::Equation));
}

#[test]
fn wrong_lengths_are_faults() {
    let good = sign(1, 1);
    for len in (0..=130).filter(|len| *len != 64) {
        let mut signed = good.clone();
        signed.signature.resize(len, 0);
        assert_eq!(verdict(&signed), Err(InvalidSignature::Length));
        assert_eq!(judged(&[&good, &signed, &good]), expected(&[&good, &signed, &good]));
    }
    for len in (0..=65).filter(|len| *len != 32) {
        let mut signed = good.clone();
        signed.key.resize(len, 0);
        assert_eq!(verdict(&signed), Err(InvalidSignature::KeyLength));
        assert_eq!(judged(&[&good, &signed, &good]), expected(&[&good, &signed, &good]));
    }
}

#[test]
fn an_empty_batch_is_good() {
    assert_eq!(verify_batch(&[]), Ok(()));
}

/// The order of faults is the order of the rule, whatever else is wrong.
#[test]
fn the_first_part_that_fails_is_named() {
    let mut signed = sign(1, 1);
    signed.message.push(0);
    assert_eq!(verdict(&signed), Err(InvalidSignature::Equation));
    signed.signature[..32].copy_from_slice(&[0xff; 32]);
    assert_eq!(verdict(&signed), Err(InvalidSignature::CommitmentEncoding));
    signed.signature[63] = 0xff;
    assert_eq!(verdict(&signed), Err(InvalidSignature::ScalarRange));
    signed.signature.push(0);
    assert_eq!(verdict(&signed), Err(InvalidSignature::Length));
    signed.key = [[1; 1].as_slice(), &[0; 31]].concat();
    assert_eq!(verdict(&signed), Err(InvalidSignature::KeySmallOrder));
    signed.key = vec![0xff; 32];
    assert_eq!(verdict(&signed), Err(InvalidSignature::KeyEncoding));
    signed.key.pop();
    assert_eq!(verdict(&signed), Err(InvalidSignature::KeyLength));
}

/// A bad signature of each kind: one whose equation fails, and one that is malformed.
fn spoiled(good: &Signed, malformed: bool) -> Signed {
    let mut bad = good.clone();
    if malformed {
        bad.signature[63] |= 0xf0;
    } else {
        bad.message.push(b'!');
    }
    bad
}

/// One bad signature, of either kind, at each place of batches of many sizes.
#[test]
fn one_bad_signature_at_every_place() {
    let company = good_company(130);
    let spoilt: Vec<_> =
        company.iter().map(|good| [spoiled(good, false), spoiled(good, true)]).collect();
    for len in (1..=20).chain([32, 33, 65, 130]) {
        let step = if len > 33 { 3 } else { 1 };
        for place in (0..len).step_by(step) {
            for bad in &spoilt[place] {
                let mut batch: Vec<_> = company[..len].iter().collect();
                batch[place] = bad;
                let found = judged(&batch).expect_err("one is bad");
                assert_eq!(found.index, place, "of {len}");
            }
        }
    }
}

/// Any number of bad ones, few, half and all, in batches of 1 to 130, on 1, 2 and 3 threads.
#[test]
fn the_lowest_of_many_bad_signatures() {
    let pools = pools();
    let company = good_company(130);
    let mut random = StdRng::seed_from_u64(11);
    for round in 0..150 {
        let len = random.random_range(1..=130);
        let rate = [0.01, 0.05, 0.5, 1.0][round % 4];
        let made: Vec<_> = company[..len]
            .iter()
            .map(|good| match random.random_bool(rate) {
                true => spoiled(good, random.random_bool(0.3)),
                false => good.clone(),
            })
            .collect();
        let batch: Vec<_> = made.iter().collect();
        assert_eq!(judged_in_pools(&batch, &pools), expected(&batch));
    }
}

/// Batches that are cut into several chunks, with bad signatures in more than one of them.
#[test]
fn the_lowest_index_over_chunks_and_threads() {
    let pools = pools();
    let company = good_company(600);
    let good: Vec<_> = company.iter().collect();
    assert_eq!(judged_in_pools(&good, &pools), Ok(()));
    for places in [&[0, 599][..], &[599], &[127, 128], &[300, 299], &[199, 200, 400], &[450, 301]] {
        for malformed in [false, true] {
            let bad: Vec<_> =
                places.iter().map(|&place| spoiled(&company[place], malformed)).collect();
            let mut batch = good.clone();
            for (&place, bad) in places.iter().zip(&bad) {
                batch[place] = bad;
            }
            let lowest = *places.iter().min().expect("some");
            let found = judged_in_pools(&batch, &pools).expect_err("some are bad");
            let fault = match malformed {
                true => InvalidSignature::ScalarRange,
                false => InvalidSignature::Equation,
            };
            assert_eq!(found, BadSignature { index: lowest, fault });
        }
    }
}

/// More chunks than threads, each of at most 8,192: while the first thread still has the second
/// chunk before it, another finds the fault at the head of the third, which must not win.
#[test]
fn a_fault_that_is_found_sooner_is_not_the_lowest() {
    let good = sign(1, 1);
    let (unequal, malformed) = (spoiled(&good, false), spoiled(&good, true));
    let mut batch = vec![good.item(); 33_000];
    batch[8_200] = unequal.item();
    batch[16_384] = malformed.item();
    let fault = InvalidSignature::Equation;
    for pool in pools() {
        let found = pool.install(|| verify_batch(&batch));
        assert_eq!(found, Err(BadSignature { index: 8_200, fault }));
    }
}

/// Faults that cancel without weights: s of one up by one, s of the other down by one.
#[test]
fn faults_that_cancel_are_found() {
    let mut company = good_company(40);
    for (place, up) in [(3, true), (17, false)] {
        let response = &mut company[place].signature[32..];
        response[0] = if up { response[0].wrapping_add(1) } else { response[0].wrapping_sub(1) };
    }
    let batch: Vec<_> = company.iter().collect();
    let fault = InvalidSignature::Equation;
    assert_eq!(judged(&batch), Err(BadSignature { index: 3, fault }));
}

#[derive(Clone, Debug)]
enum Mutation {
    FlipSignature(usize),
    FlipKey(usize),
    FlipMessage(usize),
    ReplaceR([u8; 32]),
    ReplaceKey([u8; 32]),
}

fn mutations() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        (0..512usize).prop_map(Mutation::FlipSignature),
        (0..256usize).prop_map(Mutation::FlipKey),
        (0..64usize).prop_map(Mutation::FlipMessage),
        prop::sample::select(non_canonical()).prop_map(Mutation::ReplaceR),
        prop::sample::select(non_canonical()).prop_map(Mutation::ReplaceKey),
        (0..8usize).prop_map(|i| Mutation::ReplaceR(EIGHT_TORSION[i].compress().0)),
        (0..8usize).prop_map(|i| Mutation::ReplaceKey(EIGHT_TORSION[i].compress().0)),
    ]
}

fn mutate(signed: &mut Signed, mutation: &Mutation) {
    let flip = |bytes: &mut [u8], bit: usize| bytes[bit / 8] ^= 1 << (bit % 8);
    match mutation {
        Mutation::FlipSignature(bit) => flip(&mut signed.signature, *bit),
        Mutation::FlipKey(bit) => flip(&mut signed.key, *bit),
        Mutation::FlipMessage(bit) => flip(&mut signed.message, *bit),
        Mutation::ReplaceR(bytes) => signed.signature[..32].copy_from_slice(bytes),
        Mutation::ReplaceKey(bytes) => signed.key.copy_from_slice(bytes),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(800))]

    /// Alone, and among good ones, a mutated signature has the verdict of the rule written out.
    #[test]
    fn mutated_signatures(
        (account, number) in (0..50u64, 0..1_000u64),
        (of_key, of_r) in (0..8usize, 0..8usize),
        mutated in prop::collection::vec(mutations(), 0..3),
        place in 0..26usize,
    ) {
        let mut signed = sign_with_torsion(account, number, of_key, of_r);
        for mutation in &mutated {
            mutate(&mut signed, mutation);
        }
        let alone = verdict(&signed);
        prop_assert!(alone.is_ok() || !mutated.is_empty());
        let company: Vec<_> = (0..26).map(|i| sign_with_torsion(account, 2_000 + i, of_key, of_r)).collect();
        let mut batch: Vec<_> = company.iter().collect();
        batch[place] = &signed;
        let together = judged(&batch);
        prop_assert_eq!(together, alone.map_err(|fault| BadSignature { index: place, fault }));
    }
}
