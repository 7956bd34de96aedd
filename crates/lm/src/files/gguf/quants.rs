//! Block formats of GGML, dequantised to f32 with the arithmetic order of the `gguf` Python
//! package, so that the results agree to the last bit.

use half::{bf16, f16};

use super::fault::Fault;

/// Storage format of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

/// Values in a block of the simple formats, and of the K-quants.
pub(super) const SMALL: usize = 32;
pub(super) const LARGE: usize = 256;

impl Kind {
    pub(super) fn from_code(code: u32) -> Result<Self, Fault> {
        Ok(match code {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            other => return Err(Fault::StorageType(other)),
        })
    }

    /// Values and bytes of one block.
    pub(super) fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (SMALL, 18),
            Self::Q4_1 => (SMALL, 20),
            Self::Q5_0 => (SMALL, 22),
            Self::Q5_1 => (SMALL, 24),
            Self::Q8_0 => (SMALL, 34),
            Self::Q4K => (LARGE, 144),
            Self::Q5K => (LARGE, 176),
            Self::Q6K => (LARGE, 210),
        }
    }

    /// Bytes of a tensor of this shape.
    pub(super) fn byte_length(self, shape: &[usize]) -> Result<usize, Fault> {
        let (values, bytes) = self.block();
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(values) {
            return Err(Fault::PartialBlock { row, block: values });
        }
        shape
            .iter()
            .try_fold(1usize, |product, size| product.checked_mul(*size))
            // The values will stand in memory as f32.
            .filter(|count| count.checked_mul(4).is_some_and(|n| n <= isize::MAX as usize))
            .and_then(|count| (count / values).checked_mul(bytes))
            .ok_or_else(|| Fault::Overflow(shape.to_vec()))
    }

    /// All values of `bytes`, which holds whole blocks.
    pub(super) fn dequantise(self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::F32 => {
                blocks(bytes, |b: &[u8; 4], out: &mut [f32; 1]| out[0] = f32::from_le_bytes(*b))
            }
            Self::F16 => blocks(bytes, |b: &[u8; 2], out: &mut [f32; 1]| {
                out[0] = f16::from_le_bytes(*b).to_f32()
            }),
            Self::Bf16 => blocks(bytes, |b: &[u8; 2], out: &mut [f32; 1]| {
                out[0] = bf16::from_le_bytes(*b).to_f32()
            }),
            Self::Q4_0 => blocks(bytes, q4_0),
            Self::Q4_1 => blocks(bytes, q4_1),
            Self::Q5_0 => blocks(bytes, q5_0),
            Self::Q5_1 => blocks(bytes, q5_1),
            Self::Q8_0 => blocks(bytes, q8_0),
            Self::Q4K => blocks(bytes, q4_k),
            Self::Q5K => blocks(bytes, q5_k),
            Self::Q6K => blocks(bytes, q6_k),
        }
    }
}

/// Runs `decode` over all blocks of `BYTES` bytes, each giving `VALUES` values.
fn blocks<const BYTES: usize, const VALUES: usize>(
    bytes: &[u8],
    decode: impl Fn(&[u8; BYTES], &mut [f32; VALUES]),
) -> Vec<f32> {
    let (blocks, rest) = bytes.as_chunks::<BYTES>();
    debug_assert!(rest.is_empty(), "the tensor table was checked against the block size");
    let mut values = vec![0.0; blocks.len() * VALUES];
    for (block, out) in blocks.iter().zip(values.as_chunks_mut::<VALUES>().0) {
        decode(block, out);
    }
    values
}

pub(super) fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Scale; 16 bytes whose low nibbles are values 0..16 and high nibbles values 16..32.
fn q4_0(block: &[u8; 18], out: &mut [f32; SMALL]) {
    let scale = half_at(block, 0);
    for (i, byte) in block[2..].iter().enumerate() {
        out[i] = scale * (f32::from(byte & 15) - 8.0);
        out[i + 16] = scale * (f32::from(byte >> 4) - 8.0);
    }
}

/// Scale, minimum; nibbles as in [`q4_0`].
fn q4_1(block: &[u8; 20], out: &mut [f32; SMALL]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (i, byte) in block[4..].iter().enumerate() {
        out[i] = scale * f32::from(byte & 15) + minimum;
        out[i + 16] = scale * f32::from(byte >> 4) + minimum;
    }
}

