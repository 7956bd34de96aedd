//! Groups of weights on even grids.

use super::GROUP;

/// One group of weights as `offset + scale * code`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Grid {
    pub(crate) scale: f32,
    pub(crate) offset: f32,
    pub(crate) codes: [u8; GROUP],
}

impl Grid {
    /// The group on the grid of `steps` even steps from `lowest`, if every weight lies on it up to
    /// the rounding of f32.
    fn fit(group: &[f32; GROUP], lowest: f32, scale: f32) -> Option<Self> {
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        // To the nearest; a cast saturates, so a weight off the grid is seen below.
        let codes = group.map(|weight| ((weight - lowest) * inverse + 0.5) as u8);
        let near = 4.0
            * f32::EPSILON
            * group.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
        let on_grid = |(weight, code): (&f32, &u8)| {
            (lowest + scale * f32::from(*code) - weight).abs() <= near
        };
        // All of them, without an early end: that makes vector code.
        let all = group.iter().zip(&codes).fold(true, |all, both| all & on_grid(both));
        all.then_some(Self { scale, offset: lowest, codes })
    }

    /// Four bits: 15 steps or fewer from the lowest to the highest weight.
    pub(super) fn four(group: &[f32; GROUP]) -> Option<Self> {
        let lowest = group.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        (1..=15).rev().find_map(|steps| Self::fit(group, lowest, (highest - lowest) / steps as f32))
    }

    /// Eight bits: 127 steps from zero to the largest weight, on both sides.
    pub(super) fn eight(group: &[f32; GROUP]) -> Option<Self> {
        let largest = group.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
        let scale = largest / 127.0;
        Self::fit(group, -128.0 * scale, scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_taken_only_where_every_weight_lies_on_the_grid() {
        // A group of equal weights, and sixteen steps where fifteen fit.
        assert!(Grid::four(&[0.25; GROUP]).is_some());
        assert!(Grid::four(&[0.0; GROUP]).is_some());
        let steps = std::array::from_fn(|i| (i % 17) as f32);
        assert!(Grid::four(&steps).is_none() && Grid::eight(&steps).is_none());
        let not_finite = std::array::from_fn(|i| if i == 3 { f32::NAN } else { 1.0 });
        assert!(Grid::four(&not_finite).is_none() && Grid::eight(&not_finite).is_none());
    }
}
