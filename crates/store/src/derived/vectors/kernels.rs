//! Inner products of rows of bytes, with the widest instructions of this processor.
//!
//! A row's numbers are unsigned bytes, 128 above their value, and a query's are signed bytes: that
//! is the pairing that AVX-512 VNNI multiplies. What the 128 adds to a product is the same for all
//! rows, and [`super::rows::Code`] takes it off.
//!
//! Every level gives the same numbers. Products of bytes are whole numbers, which add up to the
//! same in any order, and the fine products are added in the same order on every level.

use cpu::Isa;

/// Rows and codes are padded to a multiple of this many bytes: the widest register.
pub(super) const BLOCK: usize = 64;

/// The inner products of `code` with the rows that lie one after the other in `rows`, in order. A
/// row is as long as `code`, which is a multiple of [`BLOCK`].
pub(super) fn all_dots(rows: &[u8], code: &[i8], dots: &mut Vec<i32>) {
    all_dots_at(Isa::current(), rows, code, dots);
}

/// The inner products of `code` with the rows number `which` of `rows`.
pub(super) fn some_dots(rows: &[u8], which: &[u32], code: &[i8], dots: &mut Vec<i32>) {
    some_dots_at(Isa::current(), rows, which, code, dots);
}

/// The inner product of `code` with one row, which is as long.
pub(super) fn one_dot(row: &[u8], code: &[i8]) -> i32 {
    one_dot_at(Isa::current(), row, code)
}

/// The inner product of `numbers` with a row of two bytes a number: the first 128 above the value,
/// the second in 254ths of the first's unit.
pub(super) fn fine_dot(first: &[u8], second: &[u8], numbers: &[f32]) -> f32 {
    fine_dot_at(Isa::current(), first, second, numbers)
}

