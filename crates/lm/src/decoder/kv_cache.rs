//! Keys and values of the tokens a model has read: a plain value that can be cloned, cut and kept.

use std::sync::Arc;

use crate::kernels::Form;
use crate::{DecoderConfig, Precision};

/// Tokens of a block.
pub(crate) const BLOCK: usize = 64;

/// Keys (already rotated) and values of every layer for the tokens read so far, and those tokens.
///
/// They lie in blocks of 64 tokens that clones share. A clone copies nothing until it writes into a
/// block that is not full, and then only that block. So fill one cache with a shared prompt prefix
/// and clone it for each continuation.
///
/// A cache belongs to the model and the adapter that filled it; reusing it with another adapter
/// gives wrong answers without an error, since the numbers look alike.
#[derive(Debug, Clone, PartialEq)]
pub struct KvCache {
    shape: CacheShape,
    ids: Vec<u32>,
    blocks: Vec<Arc<Vec<u32>>>,
}

/// What the layout of a block follows from. For each layer and key head, a block holds the keys as
/// a matrix with a column for each token, then the values as a matrix with a row for each token
/// (see [`kernels::multiply`](crate::kernels::multiply)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CacheShape {
    layers: usize,
    heads: usize,
    width: usize,
    form: Form,
}

impl CacheShape {
    fn key_words(self) -> usize {
        self.form.words(self.width) * BLOCK
    }

    fn head_words(self) -> usize {
        self.key_words() + self.form.words(BLOCK) * value_columns(self.width)
    }

    fn block_words(self) -> usize {
        self.layers * self.heads * self.head_words()
    }

    /// First word of a head within a block.
    fn head(self, layer: usize, head: usize) -> usize {
        (layer * self.heads + head) * self.head_words()
    }
}

/// Columns of a head's values: its width, filled up to whole vectors.
pub(crate) fn value_columns(width: usize) -> usize {
    width.next_multiple_of(16)
}

impl KvCache {
    /// An empty cache for a model of this shape, held as `precision` says: in bf16 or in f32.
    pub fn new(config: &DecoderConfig, precision: Precision) -> Self {
        Self { shape: Self::shape(config, precision), ids: Vec::new(), blocks: Vec::new() }
    }

    fn shape(config: &DecoderConfig, precision: Precision) -> CacheShape {
        let form = match precision.resolve() {
            Precision::Bf16 => Form::Bf16,
            Precision::F32 | Precision::Auto | Precision::Int8 => Form::F32,
        };
        CacheShape {
            layers: config.layers,
            heads: config.kv_heads,
            width: config.kv_width() / config.kv_heads.max(1),
            form,
        }
    }

    /// Tokens held.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether no token has been read.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The tokens held, in order.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Forgets everything after the first `tokens` tokens; a no-op when there are no more than
    /// that.
    pub fn truncate(&mut self, tokens: usize) {
        self.ids.truncate(tokens);
        self.blocks.truncate(self.ids.len().div_ceil(BLOCK));
    }

    /// Keeps the longest prefix shared with `ids`, but never all of `ids`, so that a forward pass
    /// over `&ids[kept..]` always has a token left to give logits for. Returns the number of tokens
    /// kept.
    pub fn keep_shared_prefix(&mut self, ids: &[u32]) -> usize {
        let shared = self.ids.iter().zip(ids).take_while(|(a, b)| a == b).count();
        let kept = shared.min(ids.len().saturating_sub(1));
        self.truncate(kept);
        kept
    }

    /// Bytes of keys and values held, in whole blocks, those included that clones share.
    pub fn bytes(&self) -> usize {
        self.blocks.len() * self.shape.block_words() * size_of::<u32>()
    }

    /// Whether this cache was made for a model of this shape and precision.
    pub(crate) fn fits(&self, config: &DecoderConfig, precision: Precision) -> bool {
        self.shape == Self::shape(config, precision)
    }

