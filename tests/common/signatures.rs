//! Ed25519 for tests: a signer that can go wrong on purpose, and rule E1 written out slowly.

use blockmill::signature::{
    BadSignature, Engine, InvalidSignature, Item, KeptItem, PublicKey, verify, verify_batch,
    verify_batch_kept,
};
use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::IsIdentity;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha512};

/// The group order L = 2^252 + 27742317777372353535851937790883648493, most significant byte first.
const ORDER: &str = "1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed";

/// A key, a message and a signature, as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub key: Vec<u8>,
    pub message: Vec<u8>,
    pub signature: Vec<u8>,
}

impl Signed {
    pub fn item(&self) -> Item<'_> {
        Item { key: &self.key, message: &self.message, signature: &self.signature }
    }

    pub fn verdict(&self) -> Result<(), InvalidSignature> {
        verify(&self.key, &self.message, &self.signature)
    }
}

/// A signature of key `account` on message `number`, with the torsion points of these numbers added
/// to A and to R *before* hashing, so that the cofactored equation holds whatever they are.
pub fn sign_with_torsion(account: u64, number: u64, of_key: usize, of_r: usize) -> Signed {
    sign_message(account, format!("message {number}").into_bytes(), of_key, of_r)
}

/// The same on any message.
pub fn sign_message(account: u64, message: Vec<u8>, of_key: usize, of_r: usize) -> Signed {
    let secret = scalar(&[b"secret", &account.to_le_bytes()]);
    let nonce = scalar(&[b"nonce", &account.to_le_bytes(), &message]);
    let key = key_with_torsion(account, of_key);
    let commitment = (EdwardsPoint::mul_base(&nonce) + EIGHT_TORSION[of_r]).compress();
    let challenge = scalar(&[commitment.as_bytes(), &key, &message]);
    let response = nonce + challenge * secret;
    let signature = [commitment.to_bytes(), response.to_bytes()].concat();
    Signed { key: key.to_vec(), message, signature }
}

/// The key of such signatures.
pub fn key_with_torsion(account: u64, of_key: usize) -> [u8; 32] {
    let secret = scalar(&[b"secret", &account.to_le_bytes()]);
    (EdwardsPoint::mul_base(&secret) + EIGHT_TORSION[of_key]).compress().to_bytes()
}

/// A good signature.
pub fn sign(account: u64, number: u64) -> Signed {
    sign_with_torsion(account, number, 0, 0)
}

/// Good signatures, of keys of which some sign twice.
pub fn good_company(count: u64) -> Vec<Signed> {
    (0..count).map(|number| sign(number * 3 / 4, number)).collect()
}

