//! Comparing a query with every row.

use rayon::prelude::*;

use super::rows::{Code, Keep, Rows};
use super::top_rows::{Scored, TopRows};

/// Rows whose cosines are computed before they are looked at.
const BLOCK: usize = 256;
/// Fewer rows are scanned by the caller's thread: waking others costs tens of microseconds, which
/// is about 10,000 rows.
const PARALLEL_FROM: usize = 20_000;

/// The `count` rows that are about the nearest to `code` among those to keep, best first.
pub(super) fn nearest(rows: &Rows, code: &Code, count: usize, keep: Keep<'_>) -> Vec<Scored> {
    let threads = if rows.len() < PARALLEL_FROM { 1 } else { rayon::current_num_threads().max(1) };
    if threads == 1 {
        return scan(rows, code, count, keep, 0..rows.len());
    }
    let each = rows.len().div_ceil(threads);
    let found: Vec<Vec<Scored>> = (0..threads)
        .into_par_iter()
        .map(|at| {
            scan(
                rows,
                code,
                count,
                keep,
                (at * each).min(rows.len())..((at + 1) * each).min(rows.len()),
            )
        })
        .collect();
    let mut all = found.concat();
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.truncate(count);
    all
}

fn scan(
    rows: &Rows,
    code: &Code,
    count: usize,
    keep: Keep<'_>,
    range: std::ops::Range<usize>,
) -> Vec<Scored> {
    let mut best = TopRows::new(count);
    let (mut dots, mut cosines) = (Vec::with_capacity(BLOCK), Vec::with_capacity(BLOCK));
    for start in range.clone().step_by(BLOCK) {
        rows.cosines(code, start..(start + BLOCK).min(range.end), &mut dots, &mut cosines);
        for (row, &cosine) in (start..).zip(&cosines) {
            if best.takes(cosine) && keep.is_none_or(|keep| keep(row)) {
                best.put(Scored { cosine, row: row as u32 });
            }
        }
    }
    best.sorted()
}
