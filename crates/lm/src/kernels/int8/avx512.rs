//! The kernel of eight-bit products for processors with AVX-512 VNNI.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::{GROUP, Line, Product, QUAD, Scales, WIDTH};

/// Rows of a tile.
const TILE: usize = 8;
/// Bytes that memory hands over at once.
const CACHE_LINE: usize = 64;

/// # Safety
/// The processor must have AVX-512 F and VNNI; rows and panel must exist, and nobody else may touch their results meanwhile.
#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) unsafe fn panel(product: &Product<'_>, rows: Range<usize>, panel: usize) {
    let mut ahead = Ahead::new(product.panel(panel).0, rows.len());
    let mut row = rows.start;
    while row < rows.end {
        let next = (row + TILE).min(rows.end);
        // SAFETY: passed on to the caller.
        unsafe {
            match next - row {
                1 => tile::<1>(product, row, panel, &mut ahead),
                2 => tile::<2>(product, row, panel, &mut ahead),
                3 => tile::<3>(product, row, panel, &mut ahead),
                4 => tile::<4>(product, row, panel, &mut ahead),
                5 => tile::<5>(product, row, panel, &mut ahead),
                6 => tile::<6>(product, row, panel, &mut ahead),
                7 => tile::<7>(product, row, panel, &mut ahead),
                _ => tile::<TILE>(product, row, panel, &mut ahead),
            }
        }
        row = next;
    }
}

/// Asks for the panel behind the one that runs past, so that it has come by then: where rows are few, weights are read from far away
/// for little work.
struct Ahead {
    next: *const i8,
    /// Cache lines asked for with each line of the panel at hand: more where it runs past fewer tiles of rows.
    step: usize,
    left: usize,
}

impl Ahead {
    fn new(panel: &[Line], rows: usize) -> Self {
        let lines = size_of::<Line>() / CACHE_LINE;
        let step = lines.div_ceil(rows.div_ceil(TILE).max(1));
        Ahead { next: panel.as_ptr_range().end.cast(), step, left: lines * panel.len() }
    }

    #[inline(always)]
    fn ask(&mut self) {
        for _ in 0..self.step.min(self.left) {
            // SAFETY: a hint, which reads nothing; the last panel has none behind it.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(self.next) };
            self.next = self.next.wrapping_add(CACHE_LINE);
            self.left -= 1;
        }
    }

    /// The scales of the panel behind, for one group.
    #[inline(always)]
    fn ask_scales(&self, scales: &[Scales], group: usize) {
        let next: *const i8 = scales.as_ptr().wrapping_add(scales.len() + group).cast();
        for line in (0..size_of::<Scales>()).step_by(CACHE_LINE).take_while(|_| self.left > 0) {
            // SAFETY: as above.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(next.wrapping_add(line)) };
        }
    }
}

/// Whole numbers summed over one group, for the rows and the three vectors of a tile.
type Whole<const ROWS: usize> = [[__m512i; 3]; ROWS];

/// Sums of a tile between two groups, in a place of their own: there are more of them than registers.
#[repr(align(64))]
struct Sums<const ROWS: usize>(MaybeUninit<[[[f32; 16]; 3]; ROWS]>);

/// # Safety
/// As [`panel`], for `ROWS` rows from `row`.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn tile<const ROWS: usize>(product: &Product<'_>, row: usize, panel: usize, ahead: &mut Ahead) {
    let (quads, scales) = product.panel(panel);
    let (depth, last) = (quads.len(), scales.len() - 1);
    let codes = product.row(row).0.as_ptr();
    let mut sums = Sums(MaybeUninit::uninit());
    for group in 0..scales.len() {
        let mut whole = [[_mm512_setzero_si512(); 3]; ROWS];
        ahead.ask_scales(scales, group);
        for d in group * GROUP / QUAD..depth.min((group + 1) * GROUP / QUAD) {
            ahead.ask();
            // SAFETY: a line is three vectors; each row has as many quads as the panel, and follows the one before.
            unsafe {
                let line: *const __m512i = quads.as_ptr().add(d).cast();
                let b = [0, 1, 2].map(|v| _mm512_load_si512(line.add(v)));
                for (i, whole) in whole.iter_mut().enumerate() {
                    let a = _mm512_set1_epi32(codes.add(i * depth + d).cast::<i32>().read_unaligned());
                    for (whole, b) in whole.iter_mut().zip(b) {
                        *whole = _mm512_dpbusd_epi32(*whole, a, b);
                    }
                }
            }
        }
        // SAFETY: passed on to the caller; the first group writes the sums that later ones read.
        unsafe {
            match (group == 0, group == last) {
                (true, true) => add::<ROWS, true, true>(product, row, panel, group, &whole, &mut sums),
                (true, false) => add::<ROWS, true, false>(product, row, panel, group, &whole, &mut sums),
                (false, true) => add::<ROWS, false, true>(product, row, panel, group, &whole, &mut sums),
                (false, false) => add::<ROWS, false, false>(product, row, panel, group, &whole, &mut sums),
            }
        }
    }
}

/// Scales what a group gave and adds it to the sums. Those of the first group start from the bias and, where they add to it,
/// from the result; those of the last become the result.
///
/// # Safety
/// As [`tile`]; `sums` must have been written by the group before, if it is not the `FIRST`.
#[target_feature(enable = "avx512f,avx512vnni")]
#[inline]
unsafe fn add<const ROWS: usize, const FIRST: bool, const LAST: bool>(
    product: &Product<'_>,
    row: usize,
    panel: usize,
    group: usize,
    whole: &Whole<ROWS>,
    sums: &mut Sums<ROWS>,
) {
    let (n, (_, scales)) = (product.panels.n, product.panel(panel));
    let some: [__mmask16; 3] = std::array::from_fn(|v| lanes((n - panel * WIDTH).saturating_sub(16 * v)));
    let kept: *mut f32 = sums.0.as_mut_ptr().cast();
    // SAFETY: scales and sums are three vectors each; every row has this group; the masks leave the columns that exist, and
    // this call alone writes there.
    unsafe {
        let of_columns = scales.get_unchecked(group);
        let scale = [0, 16, 32].map(|at| _mm512_load_ps(of_columns.scale.as_ptr().add(at)));
        let weights = [0, 16, 32].map(|at| _mm512_load_ps(of_columns.sum.as_ptr().add(at)));
        for (i, whole) in whole.iter().enumerate() {
            let [step, lowest] = *product.x.scales.as_ptr().add((row + i) * scales.len() + group);
            let (step, lowest) = (_mm512_set1_ps(step), _mm512_set1_ps(lowest));
            for v in 0..3 {
                let kept = kept.add(48 * i + 16 * v);
                let column = panel * WIDTH + 16 * v;
                let slot = product.c.0.wrapping_add((row + i) * n + column);
                let before = if FIRST {
                    let bias = _mm512_maskz_loadu_ps(some[v], product.bias.as_ptr().wrapping_add(column));
                    let old = if product.accumulate { some[v] } else { 0 };
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

/// Rounds a group of at most [`GROUP`] numbers to 256 even steps from its lowest to its highest; returns the step and the
/// lowest, which is NaN if some number is not finite.
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
    // Both are folded at once: the highest in the lower eight lanes, the opposite of the lowest in the upper.
    let low = _mm512_sub_ps(_mm512_setzero_ps(), low);
    let both = _mm512_max_ps(_mm512_shuffle_f32x4(high, low, 0x44), _mm512_shuffle_f32x4(high, low, 0xEE));
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