fn scalar(parts: &[&[u8]]) -> Scalar {
    let hash = parts.iter().fold(Sha512::new(), |hash, part| hash.chain_update(part));
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

/// Rule E1 word for word, with nothing shared with the engine but the arithmetic of the curve.
pub fn slowly_valid(signed: &Signed) -> bool {
    let (Ok(key), Ok(signature)) = (
        <[u8; 32]>::try_from(signed.key.as_slice()),
        <[u8; 64]>::try_from(signed.signature.as_slice()),
    ) else {
        return false;
    };
    let (r_bytes, s_bytes) = signature.split_at(32);
    let s_digits: String = s_bytes.iter().rev().map(|byte| format!("{byte:02x}")).collect();
    if s_digits.as_str() >= ORDER {
        return false;
    }
    let decode = |bytes: &[u8]| {
        let encoded = CompressedEdwardsY::from_slice(bytes).expect("32 bytes");
        encoded.decompress().filter(|point| point.compress() == encoded)
    };
    let (Some(a), Some(r)) = (decode(&key), decode(r_bytes)) else { return false };
    if a.mul_by_cofactor().is_identity() {
        return false;
    }
    let k = scalar(&[r_bytes, &key, &signed.message]);
    let s = Scalar::from_bytes_mod_order(s_bytes.try_into().expect("32 bytes"));
    let left = EdwardsPoint::mul_base(&s).mul_by_cofactor();
    left == r.mul_by_cofactor() + (a * k).mul_by_cofactor()
}

/// The equation without the cofactor, which E1 is *not*.
pub fn cofactorless_holds(signed: &Signed) -> bool {
    let point = |bytes: &[u8]| CompressedEdwardsY::from_slice(bytes).ok()?.decompress();
    let (r_bytes, s_bytes) = signed.signature.split_at(32);
    let (a, r) = (point(&signed.key).expect("A"), point(r_bytes).expect("R"));
    let k = scalar(&[r_bytes, &signed.key, &signed.message]);
    let s = Scalar::from_bytes_mod_order(s_bytes.try_into().expect("32 bytes"));
    EdwardsPoint::mul_base(&s) == r + a * k
}

/// What a batch must say: the lowest index whose single verdict is bad, with that verdict.
pub fn expected(batch: &[&Signed]) -> Result<(), BadSignature> {
    let faults = batch.iter().map(|one| one.verdict());
    faults
        .enumerate()
        .try_for_each(|(index, verdict)| verdict.map_err(|fault| BadSignature { index, fault }))
}

/// What both kinds of batch say. Kept keys exist only where they decode; where one does not, only
/// the raw kind is asked.
pub fn judged(batch: &[&Signed]) -> Result<(), BadSignature> {
    let items: Vec<_> = batch.iter().map(|signed| signed.item()).collect();
    let verdict = verify_batch(&items);
    for engine in Engine::all() {
        assert_eq!(engine.verify_batch(&items), verdict, "{}", engine.name());
    }
    let keys: Vec<_> = batch.iter().map(|signed| PublicKey::from_slice(&signed.key)).collect();
    if keys.iter().all(Result::is_ok) {
        let bytes: Vec<_> =
            batch.iter().map(|signed| *signed.key.first_chunk().expect("32 bytes")).collect();
        for keys in [keys, PublicKey::from_many(&bytes)] {
            let keys: Vec<_> = keys.into_iter().flatten().collect();
            let kept = items.iter().zip(&keys);
            let kept: Vec<_> = kept
                .map(|(item, key)| {
                    let (domain, message) = item.message.split_at(item.message.len() / 3);
                    KeptItem { key, domain, message, signature: item.signature }
                })
                .collect();
            assert_eq!(verify_batch_kept(&kept), verdict, "kept keys change nothing");
            for engine in Engine::all() {
                assert_eq!(engine.verify_batch_kept(&kept), verdict, "{}", engine.name());
            }
        }
    }
    verdict
}

/// The answer of a batch, the same in pools of 1, 2 and 3 threads.
pub fn judged_in_pools(batch: &[&Signed], pools: &[rayon::ThreadPool]) -> Result<(), BadSignature> {
    let answers: Vec<_> = pools.iter().map(|pool| pool.install(|| judged(batch))).collect();
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    answers[0]
}

/// Pools of 1, 2 and 3 threads.
pub fn pools() -> Vec<rayon::ThreadPool> {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    (1..=3).map(|threads| pool(threads).expect("a pool")).collect()
}

/// Those beside whom a signature is tried, with the verdicts they get alone.
pub struct Company {
    good: Vec<Signed>,
    others: Vec<(Signed, Verdict)>,
}

type Verdict = Result<(), InvalidSignature>;

impl Company {
    /// Good signatures, and `others` of any kind.
    pub fn with(others: &[Signed]) -> Self {
        let good = good_company(33);
        assert!(good.iter().all(|signed| signed.verdict().is_ok()));
        let others = others.iter().map(|signed| (signed.clone(), signed.verdict())).collect();
        Self { good, others }
    }

    /// Tries `signed` alone, at every place of good batches of 1 to 8, 24 and 33, and in 32 random
    /// batches; everywhere it must get the verdict that it gets alone, which is returned.
    pub fn verdict_on(&self, signed: &Signed) -> Verdict {
        let alone = signed.verdict();
        assert_eq!(alone.is_ok(), slowly_valid(signed), "{signed:?}");
        for len in (1..=8).chain([24, 33]) {
            for place in 0..len {
                let mut items: Vec<_> = self.good[..len].iter().map(Signed::item).collect();
                items[place] = signed.item();
                let expected = alone.map_err(|fault| BadSignature { index: place, fault });
                for engine in Engine::all() {
                    let found = engine.verify_batch(&items);
                    assert_eq!(
                        found,
                        expected,
                        "{signed:?} at {place} of {len}, {}",
                        engine.name()
                    );
                }
            }
        }
        // Another seed for each signature, and the same in each run.
        let seed = signed
            .signature
            .iter()
            .fold(0, |sum: u64, &byte| sum.wrapping_mul(257).wrapping_add(byte.into()));
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..32 {
            self.try_at_random(signed, alone, &mut random);
        }
        alone
    }

    fn try_at_random(&self, signed: &Signed, alone: Verdict, random: &mut StdRng) {
        let len = random.random_range(2..=48);
        let mut batch: Vec<_> = (0..len)
            .map(|_| match random.random_bool(0.25) {
                true => {
                    let (other, verdict) = &self.others[random.random_range(0..self.others.len())];
                    (other, *verdict)
                }
                false => (&self.good[random.random_range(0..self.good.len())], Ok(())),
            })
            .collect();
        batch[random.random_range(0..len)] = (signed, alone);
        let expected = batch.iter().enumerate().try_for_each(|(index, (_, verdict))| {
            verdict.map_err(|fault| BadSignature { index, fault })
        });
        let batch: Vec<_> = batch.into_iter().map(|(signed, _)| signed).collect();
        assert_eq!(judged(&batch), expected, "{batch:?}");
    }
}
