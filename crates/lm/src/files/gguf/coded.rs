//! Matrices as their file codes them: groups of 32 weights, each `scale * code + offset`.

use super::quants::{self, Kind, SMALL};
use crate::files::tensor::Tensor;
use crate::kernels::{Bits, GROUP, Grid};

const _: () = assert!(SMALL == GROUP);

/// A tensor as its file holds it.
pub(crate) enum Stored<'a> {
    Floats(Tensor),
    Coded(Coded<'a>),
}

impl Stored<'_> {
    /// Sizes, outermost first.
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self {
            Self::Floats(tensor) => tensor.shape.clone(),
            Self::Coded(coded) => coded.shape().to_vec(),
        }
    }

    /// All of it in f32.
    pub(crate) fn into_tensor(self) -> Tensor {
        match self {
            Self::Floats(tensor) => tensor,
            Self::Coded(coded) => coded.dequantise(),
        }
    }
}

/// A matrix in a format whose weights lie on grids, still in the bytes of its file.
pub(crate) struct Coded<'a> {
    pub(super) kind: Kind,
    pub(super) bits: Bits,
    pub(super) bytes: &'a [u8],
    /// Rows and columns, a row being whole blocks.
    pub(super) shape: [usize; 2],
    /// Rows of a head, where heads' rows stand as rotary pairs; see [`paired_row`].
    pub(super) head_dim: Option<usize>,
}

impl Coded<'_> {
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Bits that the codes need.
    pub(crate) fn bits(&self) -> Bits {
        self.bits
    }

    /// Writes the groups of a row. Their weights are those of [`Coded::dequantise`], but for the
    /// sign of a zero.
    pub(crate) fn grids(&self, row: usize, out: &mut [Grid]) {
        let length = self.bytes.len() / self.shape[0];
        let bytes = &self.bytes[self.stored_row(row) * length..][..length];
        self.kind.grids(bytes, out);
    }

    /// All weights.
    pub(crate) fn dequantise(&self) -> Tensor {
        let (stored, columns) = (self.kind.dequantise(self.bytes), self.shape[1]);
        let data = match self.head_dim {
            None => stored,
            Some(_) => {
                let rows = (0..self.shape[0])
                    .map(|row| &stored[self.stored_row(row) * columns..][..columns]);
                rows.flatten().copied().collect()
            }
        };
        Tensor { shape: self.shape.to_vec(), data }
    }

    fn stored_row(&self, row: usize) -> usize {
        self.head_dim.map_or(row, |head_dim| paired_row(row, head_dim))
    }
}

/// Where llama.cpp stores a row of a head: it keeps rotary pairs side by side (0, 1 | 2, 3 | …),
/// Hugging Face over the two halves of the head.
pub(super) fn paired_row(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    let (half, pair) = (within / (head_dim / 2), within % (head_dim / 2));
    head * head_dim + 2 * pair + half
}

impl Kind {
    /// Bits of the codes of a format whose groups of 32 lie on grids.
    pub(super) fn bits(self) -> Option<Bits> {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q4K => Some(Bits::Four),
            Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Q5K => Some(Bits::Eight),
            // Sixteen weights of Q6_K share a scale.
            Self::F32 | Self::F16 | Self::Bf16 | Self::Q6K => None,
        }
    }

    /// The groups of `bytes`, which holds whole blocks of a format that has [`Kind::bits`].
    ///
    /// `scale * code` is exact in f32: a scale has eleven bits (seventeen in the K formats), a code
    /// at most eight (five).
    fn grids(self, bytes: &[u8], out: &mut [Grid]) {
        match self {
            Self::Q4_0 => groups(bytes, out, |block: &[u8; 18]| {
                let scale = quants::half_at(block, 0);
                Grid { scale, offset: -8.0 * scale, codes: halves(&block[2..]) }
            }),
            Self::Q4_1 => groups(bytes, out, |block: &[u8; 20]| Grid {
                scale: quants::half_at(block, 0),
                offset: quants::half_at(block, 2),
                codes: halves(&block[4..]),
            }),
            Self::Q5_0 => groups(bytes, out, |block: &[u8; 22]| {
                let scale = quants::half_at(block, 0);
                let codes = with_fifth_bits(halves(&block[6..]), quants::fifth_bits(block, 2));
                Grid { scale, offset: -16.0 * scale, codes }
            }),
            Self::Q5_1 => groups(bytes, out, |block: &[u8; 24]| Grid {
                scale: quants::half_at(block, 0),
                offset: quants::half_at(block, 2),
                codes: with_fifth_bits(halves(&block[8..]), quants::fifth_bits(block, 4)),
            }),
            Self::Q8_0 => groups(bytes, out, |block: &[u8; 34]| {
                let scale = quants::half_at(block, 0);
                let codes = std::array::from_fn(|i| block[2 + i] ^ 0x80);
                Grid { scale, offset: -128.0 * scale, codes }
            }),
            Self::Q4K => parts(bytes, out, |block: &[u8; 144], part| {
                let nibbles = &block[16 + part / 2 * SMALL..][..SMALL];
                std::array::from_fn(|i| nibbles[i] >> (4 * (part % 2)) & 15)
            }),
            Self::Q5K => parts(bytes, out, |block: &[u8; 176], part| {
                let (high, nibbles) = (&block[16..48], &block[48 + part / 2 * SMALL..][..SMALL]);
                std::array::from_fn(|i| {
                    (nibbles[i] >> (4 * (part % 2)) & 15) | (high[i] >> part & 1) << 4
                })
            }),
            Self::F32 | Self::F16 | Self::Bf16 | Self::Q6K => {}
        }
    }
}

