//! What stands for AVX2 where processors never have it: types without values.

use super::engine::Message;

#[derive(Clone, Copy, Debug)]
pub(super) enum Avx2 {}

#[derive(Clone, Copy, Debug)]
pub(super) enum Root {}

#[derive(Clone, Copy, Debug)]
pub(super) enum Niels {}

impl Avx2 {
    pub(super) const fn detect() -> Option<Self> {
        None
    }

    pub(super) const fn decode(self, _: &[[u8; 32]]) -> Vec<(Root, Niels)> {
        match self {}
    }

    pub(super) const fn niels(self, _: &[(Root, [u8; 32])]) -> Vec<Niels> {
        match self {}
    }

    pub(super) const fn sha512(self, _: &[Message<'_>]) -> Vec<[u8; 64]> {
        match self {}
    }

    pub(super) const fn sum_is_small(self, _: &[([u8; 32], &Niels)], _: &[(u128, &Niels)]) -> bool {
        match self {}
    }
}
