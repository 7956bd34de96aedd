//! The kernel of eight-bit products for processors with AVX-512 VNNI.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::{GROUP, Line, Product, QUAD, ROW_BLOCK, Scales, WIDTH};

/// Rows of a tile, at most.
const TILE: usize = 8;
/// Lines that are multiplied between two looks at anything else.
const UNROLLED: usize = 4;
/// Bytes that memory hands over at once.
const CACHE_LINE: usize = 64;

/// # Safety
/// The processor must have AVX-512 F and VNNI; rows, at most [`ROW_BLOCK`], and panel must exist,
/// and nobody else may touch their results meanwhile.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn panel(product: &Product<'_>, rows: Range<usize>, panel: usize) {
    let (quads, scales) = product.panel(panel);
    let mut sums = Sums(MaybeUninit::uninit());
    // Group by group, so that weights stay in the first cache for all rows, however many inputs
    // there are.
    for (group, (quads, scales)) in quads.chunks(GROUP / QUAD).zip(scales).enumerate() {
        let mut ahead = Ahead::new(quads, scales, rows.len());
        let mut row = rows.start;
        // Tiles of about as many rows each: a small one would wait for its own sums.
        for tiles in (1..=rows.len().div_ceil(TILE)).rev() {
            let some = (rows.end - row).div_ceil(tiles);
            let place = Place { panel, group, row, kept: row - rows.start };
            // SAFETY: passed on to the caller; the groups come in order.
            unsafe {
                match some {
                    1 => tile::<1>(product, quads, place, &mut sums, &mut ahead),
                    2 => tile::<2>(product, quads, place, &mut sums, &mut ahead),
                    3 => tile::<3>(product, quads, place, &mut sums, &mut ahead),
                    4 => tile::<4>(product, quads, place, &mut sums, &mut ahead),
                    5 => tile::<5>(product, quads, place, &mut sums, &mut ahead),
                    6 => tile::<6>(product, quads, place, &mut sums, &mut ahead),
                    7 => tile::<7>(product, quads, place, &mut sums, &mut ahead),
                    _ => tile::<TILE>(product, quads, place, &mut sums, &mut ahead),
                }
            }
            row += some;
        }
    }
}

/// Asks for the group behind the one that runs past, so that it has come by then: where rows are
/// few, weights are read from far away for little work.
struct Ahead {
    next: *const i8,
    /// Cache lines asked for at a time: more where the group at hand runs past fewer tiles of rows.
    step: usize,
    left: usize,
}

impl Ahead {
    fn new(group: &[Line], scales: &Scales, rows: usize) -> Self {
        let lines = size_of::<Line>() / CACHE_LINE;
        let next: *const i8 = std::ptr::from_ref(scales).wrapping_add(1).cast();
        for line in (0..size_of::<Scales>()).step_by(CACHE_LINE) {
            // SAFETY: a hint, which reads nothing; the last group has none behind it.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(line)) };
        }
        let step = (UNROLLED * lines).div_ceil(rows.div_ceil(TILE).max(1));
        Ahead { next: group.as_ptr_range().end.cast(), step, left: lines * group.len() }
    }

    #[inline(always)]
    fn ask(&mut self) {
        for _ in 0..self.step.min(self.left) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.next) };
            self.next = self.next.wrapping_add(CACHE_LINE);
            self.left -= 1;
        }
    }
}

/// Which weights a tile multiplies, its first row, and which of the kept sums are that row's.
#[derive(Clone, Copy)]
struct Place {
    panel: usize,
    group: usize,
    row: usize,
    kept: usize,
}

/// Whole numbers summed over one group, for the rows and the three vectors of a tile.
type Whole<const ROWS: usize> = [[__m512i; 3]; ROWS];

/// Sums of all rows between two groups.
#[repr(align(64))]
struct Sums(MaybeUninit<[[[f32; 16]; 3]; ROW_BLOCK]>);

