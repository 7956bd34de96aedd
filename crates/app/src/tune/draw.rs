//! Draws that come out the same in every run and in any order: hashes instead of a random
//! generator.

use sha2::{Digest, Sha256};

/// A number in [0, 1), evenly spread, that depends on nothing but `words`.
pub(crate) fn stable_draw(words: &[&str]) -> f64 {
    let mut hasher = Sha256::new();
    for word in words {
        hasher.update((word.len() as u64).to_le_bytes());
        hasher.update(word.as_bytes());
    }
    let digest = hasher.finalize();
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&digest[..8]);
    (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_stable_and_uniform() {
        assert_eq!(stable_draw(&["a", "b"]), stable_draw(&["a", "b"]));
        assert_ne!(stable_draw(&["a", "b"]), stable_draw(&["ab", ""]));
        let mean =
            (0..1000).map(|index| stable_draw(&["s", &index.to_string()])).sum::<f64>() / 1000.0;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
    }
}
