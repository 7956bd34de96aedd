//! Prompt lookup decoding (Saxena 2023): speculative decoding whose drafts come from the text
//! itself.
//!
//! An answer from passages repeats them. Where the last tokens of prompt and answer occur earlier,
//! the tokens that followed there are drafted, and one forward pass over all of them tells how many
//! the model would have chosen itself. Only those are kept, so the answer is the same as token by
//! token.

/// Longest draft, in tokens.
pub(crate) const MAX_DRAFT: usize = 15;

/// Shortest match, in tokens, while drafts are right.
const MIN_MATCH: usize = 2;

/// Shortest match after a draft whose first token was wrong.
const MIN_MATCH_AFTER_MISS: usize = 4;

/// Matches are measured up to this many tokens.
const MAX_MATCH: usize = 16;

/// Longest pause, in steps without a draft, after drafts that were wrong.
const MAX_PAUSE: u32 = 32;

/// Drafts for one answer. Wrong drafts make it shorten them and pause.
#[derive(Debug)]
pub(crate) struct PromptLookup {
    /// Tokens the next draft may have.
    length: usize,
    /// Drafts in a row whose first token was wrong.
    misses: u32,
    /// Steps still to go without a draft.
    pause: u32,
}

impl Default for PromptLookup {
    fn default() -> Self {
        Self { length: 4, misses: 0, pause: 0 }
    }
}

impl PromptLookup {
    /// Up to `room` tokens that may follow `ids`; often none.
    pub(crate) fn draft<'a>(&mut self, ids: &'a [u32], room: usize) -> &'a [u32] {
        if self.pause > 0 {
            self.pause -= 1;
            return &[];
        }
        let shortest = if self.misses == 0 { MIN_MATCH } else { MIN_MATCH_AFTER_MISS };
        let Some(from) = continuation(ids, shortest) else { return &[] };
        &ids[from..(from + room.min(self.length)).min(ids.len())]
    }

    /// Learns that the first `right` tokens of a draft of `drafted` were right.
    pub(crate) fn learn(&mut self, drafted: usize, right: usize) {
        if drafted == 0 {
            return;
        }
        if right == 0 {
            self.misses = (self.misses + 1).min(MAX_PAUSE.ilog2());
            self.pause = 1 << self.misses;
        } else {
            self.misses = 0;
        }
        self.length = if right == drafted {
            (2 * self.length).min(MAX_DRAFT)
        } else {
            (right + 1).min(MAX_DRAFT)
        };
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
        let length = 1 + pairs.take(MAX_MATCH - 1).take_while(|(a, b)| a == b).count();
        if length >= shortest && best.is_none_or(|(longest, _)| length > longest) {
            best = Some((length, at + 1));
            if length == MAX_MATCH {
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
        let mut lookup = PromptLookup::default();
        assert_eq!(lookup.draft(&ids, 99), [5, 6, 7, 8]);
        lookup.learn(4, 4);
        assert_eq!(lookup.draft(&ids, 99).len(), 8);
        assert_eq!(lookup.draft(&ids, 3), [5, 6, 7]);
        lookup.learn(8, 8);
        lookup.learn(15, 15);
        assert_eq!(lookup.draft(&ids, 99).len(), MAX_DRAFT);
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
        assert_eq!(rests, MAX_PAUSE as usize);
        // Nothing drafted, nothing learned.
        lookup.learn(0, 0);
        assert_eq!(lookup.draft(&ids, 99).len(), 1);
    }

    #[test]
    fn doubt_asks_for_longer_matches() {
        let ids = [1, 2, 3, 4, 5, 6, 7, 2, 3];
        let mut lookup = PromptLookup::default();
        assert_eq!(lookup.draft(&ids, 2), [4, 5]);
        lookup.learn(1, 0);
        lookup.pause = 0;
        assert!(lookup.draft(&ids, 2).is_empty());
        lookup.learn(1, 1);
        assert_eq!(lookup.draft(&ids, 2), [4, 5]);
    }
}
