//! Sixteen texts at a time: gathered, compared, compressed and scattered. The processor must have
//! AVX-512 F.

use std::arch::x86_64::*;

use super::super::bm25::TermWeight;
use super::super::bound::{Bound, ROUNDING};

const LANES: usize = 16;

/// Some texts in a register.
#[derive(Clone, Copy)]
struct Texts {
    places: __m512i,
    /// The lanes that hold one.
    some: __mmask16,
    /// All are below this number.
    all: usize,
}

/// As [`super::Kernels::add_weights`].
#[target_feature(enable = "avx512f")]
pub(super) fn add_weights(
    texts: &[u32],
    frequencies: &[u32],
    TermWeight { norm, idf }: TermWeight,
    lengths: &[f32],
    scores: &mut [f32],
) {
    let [least, slope, idf] = [norm.least, norm.slope, idf].map(|number| _mm512_set1_ps(number));
    for (texts, frequencies) in texts.chunks(LANES).zip(frequencies.chunks(LANES)) {
        let texts = Texts::of(texts, scores.len());
        let frequency = _mm512_cvtepi32_ps(load(frequencies));
        // Nothing is fused, as elsewhere.
        let divisor = _mm512_add_ps(
            _mm512_add_ps(frequency, least),
            _mm512_mul_ps(slope, texts.gather(lengths)),
        );
        let weight = _mm512_div_ps(_mm512_mul_ps(idf, frequency), divisor);
        texts.scatter(scores, texts.some, _mm512_add_ps(texts.gather(scores), weight));
    }
}

/// As [`super::Kernels::keep_new`]; returns how many are kept.
#[target_feature(enable = "avx512f")]
pub(super) fn keep_new(texts: &mut [u32], known: usize, scores: &[f32]) -> usize {
    let zero = _mm512_setzero_ps();
    let mut kept = known;
    for at in (known..texts.len()).step_by(LANES) {
        let group = Texts::at(texts, at, scores.len());
        let stays = _mm512_mask_cmp_ps_mask::<_CMP_EQ_OQ>(group.some, group.gather(scores), zero);
        kept += store(&mut texts[kept..], group.places, stays);
    }
    kept
}

/// As [`super::Kernels::prune`]; returns how many are kept.
#[target_feature(enable = "avx512f")]
pub(super) fn prune(texts: &mut [u32], scores: &mut [f32], bound: Bound) -> usize {
    let [max_score, rounding, threshold] =
        [bound.max_score, ROUNDING, bound.threshold].map(|number| _mm512_set1_ps(number));
    let mut kept = 0;
    for at in (0..texts.len()).step_by(LANES) {
        let group = Texts::at(texts, at, scores.len());
        let most = _mm512_mul_ps(_mm512_add_ps(group.gather(scores), max_score), rounding);
        let stays = _mm512_mask_cmp_ps_mask::<_CMP_GE_OQ>(group.some, most, threshold);
        group.scatter(scores, group.some & !stays, _mm512_setzero_ps());
        kept += store(&mut texts[kept..], group.places, stays);
    }
    kept
}

/// As [`super::Kernels::keep_scored`]; returns how many are kept.
#[target_feature(enable = "avx512f")]
pub(super) fn keep_scored(texts: &mut [u32], frequencies: &mut [u32], scores: &[f32]) -> usize {
    let zero = _mm512_setzero_ps();
    let mut kept = 0;
    for at in (0..texts.len()).step_by(LANES) {
        let group = Texts::at(texts, at, scores.len());
        let stays = _mm512_mask_cmp_ps_mask::<_CMP_GT_OQ>(group.some, group.gather(scores), zero);
        let end = frequencies.len().min(at + LANES);
        let of_group = load(&frequencies[at..end]);
        store(&mut frequencies[kept..], of_group, stays);
        kept += store(&mut texts[kept..], group.places, stays);
    }
    kept
}

impl Texts {
    /// Sixteen texts at most, of `all` that there are.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn of(texts: &[u32], all: usize) -> Self {
        // An index is a signed number.
        let largest = i32::try_from(all).unwrap_or(i32::MAX);
        let (places, some) = (load(texts), lanes(texts.len()));
        let there = _mm512_mask_cmplt_epu32_mask(some, places, _mm512_set1_epi32(largest));
        assert_eq!(there, some, "a text outside {all}");
        Texts { places, some, all }
    }

    /// Those from the place `at` of a list on.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn at(texts: &[u32], at: usize, all: usize) -> Self {
        Self::of(&texts[at..texts.len().min(at + LANES)], all)
    }

    /// What each has among `numbers` of all; 0 in the other lanes.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn gather(self, numbers: &[f32]) -> __m512 {
        assert!(self.all <= numbers.len(), "{} numbers for {} texts", numbers.len(), self.all);
        // SAFETY: every text in these lanes is below `all`, so there is a number.
        unsafe {
            _mm512_mask_i32gather_ps::<4>(
                _mm512_setzero_ps(),
                self.some,
                self.places,
                numbers.as_ptr(),
            )
        }
    }

    /// Writes what those in some lanes get among `numbers` of all.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn scatter(self, numbers: &mut [f32], some: __mmask16, new: __m512) {
        assert!(self.all <= numbers.len(), "{} numbers for {} texts", numbers.len(), self.all);
        // SAFETY: every text in these lanes is below `all`, so there is a number.
        unsafe {
            _mm512_mask_i32scatter_ps::<4>(numbers.as_mut_ptr(), self.some & some, self.places, new)
        };
    }
}

/// The lanes of `count` numbers, sixteen at most.
fn lanes(count: usize) -> __mmask16 {
    if count >= LANES { !0 } else { (1 << count) - 1 }
}

/// Sixteen numbers at most; 0 in the other lanes.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(numbers: &[u32]) -> __m512i {
    // SAFETY: the mask leaves the numbers that exist.
    unsafe { _mm512_maskz_loadu_epi32(lanes(numbers.len()), numbers.as_ptr().cast()) }
}

/// Puts the numbers in some lanes at the beginning of a list, and returns how many they are.
#[target_feature(enable = "avx512f")]
#[inline]
fn store(list: &mut [u32], numbers: __m512i, some: __mmask16) -> usize {
    let count = some.count_ones() as usize;
    assert!(count <= list.len(), "{count} numbers for {}", list.len());
    // SAFETY: the mask leaves the first `count` places, which exist.
    unsafe {
        let close = _mm512_maskz_compress_epi32(some, numbers);
        _mm512_mask_storeu_epi32(list.as_mut_ptr().cast(), lanes(count), close);
    }
    count
}
