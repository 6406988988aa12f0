//! The cases of `bench`: no figure for a backend that is wrong in any kind of work.

mod common;

use blockmill::bench::{Case, Contestant, Keys, Signatures, Suite};
#[cfg(feature = "mine")]
use blockmill::compute::SearchJob;
use blockmill::compute::{Backend, Cpu, Reference};
use blockmill::primitives::{Hash256, HashFunction, Header, Trees};

/// A backend that gives one wrong answer in each batch.
struct Wrong(Cpu);

fn spoil(digests: &mut [Hash256]) {
    let Some(last) = digests.last_mut() else { return };
    let mut bytes = *last.as_bytes();
    bytes[31] ^= 1;
    *last = Hash256::from_bytes(bytes);
}

impl Backend for Wrong {
    fn name(&self) -> &'static str {
        "cpu"
    }

    fn device(&self) -> String {
        "a wrong one".into()
    }

    fn header_ids(&self, headers: &[Header], ids: &mut [Hash256]) {
        self.0.header_ids(headers, ids);
        spoil(ids);
    }

    fn merkle_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        self.0.merkle_roots(trees, roots);
        spoil(roots);
    }

    fn hash_messages(&self, function: HashFunction, messages: &[&[u8]], digests: &mut [Hash256]) {
        self.0.hash_messages(function, messages, digests);
        spoil(digests);
    }

    fn rfc6962_roots(&self, trees: &Trees, roots: &mut [Hash256]) {
        self.0.rfc6962_roots(trees, roots);
        spoil(roots);
    }

    #[cfg(feature = "mine")]
    fn search(&self, job: &SearchJob) -> Option<u32> {
        self.0.search(job).map(|nonce| nonce + 1)
    }

    #[cfg(feature = "mine")]
    fn search_span(&self) -> u32 {
        self.0.search_span()
    }
}

fn cpu() -> Cpu {
    Cpu::new(2).expect("threads")
}

fn contestant(backend: impl Backend + 'static) -> Contestant {
    Contestant::new(Box::new(backend), 2).expect("threads")
}

fn cases() -> Vec<(Suite, Case)> {
    let small = |suite: &Suite| match suite {
        // The work of signatures is no backend's.
        Suite::Signatures(_) => None,
        suite => Some((*suite, suite.case(suite.batches(true)[0]).expect("temporary files")?)),
    };
    Suite::ALL.iter().filter_map(small).collect()
}

#[test]
fn the_cpu_agrees_with_the_reference_and_a_wrong_backend_does_not() {
    let (right, wrong) = (contestant(cpu()), contestant(Wrong(cpu())));
    let reference = contestant(Reference);
    let cases = cases();
    assert!(cases.len() >= 6);
    for (suite, case) in &cases {
        assert_eq!(case.compare(&right, &reference).expect("files"), Ok(()), "{suite:?}");
        let difference = case.compare(&wrong, &reference).expect("files").expect_err("wrong");
        assert_eq!(difference.to_string(), "cpu a wrong one disagrees with the reference");
        assert!(case.units() > 0);
    }
}

#[test]
fn only_validation_says_how_long_its_stages_were_busy() {
    let right = contestant(cpu());
    for (suite, case) in cases() {
        let busy = case.run(&right).expect("files");
        assert_eq!(busy.is_some(), matches!(suite, Suite::Validate(_)), "{suite:?}");
        assert!(busy.is_none_or(|busy| !busy.bodies.is_zero()), "{suite:?}");
    }
}

#[test]
fn signatures_get_no_figure_unless_all_are_sound() {
    let (right, reference) = (contestant(cpu()), contestant(Reference));
    let sound = Signatures::new(Keys::Accounts, 33);
    let damaged = Case::Signatures(sound.damaged_at(20, 33));
    let sound = Case::Signatures(sound);
    assert_eq!((sound.units(), sound.run(&right).expect("nothing to read").is_none()), (33, true));
    for contestant in [&right, &reference] {
        assert_eq!(sound.compare(contestant, &reference).expect("no files"), Ok(()));
        assert!(damaged.compare(contestant, &reference).expect("no files").is_err());
    }
}
