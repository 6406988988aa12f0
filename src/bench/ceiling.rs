//! How fast a device could be at most, where that is known.

/// Rotations, shifts and logic for one nonce, as the specialised search kernel computes them: three
/// rotations or shifts and one operation of three inputs for each of the four sigma functions, one operation
/// for each choice and each majority. NVIDIA's cards do these in one unit, and the additions in another.
const OPERATIONS_PER_NONCE: f64 = 1804.0;

/// A card whose units are known.
struct Card {
    /// A part of its name.
    name: &'static str,
    multiprocessors: f64,
    /// What each does of such operations in a cycle.
    lanes: f64,
    /// Of its highest clock.
    cycles_per_s: f64,
}

/// "NVIDIA H100 Tensor Core GPU Architecture" (2022) for the SXM5 module, and the clock as its driver tells
/// it; the H200 has the same processor with other memory.
const CARDS: [Card; 2] = [
    Card { name: "H100 80GB HBM3", multiprocessors: 132.0, lanes: 64.0, cycles_per_s: 1.98e9 },
    Card { name: "H200", multiprocessors: 132.0, lanes: 64.0, cycles_per_s: 1.98e9 },
];

/// The most nonces a second that a device can try, by its name: `None` if its units are not known.
#[must_use]
pub fn search_ceiling(device: &str) -> Option<f64> {
    let card = CARDS.iter().find(|card| device.contains(card.name))?;
    Some(card.multiprocessors * card.lanes * card.cycles_per_s / OPERATIONS_PER_NONCE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_cards_have_a_ceiling_and_others_have_none() {
        let h100 = search_ceiling("NVIDIA H100 80GB HBM3 (vulkan:0000:00:06.0, discrete)");
        assert!(h100.is_some_and(|rate| (9.2e9..9.3e9).contains(&rate)), "{h100:?}");
        assert_eq!(search_ceiling("llvmpipe (vulkan:llvmpipe, software)"), None);
    }

    #[test]
    #[cfg(all(feature = "gpu", feature = "mine"))]
    fn operations_are_those_of_the_kernel() {
        let text = crate::compute::gpu::search_text();
        let (_, text) = text.split_once("fn id_top_word").expect("the specialised function");
        let count = |names: &[&str]| -> usize {
            names.iter().map(|name| text.matches(&format!("= {name}(")).count()).sum()
        };
        let operations = 4 * count(&["s0", "s1", "b0", "b1"]) + count(&["ch", "maj"]);
        assert_eq!(operations as f64, OPERATIONS_PER_NONCE);
    }
}