/// The fifth bits of 32 values, one bit each.
pub(super) fn fifth_bits(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Value `i` and value `i + 16` of a five-bit block.
fn five_bits(byte: u8, high: u32, i: usize) -> (f32, f32) {
    let low_value = u32::from(byte & 15) | ((high >> i) & 1) << 4;
    let high_value = u32::from(byte >> 4) | ((high >> (i + 16)) & 1) << 4;
    (low_value as f32, high_value as f32)
}

/// Scale; fifth bits; nibbles as in [`q4_0`].
fn q5_0(block: &[u8; 22], out: &mut [f32; SMALL]) {
    let (scale, high) = (half_at(block, 0), fifth_bits(block, 2));
    for (i, byte) in block[6..].iter().enumerate() {
        let (a, b) = five_bits(*byte, high, i);
        out[i] = scale * (a - 16.0);
        out[i + 16] = scale * (b - 16.0);
    }
}

/// Scale, minimum; fifth bits; nibbles as in [`q4_0`].
fn q5_1(block: &[u8; 24], out: &mut [f32; SMALL]) {
    let (scale, minimum, high) = (half_at(block, 0), half_at(block, 2), fifth_bits(block, 4));
    for (i, byte) in block[8..].iter().enumerate() {
        let (a, b) = five_bits(*byte, high, i);
        out[i] = scale * a + minimum;
        out[i + 16] = scale * b + minimum;
    }
}

/// Scale; 32 signed bytes.
fn q8_0(block: &[u8; 34], out: &mut [f32; SMALL]) {
    let scale = half_at(block, 0);
    for (value, byte) in out.iter_mut().zip(&block[2..]) {
        *value = f32::from(*byte as i8) * scale;
    }
}

/// Scale and minimum, six bits each, of sub-block `i` of 8, out of the 12 bytes that hold all of
/// them.
pub(super) fn six_bit_pair(packed: &[u8], i: usize) -> (f32, f32) {
    let (scale, minimum) = if i < 4 {
        (packed[i] & 63, packed[i + 4] & 63)
    } else {
        let both = packed[i + 4];
        ((both & 15) | (packed[i - 4] >> 6) << 4, (both >> 4) | (packed[i] >> 6) << 4)
    };
    (f32::from(scale), f32::from(minimum))
}

/// Scale of scales, scale of minima; eight six-bit pairs; nibbles, 32 bytes holding sub-blocks `2j`
/// and `2j + 1`.
fn q4_k(block: &[u8; 144], out: &mut [f32; LARGE]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    for (i, part) in out.as_chunks_mut::<SMALL>().0.iter_mut().enumerate() {
        let (s, m) = six_bit_pair(&block[4..16], i);
        let (s, m) = (scale * s, minimum * m);
        let nibbles = &block[16 + i / 2 * SMALL..][..SMALL];
        for (value, byte) in part.iter_mut().zip(nibbles) {
            *value = s * f32::from(byte >> (4 * (i % 2)) & 15) - m;
        }
    }
}

/// As [`q4_k`], with 32 bytes of fifth bits before the nibbles: bit `i` belongs to sub-block `i`.
fn q5_k(block: &[u8; 176], out: &mut [f32; LARGE]) {
    let (scale, minimum) = (half_at(block, 0), half_at(block, 2));
    let high = &block[16..48];
    for (i, part) in out.as_chunks_mut::<SMALL>().0.iter_mut().enumerate() {
        let (s, m) = six_bit_pair(&block[4..16], i);
        let (s, m) = (scale * s, minimum * m);
        let nibbles = &block[48 + i / 2 * SMALL..][..SMALL];
        for ((value, byte), high) in part.iter_mut().zip(nibbles).zip(high) {
            *value = s * f32::from((byte >> (4 * (i % 2)) & 15) | (high >> i & 1) << 4) - m;
        }
    }
}

/// 128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 signed scales, one scale over them.
/// Each half of 128 values is four runs of 32 that share their upper bits' bytes.
fn q6_k(block: &[u8; 210], out: &mut [f32; LARGE]) {
    let scale = half_at(block, 208);
    for (i, part) in out.as_chunks_mut::<SMALL>().0.iter_mut().enumerate() {
        let (half, run) = (i / 4, i % 4);
        let low = &block[half * 64 + run % 2 * SMALL..][..SMALL];
        let high = &block[128 + half * SMALL..][..SMALL];
        for (l, value) in part.iter_mut().enumerate() {
            let six = (low[l] >> (4 * (run / 2)) & 15) | (high[l] >> (2 * run) & 3) << 4;
            let sub_scale = block[192 + half * 8 + run * 2 + l / 16] as i8;
            *value = (scale * f32::from(sub_scale)) * (f32::from(six) - 32.0);
        }
    }
}