/// # Safety
/// As [`panel`], for `ROWS` rows and a group's `quads`.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile<const ROWS: usize>(
    product: &Product<'_>,
    quads: &[Line],
    place: Place,
    sums: &mut Sums,
    ahead: &mut Ahead,
) {
    let depth = product.x.k.div_ceil(QUAD);
    let mut codes = product.row(place.row).0.as_ptr().wrapping_add(place.group * GROUP / QUAD);
    let mut whole = [[_mm512_setzero_si512(); 3]; ROWS];
    let (some, rest) = quads.as_chunks::<UNROLLED>();
    // SAFETY: each row has as many quads as the panel, and follows the one before.
    unsafe {
        for lines in some {
            ahead.ask();
            for (d, line) in lines.iter().enumerate() {
                multiply(&mut whole, line, codes.add(d), depth);
            }
            codes = codes.add(UNROLLED);
        }
        for (d, line) in rest.iter().enumerate() {
            multiply(&mut whole, line, codes.add(d), depth);
        }
    }
    let last = product.x.k.div_ceil(GROUP) - 1;
    // SAFETY: passed on to the caller; the first group writes the sums that later ones read.
    unsafe {
        match (place.group == 0, place.group == last) {
            (true, true) => add::<ROWS, true, true>(product, place, &whole, sums),
            (true, false) => add::<ROWS, true, false>(product, place, &whole, sums),
            (false, true) => add::<ROWS, false, true>(product, place, &whole, sums),
            (false, false) => add::<ROWS, false, false>(product, place, &whole, sums),
        }
    }
}

/// Adds the products of a line with a quad of each row, the first of which is at `codes` and the
/// next `depth` quads behind it.
///
/// # Safety
/// The processor must have AVX-512 F and VNNI; the quads must exist.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn multiply<const ROWS: usize>(
    whole: &mut Whole<ROWS>,
    line: &Line,
    codes: *const [u8; QUAD],
    depth: usize,
) {
    // SAFETY: a line is three vectors; the rest is passed on to the caller.
    unsafe {
        let line: *const __m512i = line.0.as_ptr().cast();
        let b = [0, 1, 2].map(|v| _mm512_load_si512(line.add(v)));
        for (i, whole) in whole.iter_mut().enumerate() {
            let a = _mm512_set1_epi32(codes.add(i * depth).cast::<i32>().read_unaligned());
            for (whole, b) in whole.iter_mut().zip(b) {
                *whole = _mm512_dpbusd_epi32(*whole, a, b);
            }
        }
    }
}

/// Scales what a group gave and adds it to the sums. Those of the first group start from the bias
/// and, where they add to it, from the result; those of the last become the result.
///
/// # Safety
/// As [`tile`]; `sums` must have been written by the group before, if it is not the `FIRST`.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn add<const ROWS: usize, const FIRST: bool, const LAST: bool>(
    product: &Product<'_>,
    place: Place,
    whole: &Whole<ROWS>,
    sums: &mut Sums,
) {
    let Place { panel, group, row, kept } = place;
    let (n, (_, scales)) = (product.panels.n, product.panel(panel));
    let some: [__mmask16; 3] =
        std::array::from_fn(|v| lanes((n - panel * WIDTH).saturating_sub(16 * v)));
    let kept = sums.0.as_mut_ptr().cast::<f32>().wrapping_add(WIDTH * kept);
    // SAFETY: scales and sums are three vectors each; every row has this group; the masks leave the
    // columns that exist, and this call alone writes there.
    unsafe {
        let of_columns = scales.get_unchecked(group);
        let scale = [0, 16, 32].map(|at| _mm512_load_ps(of_columns.scale.as_ptr().add(at)));
        let weights = [0, 16, 32].map(|at| _mm512_load_ps(of_columns.sum.as_ptr().add(at)));
        for (i, whole) in whole.iter().enumerate() {
            let [step, lowest] = *product.x.scales.as_ptr().add((row + i) * scales.len() + group);
            let (step, lowest) = (_mm512_set1_ps(step), _mm512_set1_ps(lowest));
            for v in 0..3 {
                let kept = kept.add(WIDTH * i + 16 * v);
                let column = panel * WIDTH + 16 * v;
                let slot = product.c.0.wrapping_add((row + i) * n + column);
                let before = if FIRST {
                    let bias =
                        _mm512_maskz_loadu_ps(some[v], product.bias.as_ptr().wrapping_add(column));
                    let old = if product.write.adds() { some[v] } else { 0 };
                    _mm512_add_ps(_mm512_maskz_loadu_ps(old, slot), bias)
                } else {
                    _mm512_load_ps(kept)
                };
                let sum = _mm512_fmadd_ps(lowest, weights[v], before);
                let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(whole[v]), scale[v]);
                let sum = _mm512_fmadd_ps(scaled, step, sum);
                if LAST {
                    _mm512_mask_storeu_ps(slot, some[v], sum);
                } else {
                    _mm512_store_ps(kept, sum);
                }
            }
        }
    }
}