fn fine_dot_at(isa: Isa, first: &[u8], second: &[u8], numbers: &[f32]) -> f32 {
    match isa {
        // SAFETY: the level is only chosen where the processor has these instructions.
        #[cfg(target_arch = "x86_64")]
        isa if isa >= Isa::Avx512Vnni => unsafe { fine_dot_avx512(first, second, numbers) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        isa if isa >= Isa::Avx2 => unsafe { fine_dot_avx2(first, second, numbers) },
        _ => fine_dot_lanes(first, second, numbers),
    }
}

fn one_dot_at(isa: Isa, row: &[u8], code: &[i8]) -> i32 {
    match isa {
        // SAFETY: the level is only chosen where the processor has these instructions.
        #[cfg(target_arch = "x86_64")]
        isa if isa >= Isa::Avx512Vnni => unsafe { dot_vnni(row, code) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        isa if isa >= Isa::Avx2 => unsafe { dot_avx2(row, code) },
        _ => dot(row, code),
    }
}

fn all_dots_at(isa: Isa, rows: &[u8], code: &[i8], dots: &mut Vec<i32>) {
    dots.clear();
    if code.is_empty() {
        return;
    }
    match isa {
        // SAFETY: the level is only chosen where the processor has these instructions.
        #[cfg(target_arch = "x86_64")]
        isa if isa >= Isa::Avx512Vnni => unsafe { all_dots_vnni(rows, code, dots) },
        _ => dots.extend(rows.chunks_exact(code.len()).map(|row| one_dot_at(isa, row, code))),
    }
}

fn some_dots_at(isa: Isa, rows: &[u8], which: &[u32], code: &[i8], dots: &mut Vec<i32>) {
    let row = |number: u32| &rows[number as usize * code.len()..][..code.len()];
    which.iter().for_each(|&number| prefetch(row(number)));
    dots.clear();
    match isa {
        // SAFETY: the level is only chosen where the processor has these instructions.
        #[cfg(target_arch = "x86_64")]
        isa if isa >= Isa::Avx512Vnni => unsafe { some_dots_vnni(rows, which, code, dots) },
        _ => dots.extend(which.iter().map(|&number| one_dot_at(isa, row(number), code))),
    }
}

/// Asks for numbers that are read soon: what a graph needs next lies anywhere, and waiting for one
/// after the other costs most.
#[inline]
pub(super) fn prefetch<T>(numbers: &[T]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    for line in numbers.chunks(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint: it reads nothing, and the address lies in `numbers` anyway.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = numbers;
}

/// Sums in 32 bits: 255 * 127 a number, so good for 66,000 numbers.
#[inline(always)]
fn dot(row: &[u8], code: &[i8]) -> i32 {
    row.iter().zip(code).map(|(&a, &b)| i32::from(i16::from(a)) * i32::from(i16::from(b))).sum()
}

/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn dot_avx2(row: &[u8], code: &[i8]) -> i32 {
    dot(row, code)
}

/// The processor must have AVX-512 F and VNNI.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dot_vnni(row: &[u8], code: &[i8]) -> i32 {
    use std::arch::x86_64::{
        _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_reduce_add_epi32, _mm512_setzero_si512,
    };
    let mut sum = _mm512_setzero_si512();
    let (row, code) = (row.as_chunks::<BLOCK>().0, code.as_chunks::<BLOCK>().0);
    for (row, code) in row.iter().zip(code) {
        // SAFETY: both are blocks of 64 bytes, and the load needs no alignment.
        let (row, code) = unsafe {
            (_mm512_loadu_si512(row.as_ptr().cast()), _mm512_loadu_si512(code.as_ptr().cast()))
        };
        sum = _mm512_dpbusd_epi32(sum, row, code);
    }
    _mm512_reduce_add_epi32(sum)
}

/// The processor must have AVX-512 F and VNNI.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn all_dots_vnni(rows: &[u8], code: &[i8], dots: &mut Vec<i32>) {
    let mut fours = rows.chunks_exact(4 * code.len());
    for four in &mut fours {
        let (first, last) = four.split_at(2 * code.len());
        let ((a, b), (c, d)) = (first.split_at(code.len()), last.split_at(code.len()));
        dots.extend(four_dots_vnni([a, b, c, d], code));
    }
    for row in fours.remainder().chunks_exact(code.len()) {
        dots.push(dot_vnni(row, code));
    }
}

/// The processor must have AVX-512 F and VNNI.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn some_dots_vnni(rows: &[u8], which: &[u32], code: &[i8], dots: &mut Vec<i32>) {
    let row = |number: u32| &rows[number as usize * code.len()..][..code.len()];
    let (fours, rest) = which.as_chunks::<4>();
    for four in fours {
        dots.extend(four_dots_vnni(four.map(row), code));
    }
    for &number in rest {
        dots.push(dot_vnni(row(number), code));
    }
}

/// The products of four rows at once: `code` is loaded once for all, and sums are folded together.
///
/// The processor must have AVX-512 F and VNNI.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
fn four_dots_vnni(rows: [&[u8]; 4], code: &[i8]) -> [i32; 4] {
    use std::arch::x86_64::*;
    let code = code.as_chunks::<BLOCK>().0;
    let rows = rows.map(|row| &row.as_chunks::<BLOCK>().0[..code.len()]);
    let mut sums = [_mm512_setzero_si512(); 4];
    for (at, code) in code.iter().enumerate() {
        // SAFETY: all are blocks of 64 bytes, and the load needs no alignment.
        let code = unsafe { _mm512_loadu_si512(code.as_ptr().cast()) };
        for (sum, row) in sums.iter_mut().zip(&rows) {
            // SAFETY: as above.
            let row = unsafe { _mm512_loadu_si512(row[at].as_ptr().cast()) };
            *sum = _mm512_dpbusd_epi32(*sum, row, code);
        }
    }
    // Two rows in each pair of lanes, then four in each quarter, then the quarters.
    let [a, b, c, d] = sums;
    let first = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let second = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let all = _mm512_add_epi32(
        _mm512_unpacklo_epi64(first, second),
        _mm512_unpackhi_epi64(first, second),
    );
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    let quarter = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    let mut dots = [0; 4];
    // SAFETY: there is room for four numbers, and the store needs no alignment.
    unsafe { _mm_storeu_si128(dots.as_mut_ptr().cast(), quarter) };
    dots
}

