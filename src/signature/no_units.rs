//! What stands for vector units where processors never have them: a type without values.

use super::curve::{Long, Root, Short};
use super::engine::Message;
use super::unit::Unit;

pub(super) type Avx2 = Absent;
pub(super) type Ifma = Absent;

#[derive(Clone, Copy, Debug)]
pub(super) enum Absent {}

impl Unit for Absent {
    type Niels = Self;

    fn detect() -> Option<Self> {
        None
    }

    fn base(self) -> &'static Self {
        match self {}
    }

    fn decode(self, _: &[[u8; 32]]) -> Vec<(Root, Self)> {
        match self {}
    }

    fn niels(self, _: &[(Root, [u8; 32])]) -> Vec<Self> {
        match self {}
    }

    fn sha512(self, _: &[Message<'_>]) -> Vec<[u8; 64]> {
        match self {}
    }

    fn sum_is_small(self, _: &[Long<'_, Self>], _: &[Short<'_, Self>]) -> bool {
        match self {}
    }
}
