//! Prompt lookup: what follows the same words further up is a good guess at what comes next.
//!
//! An answer from passages repeats them. Where the last tokens of prompt and answer occur earlier,
//! the tokens that followed there are drafted, and one forward pass over all of them tells how many
//! the model would have chosen itself. Nothing else is ever kept, so the answer is the one that
//! comes token by token.

/// Most tokens drafted at a time.
pub(crate) const MOST: usize = 15;

/// Tokens that must occur earlier, while drafts come true.
const SHORTEST: usize = 2;

/// Tokens that must occur earlier, after a draft whose first token was wrong.
const DOUBTFUL: usize = 4;

/// Matches are measured up to this many tokens.
const LONGEST: usize = 16;

/// Most steps without a draft after drafts that were wrong.
const LONGEST_PAUSE: u32 = 32;

/// Drafts for one answer, as long as they have lately come true.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// Tokens the next draft may have.
    length: usize,
    /// Drafts in a row whose first token was wrong.
    misses: u32,
    /// Steps still to go without a draft.
    pause: u32,
}

impl Default for Lookup {
    fn default() -> Self {
        Self { length: 4, misses: 0, pause: 0 }
    }
}

impl Lookup {
    /// Up to `room` tokens that may follow `ids`; often none.
    pub(crate) fn draft<'a>(&mut self, ids: &'a [u32], room: usize) -> &'a [u32] {
        if self.pause > 0 {
            self.pause -= 1;
            return &[];
        }
        let shortest = if self.misses == 0 { SHORTEST } else { DOUBTFUL };
        let Some(from) = continuation(ids, shortest) else { return &[] };
        &ids[from..(from + room.min(self.length)).min(ids.len())]
    }

    /// Learns that the first `right` tokens of a draft of `drafted` were right.
    pub(crate) fn learn(&mut self, drafted: usize, right: usize) {
        if drafted == 0 {
            return;
        }
        if right == 0 {
            self.misses = (self.misses + 1).min(LONGEST_PAUSE.ilog2());
            self.pause = 1 << self.misses;
        } else {
            self.misses = 0;
        }
        self.length =
            if right == drafted { (2 * self.length).min(MOST) } else { (right + 1).min(MOST) };
    }
}

/// Where the longest earlier occurrence of the end of `ids` goes on, the latest of several; `None`
/// where even the last `shortest` tokens occur nowhere else.
fn continuation(ids: &[u32], shortest: usize) -> Option<usize> {
    let (last, before) = ids.split_last()?;
    let mut best = None;
    for (at, id) in before.iter().enumerate().rev() {
        if id != last {
            continue;
        }
        let pairs = before[..at].iter().rev().zip(before.iter().rev());
        let length = 1 + pairs.take(LONGEST - 1).take_while(|(a, b)| a == b).count();
        if length >= shortest && best.is_none_or(|(longest, _)| length > longest) {
            best = Some((length, at + 1));
            if length == LONGEST {
                break;
            }
        }
    }
    best.map(|(_, from)| from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_match_goes_on_and_the_latest_of_equals() {
        assert_eq!(continuation(&[], 1), None);
        assert_eq!(continuation(&[1, 2, 3], 1), None);
        // `2 3` twice, the second time after `9`.
        assert_eq!(continuation(&[9, 2, 3, 4, 7, 2, 3, 5, 9, 2, 3], 2), Some(3));
        assert_eq!(continuation(&[8, 2, 3, 4, 7, 2, 3, 5, 9, 2, 3], 2), Some(7));
        assert_eq!(continuation(&[8, 2, 3, 4, 7, 2, 3, 5, 9, 2, 3], 3), None);
        // A token that repeats goes on as itself.
        assert_eq!(continuation(&[5, 5, 5, 5], 2), Some(3));
    }

    #[test]
    fn drafts_grow_while_they_come_true_and_pause_while_they_do_not() {
        let ids: Vec<u32> = (0..40).chain(0..5).collect();
        let mut lookup = Lookup::default();
        assert_eq!(lookup.draft(&ids, 99), [5, 6, 7, 8]);
        lookup.learn(4, 4);
        assert_eq!(lookup.draft(&ids, 99).len(), 8);
        assert_eq!(lookup.draft(&ids, 3), [5, 6, 7]);
        lookup.learn(8, 8);
        lookup.learn(15, 15);
        assert_eq!(lookup.draft(&ids, 99).len(), MOST);
        lookup.learn(15, 1);
        assert_eq!(lookup.draft(&ids, 99).len(), 2);
        lookup.learn(2, 0);
        // Two steps of rest, then a single token for a trial.
        assert!(lookup.draft(&ids, 99).is_empty() && lookup.draft(&ids, 99).is_empty());
        assert_eq!(lookup.draft(&ids, 99).len(), 1);
        for _ in 0..20 {
            lookup.learn(1, 0);
        }
        let rests =
            std::iter::repeat_with(|| lookup.draft(&ids, 99).len()).take_while(|n| *n == 0).count();
        assert_eq!(rests, LONGEST_PAUSE as usize);
        // Nothing drafted, nothing learned.
        lookup.learn(0, 0);
        assert_eq!(lookup.draft(&ids, 99).len(), 1);
    }

    #[test]
    fn doubt_asks_for_longer_matches() {
        let ids = [1, 2, 3, 4, 5, 6, 7, 2, 3];
        let mut lookup = Lookup::default();
        assert_eq!(lookup.draft(&ids, 2), [4, 5]);
        lookup.learn(1, 0);
        lookup.pause = 0;
        assert!(lookup.draft(&ids, 2).is_empty());
        lookup.learn(1, 1);
        assert_eq!(lookup.draft(&ids, 2), [4, 5]);
    }
}
