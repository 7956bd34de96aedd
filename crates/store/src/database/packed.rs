//! A vector as the database holds it: two bytes a number.
//!
//! `number = scale * (first + second / 254)`, with a scale for each vector. The error of a number
//! is below a 64,000th of the vector's largest.

/// Bytes before those of the numbers in a packed vector: its scale, an f32, little endian.
const SCALE: usize = 4;
/// What a byte is above its value.
pub(crate) const ZERO: f32 = 128.0;
/// Steps of a second byte in one of the first.
const PARTS: f32 = 254.0;

/// A vector of finite numbers as the database holds it: its scale, the first bytes of its numbers,
/// then the second ones.
pub(crate) fn pack(vector: &[f32]) -> Vec<u8> {
    let largest = vector.iter().fold(0f32, |largest, number| largest.max(number.abs()));
    let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let whole = |number: &f32| (number / scale).round().clamp(-127.0, 127.0);
    let part =
        |number: &f32| ((number / scale - whole(number)) * PARTS).round().clamp(-127.0, 127.0);
    let mut packed = Vec::with_capacity(SCALE + 2 * vector.len());
    packed.extend(scale.to_le_bytes());
    packed.extend(vector.iter().map(|number| (whole(number) + ZERO) as u8));
    packed.extend(vector.iter().map(|number| (part(number) + ZERO) as u8));
    packed
}

/// The numbers of a packed vector; `None` where the bytes are none.
pub(crate) fn unpack(packed: &[u8]) -> Option<Vec<f32>> {
    let (scale, first, second) = parts(packed)?;
    let number = |(&first, &second): (&u8, &u8)| {
        scale * (f32::from(first) - ZERO + (f32::from(second) - ZERO) / PARTS)
    };
    Some(first.iter().zip(second).map(number).collect())
}

/// Scale, first and second bytes.
pub(crate) fn parts(packed: &[u8]) -> Option<(f32, &[u8], &[u8])> {
    let (scale, numbers) = packed.split_first_chunk::<SCALE>()?;
    let (first, second) = numbers.split_at(numbers.len() / 2);
    (first.len() == second.len()).then_some((f32::from_le_bytes(*scale), first, second))
}

/// Numbers in a packed vector of so many bytes.
pub(crate) fn packed_numbers(bytes: usize) -> usize {
    bytes.saturating_sub(SCALE) / 2
}

/// Sums that are added up side by side, so that the compiler can use vector registers of any width.
const LANES: usize = 16;

/// The inner product of two vectors.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// `vector` scaled to unit length; unchanged when it already has it, or has none.
pub(crate) fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = dot(&vector, &vector).sqrt();
    if norm > 0.0 && (norm - 1.0).abs() > 1e-4 {
        vector.iter_mut().for_each(|number| *number /= norm);
    }
    vector
}