/// Runs `grid` over all blocks of one group each.
fn groups<const BYTES: usize>(bytes: &[u8], out: &mut [Grid], grid: impl Fn(&[u8; BYTES]) -> Grid) {
    for (block, out) in bytes.as_chunks::<BYTES>().0.iter().zip(out) {
        *out = grid(block);
    }
}

/// Runs `codes` over all parts of K blocks, which begin with the scale of the scales, the scale of
/// the minima and the pairs of both.
fn parts<const BYTES: usize>(
    bytes: &[u8],
    out: &mut [Grid],
    codes: impl Fn(&[u8; BYTES], usize) -> [u8; GROUP],
) {
    for (block, out) in
        bytes.as_chunks::<BYTES>().0.iter().zip(out.chunks_mut(quants::LARGE / SMALL))
    {
        let (scale, minimum) = (quants::half_at(block, 0), quants::half_at(block, 2));
        for (part, out) in out.iter_mut().enumerate() {
            let (s, m) = quants::six_bit_pair(&block[4..16], part);
            *out = Grid { scale: scale * s, offset: -(minimum * m), codes: codes(block, part) };
        }
    }
}

/// Codes of four bits: the lower halves of sixteen bytes, then the upper ones.
fn halves(bytes: &[u8]) -> [u8; GROUP] {
    let mut codes = [0; GROUP];
    let (low, high) = codes.split_at_mut(GROUP / 2);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(bytes) {
        (*low, *high) = (byte & 15, byte >> 4);
    }
    codes
}

fn with_fifth_bits(mut codes: [u8; GROUP], high: u32) -> [u8; GROUP] {
    for (i, code) in codes.iter_mut().enumerate() {
        *code |= ((high >> i & 1) as u8) << 4;
    }
    codes
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn grids_stand_for_the_weights_that_are_dequantised() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let kinds =
            [Kind::Q4_0, Kind::Q4_1, Kind::Q5_0, Kind::Q5_1, Kind::Q8_0, Kind::Q4K, Kind::Q5K];
        for kind in kinds {
            let shape = [24, 512];
            let mut bytes = vec![0; kind.byte_length(&shape).unwrap()];
            random.fill_bytes(&mut bytes);
            // Scales are finite.
            let (_, block) = kind.block();
            for block in bytes.chunks_mut(block) {
                block[1] &= 0xBF;
                block[3] &= 0xBF;
            }
            let bits = kind.bits().unwrap();
            for head_dim in [None, Some(8)] {
                let coded = Coded { kind, bits, bytes: &bytes, shape, head_dim };
                let expected = coded.dequantise().data;
                for (row, expected) in expected.chunks(shape[1]).enumerate() {
                    let mut grids = vec![Grid::default(); shape[1] / GROUP];
                    coded.grids(row, &mut grids);
                    let weight = |grid: &Grid, code: u8| grid.scale * f32::from(code) + grid.offset;
                    let weights =
                        grids.iter().flat_map(|grid| grid.codes.map(|code| weight(grid, code)));
                    assert_eq!(weights.collect::<Vec<_>>(), expected, "{kind:?}, row {row}");
                    let most = if bits == Bits::Four { 15 } else { 255 };
                    assert!(grids.iter().all(|grid| grid.codes.iter().all(|code| *code <= most)));
                }
            }
        }
    }

    #[test]
    fn rotary_pairs_are_spread_over_the_halves_of_each_head() {
        let rows: Vec<usize> = (0..8).map(|row| paired_row(row, 4)).collect();
        assert_eq!(rows, [0, 2, 1, 3, 4, 6, 5, 7]);
    }
}