/// The lanes of a vector of which `count` numbers exist.
fn lanes(count: usize) -> __mmask16 {
    if count >= 16 { !0 } else { (1 << count) - 1 }
}

/// Rounds a group of at most [`GROUP`] numbers to 256 even steps from its lowest to its highest;
/// returns the step and the lowest, which is NaN if some number is not finite.
///
/// # Safety
/// The processor must have AVX-512 F; there must be a number, and as many codes as numbers.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn round(x: &[f32], codes: &mut [u8]) -> [f32; 2] {
    // SAFETY: passed on to the caller.
    unsafe {
        match x.len() {
            GROUP => round_some::<true>(x, codes),
            _ => round_some::<false>(x, codes),
        }
    }
}

/// # Safety
/// As [`round`], with [`GROUP`] numbers if `WHOLE`.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn round_some<const WHOLE: bool>(x: &[f32], codes: &mut [u8]) -> [f32; 2] {
    let some = |v: usize| if WHOLE { !0 } else { lanes(x.len().saturating_sub(16 * v)) };
    // The first number stands in for those that do not exist.
    let first = _mm512_set1_ps(x[0]);
    let mut numbers = [first; GROUP / 16];
    let (mut low, mut high, mut doubt) = (first, first, _mm512_setzero_ps());
    for (v, numbers) in numbers.iter_mut().enumerate() {
        // SAFETY: the mask leaves the numbers that exist.
        *numbers = unsafe { _mm512_mask_loadu_ps(first, some(v), x.as_ptr().wrapping_add(16 * v)) };
        low = _mm512_min_ps(low, *numbers);
        high = _mm512_max_ps(high, *numbers);
        // Zero, or NaN for what is not finite.
        doubt = _mm512_fmadd_ps(*numbers, _mm512_setzero_ps(), doubt);
    }
    // Both are folded at once: the highest in the lower eight lanes, the opposite of the lowest in
    // the upper.
    let low = _mm512_sub_ps(_mm512_setzero_ps(), low);
    let both =
        _mm512_max_ps(_mm512_shuffle_f32x4(high, low, 0x44), _mm512_shuffle_f32x4(high, low, 0xEE));
    let both = _mm512_max_ps(both, _mm512_shuffle_f32x4(both, both, 0xB1));
    let both = _mm512_max_ps(both, _mm512_permute_ps(both, 0x4E));
    let both = _mm512_max_ps(both, _mm512_permute_ps(both, 0xB1));
    let highest = _mm512_cvtss_f32(both);
    let lowest = -_mm_cvtss_f32(_mm512_extractf32x4_ps(both, 2));
    let range = highest - lowest;
    let inverse = if range > 0.0 { 255.0 / range } else { 0.0 };
    let (from, factor) = (_mm512_set1_ps(lowest), _mm512_set1_ps(inverse));
    for (v, numbers) in numbers.into_iter().enumerate() {
        let steps = _mm512_mul_ps(_mm512_sub_ps(numbers, from), factor);
        let steps = _mm512_cvtps_epi32(steps);
        let to = codes.as_mut_ptr().wrapping_add(16 * v);
        // SAFETY: the mask leaves the codes that exist.
        unsafe {
            match WHOLE {
                true => _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(steps)),
                false => _mm512_mask_cvtusepi32_storeu_epi8(to.cast(), some(v), steps),
            }
        }
    }
    let finite = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(doubt, doubt) == 0;
    [range / 255.0, if finite { lowest } else { f32::NAN }]
}