    /// How numbers are held.
    pub(crate) fn form(&self) -> Form {
        self.shape.form
    }

    /// Keys and values of a layer's key head for the tokens of a block.
    pub(crate) fn head(&self, layer: usize, head: usize, block: usize) -> (&[u32], &[u32]) {
        let start = self.shape.head(layer, head);
        self.blocks[block][start..start + self.shape.head_words()].split_at(self.shape.key_words())
    }

    /// Makes room for `tokens` more.
    pub(crate) fn reserve(&mut self, tokens: usize) {
        let blocks = (self.ids.len() + tokens).div_ceil(BLOCK);
        let words = self.shape.block_words();
        self.blocks.resize_with(blocks.max(self.blocks.len()), || Arc::new(vec![0; words]));
    }

    /// Writes keys and values, each `[kv_heads * head_dim]`, of the token that comes `ahead` places
    /// behind those held. Room must have been made, and even places of a block must come before the
    /// odd ones that follow them.
    pub(crate) fn write(&mut self, layer: usize, ahead: usize, keys: &[f32], values: &[f32]) {
        let shape = self.shape;
        let (block, at) = ((self.ids.len() + ahead) / BLOCK, (self.ids.len() + ahead) % BLOCK);
        let block = Arc::make_mut(&mut self.blocks[block]);
        let heads = keys.chunks_exact(shape.width).zip(values.chunks_exact(shape.width));
        for (head, (key, value)) in heads.enumerate() {
            let words = &mut block[shape.head(layer, head)..][..shape.head_words()];
            let (keys, values) = words.split_at_mut(shape.key_words());
            shape.form.write_column(key, keys, BLOCK, at);
            shape.form.write_line(value, values, value_columns(shape.width), at);
        }
    }

    /// Records tokens whose keys and values have been written in every layer.
    pub(crate) fn commit(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::noise;

    fn fill(cache: &mut KvCache, ids: &[u32], seed: u64) {
        let width = cache.shape.width * cache.shape.heads;
        cache.reserve(ids.len());
        for layer in 0..cache.shape.layers {
            for ahead in 0..ids.len() {
                let seed = seed + (ahead * 10 + layer) as u64;
                cache.write(layer, ahead, &noise(seed, width), &noise(seed + 5, width));
            }
        }
        cache.commit(ids);
    }

    fn empty() -> KvCache {
        KvCache::new(&DecoderConfig::tiny(), Precision::Bf16)
    }

    #[test]
    fn the_shared_prefix_is_kept_and_one_token_is_always_left_to_run() {
        let mut cache = empty();
        fill(&mut cache, &[1, 2, 3, 4], 1);
        assert_eq!(cache.clone().keep_shared_prefix(&[1, 2, 9]), 2);
        assert_eq!(cache.clone().keep_shared_prefix(&[1, 2, 3, 4]), 3);
        assert_eq!(cache.clone().keep_shared_prefix(&[]), 0);
        assert_eq!(cache.keep_shared_prefix(&[1, 2, 3, 4, 5]), 4);
        cache.truncate(9);
        assert_eq!(cache.ids(), [1, 2, 3, 4]);
        cache.truncate(1);
        assert_eq!((cache.ids(), cache.blocks.len()), (&[1][..], 1));
        cache.truncate(0);
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn clones_share_whole_blocks_and_write_without_touching_each_other() {
        let mut one = empty();
        let ids: Vec<u32> = (0..100).collect();
        fill(&mut one, &ids, 1);
        let before = one.blocks[1].clone();
        let mut two = one.clone();
        two.truncate(70);
        assert!(Arc::ptr_eq(&one.blocks[1], &two.blocks[1]));
        fill(&mut two, &[7; 3], 99);
        assert!(Arc::ptr_eq(&one.blocks[0], &two.blocks[0]));
        assert!(!Arc::ptr_eq(&one.blocks[1], &two.blocks[1]));
        assert_eq!(one.blocks[1], before);
        assert_ne!(two.blocks[1], before);
    }
}
