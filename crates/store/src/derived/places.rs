//! Where a chunk stands in a list.

use crate::ChunkId;

/// The place of a chunk in a list of so many by rising number, `at` telling which one stands at a
/// place. Where numbers follow each other without gaps, which is how they are given out, one look
/// is enough.
pub(crate) fn place_of(
    chunk: ChunkId,
    count: usize,
    at: impl Fn(usize) -> ChunkId,
) -> Option<usize> {
    if count == 0 || chunk < at(0) {
        return None;
    }
    let furthest = usize::try_from(chunk.0.abs_diff(at(0).0)).unwrap_or(usize::MAX);
    if furthest < count && at(furthest) == chunk {
        return Some(furthest);
    }
    let (mut from, mut to) = (0, furthest.min(count));
    while from < to {
        let middle = from.midpoint(to);
        match at(middle).cmp(&chunk) {
            std::cmp::Ordering::Less => from = middle + 1,
            std::cmp::Ordering::Equal => return Some(middle),
            std::cmp::Ordering::Greater => to = middle,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_has_its_place_and_no_other_has_one() {
        let lists: [&[i64]; 5] =
            [&[], &[5], &[1, 2, 3, 4], &[3, 4, 9, 10, 11, 40], &[-7, 0, i64::MAX]];
        for list in lists {
            for chunk in (-9..60).chain([i64::MIN, i64::MAX]) {
                let found = place_of(ChunkId(chunk), list.len(), |at| ChunkId(list[at]));
                assert_eq!(
                    found,
                    list.iter().position(|&other| other == chunk),
                    "{chunk} in {list:?}"
                );
            }
        }
    }
}