/// Lanes that are added up apart, so that the compiler can use registers of any width and every
/// level adds in the same order.
const LANES: usize = 16;

#[inline(always)]
fn fine_dot_lanes(first: &[u8], second: &[u8], numbers: &[f32]) -> f32 {
    let value = |first: u8, second: u8| {
        (i32::from(first) - 128) as f32 + (i32::from(second) - 128) as f32 * (1.0 / 254.0)
    };
    let (a, b, c) =
        (first.as_chunks::<LANES>(), second.as_chunks::<LANES>(), numbers.as_chunks::<LANES>());
    let mut sums = [0f32; LANES];
    for ((a, b), c) in a.0.iter().zip(b.0).zip(c.0) {
        for lane in 0..LANES {
            sums[lane] += value(a[lane], b[lane]) * c[lane];
        }
    }
    let rest: f32 = a.1.iter().zip(b.1).zip(c.1).map(|((&a, &b), c)| value(a, b) * c).sum();
    sums.iter().sum::<f32>() + rest
}

/// The processor must have AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fine_dot_avx2(first: &[u8], second: &[u8], numbers: &[f32]) -> f32 {
    fine_dot_lanes(first, second, numbers)
}

/// The processor must have AVX-512 F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn fine_dot_avx512(first: &[u8], second: &[u8], numbers: &[f32]) -> f32 {
    fine_dot_lanes(first, second, numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_gives_the_same_products() {
        let width = 3 * BLOCK;
        let rows: Vec<u8> = (0..9 * width).map(|at| (at * 97 % 256) as u8).collect();
        let code: Vec<i8> = (0..width).map(|at| (at * 31 % 255) as u8 as i8).collect();
        let slow = |row: usize| -> i32 {
            (0..width).map(|at| i32::from(rows[row * width + at]) * i32::from(code[at])).sum()
        };
        for isa in Isa::available() {
            let (mut all, mut some) = (Vec::new(), Vec::new());
            all_dots_at(isa, &rows, &code, &mut all);
            assert_eq!(all, (0..9).map(slow).collect::<Vec<_>>(), "{isa}");
            let which = [7, 0, 7, 3, 8, 1, 2];
            some_dots_at(isa, &rows, &which, &code, &mut some);
            assert_eq!(some, which.map(|row| slow(row as usize)), "{isa}");
            assert_eq!(one_dot_at(isa, &rows[4 * width..5 * width], &code), slow(4), "{isa}");
        }
        // The largest sums there are.
        let (rows, code) = (vec![255u8; 5 * width], vec![-127i8; width]);
        for isa in Isa::available() {
            let mut dots = Vec::new();
            all_dots_at(isa, &rows, &code, &mut dots);
            assert_eq!(dots, [-255 * 127 * width as i32; 5], "{isa}");
        }
    }

    #[test]
    fn a_fine_product_has_the_same_bits_everywhere() {
        let first: Vec<u8> = (0..83).map(|at| (at * 71 % 256) as u8).collect();
        let second: Vec<u8> = (0..83).map(|at| (at * 29 % 256) as u8).collect();
        let numbers: Vec<f32> = (0..83).map(|at| (at as f32).sin()).collect();
        let lanes = fine_dot_lanes(&first, &second, &numbers);
        for isa in Isa::available() {
            let fine = fine_dot_at(isa, &first, &second, &numbers);
            assert_eq!(fine.to_bits(), lanes.to_bits(), "{isa}");
        }
        let slow: f64 = (0..83)
            .map(|at| {
                let value = f64::from(first[at]) - 128.0 + (f64::from(second[at]) - 128.0) / 254.0;
                value * f64::from(numbers[at])
            })
            .sum();
        assert!((f64::from(lanes) - slow).abs() < 1e-2);
    }
}
