//! Caches of earlier prompts, for later prompts that share a prefix with one of them.

use std::collections::VecDeque;

use crate::KvCache;
use crate::inference::generate::reusable;

/// Whose a cached prefix is: only prompts of an equal owner may use it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Fingerprint of the adapter that filled the cache.
    pub(crate) adapter: Option<u64>,
    /// [`crate::GenerateOptions::scope`].
    pub(crate) scope: String,
}

/// The caches of earlier prompts, cut to whole prefill chunks, least recently used first. Blocks
/// that several share are stored once.
#[derive(Debug, Default)]
pub(crate) struct Prefixes(VecDeque<Prefix>);

#[derive(Debug)]
struct Prefix {
    owner: Owner,
    cache: KvCache,
}

impl Prefixes {
    /// The cache that spares this owner the most tokens of `prompt`, if any does.
    pub(crate) fn find(&mut self, owner: &Owner, prompt: &[u32]) -> Option<KvCache> {
        let saved = |prefix: &Prefix| {
            if prefix.owner == *owner { reusable(&prefix.cache, prompt) } else { 0 }
        };
        let best = (0..self.0.len()).max_by_key(|at| saved(&self.0[*at]))?;
        if saved(&self.0[best]) == 0 {
            return None;
        }
        // The most recently used one is dropped last.
        let prefix = self.0.remove(best)?;
        let cache = prefix.cache.clone();
        self.0.push_back(prefix);
        Some(cache)
    }

    /// Keeps a prefix, and of the others the most recent ones that fit into `limit` tokens with it.
    pub(crate) fn keep(&mut self, owner: Owner, cache: KvCache, limit: usize) {
        // A prefix replaces those that it extends.
        self.0.retain(|other| other.owner != owner || !cache.ids().starts_with(other.cache.ids()));
        if !cache.is_empty() {
            self.0.push_back(Prefix { owner, cache });
        }
        self.shrink(limit);
    }

    /// Drops the oldest until no more than `limit` tokens are kept.
    pub(crate) fn shrink(&mut self, limit: usize) {
        while self.tokens() > limit && self.0.pop_front().is_some() {}
    }

    /// Tokens kept; a shared part is counted for each prefix.
    pub(crate) fn tokens(&self) -> usize {
        self.0.iter().map(|prefix| prefix.cache.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecoderConfig, Precision};

    fn cache(ids: &[u32]) -> KvCache {
        let mut cache = KvCache::new(&DecoderConfig::tiny(), Precision::F32);
        cache.reserve(ids.len());
        cache.commit(ids);
        cache
    }

    fn ids(seed: u32, pieces: u32) -> Vec<u32> {
        (0..pieces * 64).map(|i| (i / 64 * 10 + seed) % 67).collect()
    }

    #[test]
    fn prompts_of_other_scopes_are_not_shared() {
        let mut prefixes = Prefixes::default();
        let scope = |scope: &str| Owner { adapter: None, scope: scope.into() };
        prefixes.keep(scope("a"), cache(&ids(1, 2)), 1000);
        assert!(prefixes.find(&scope("b"), &ids(1, 3)).is_none());
        assert!(prefixes.find(&scope("a"), &ids(1, 3)).is_some());
        // The same words kept in another scope leave the first one's alone.
        prefixes.keep(scope("b"), cache(&ids(1, 3)), 1000);
        assert_eq!(prefixes.find(&scope("a"), &ids(1, 4)).map(|cache| cache.len()), Some(128));
    }

    #[test]
    fn the_longest_prefix_of_the_same_adapter_is_found_and_the_oldest_goes_first() {
        let mut prefixes = Prefixes::default();
        let of = |adapter| Owner { adapter, ..Owner::default() };
        prefixes.keep(of(None), cache(&ids(1, 2)), 1000);
        prefixes.keep(of(None), cache(&[ids(1, 1), ids(5, 2)].concat()), 1000);
        prefixes.keep(of(Some(7)), cache(&ids(1, 4)), 1000);
        let find = |prefixes: &mut Prefixes, adapter, prompt: &[u32]| {
            prefixes.find(&of(adapter), prompt).map(|c| c.len())
        };
        assert_eq!(find(&mut prefixes, Some(8), &ids(1, 3)), None);
        assert_eq!(find(&mut prefixes, None, &ids(2, 3)), None);
        assert_eq!(find(&mut prefixes, None, &ids(1, 3)), Some(128));
        // The one just used stays; of the others the older one goes.
        prefixes.shrink(128 + 256);
        assert_eq!(prefixes.tokens(), 128 + 256);
        assert_eq!(find(&mut prefixes, None, &[ids(1, 1), ids(5, 2), vec![0]].concat()), Some(128));
        // A longer one replaces what it begins with.
        prefixes.keep(of(None), cache(&ids(1, 3)), 1000);
        assert_eq!(prefixes.tokens(), 192 + 256);
        prefixes.keep(of(None), cache(&[]), 0);
        assert_eq!(prefixes.tokens(), 0);
    }
}
