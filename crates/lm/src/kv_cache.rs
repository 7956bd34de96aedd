//! Keys and values of the tokens a model has read: a plain value that can be cloned, cut and kept.

use crate::DecoderConfig;

/// Keys (already rotated) and values of every layer for the tokens read so far, and those tokens.
///
/// A cache belongs to the model and the adapter that filled it; reusing it with another adapter gives wrong
/// answers without an error, since the numbers look alike. Cloning copies it: fill one with a shared prompt
/// prefix, then clone it per continuation.
#[derive(Debug, Clone, PartialEq)]
pub struct KvCache {
    width: usize,
    ids: Vec<u32>,
    layers: Vec<LayerCache>,
}

/// One layer's keys and values, each `[tokens, kv_heads * head_dim]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LayerCache {
    pub(crate) keys: Vec<f32>,
    pub(crate) values: Vec<f32>,
}

impl KvCache {
    /// An empty cache for a model of this shape.
    pub fn new(config: &DecoderConfig) -> Self {
        Self { width: config.kv_width(), ids: Vec::new(), layers: vec![LayerCache::default(); config.layers] }
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

    /// Forgets everything after the first `tokens` tokens; a no-op when there are no more than that.
    pub fn truncate(&mut self, tokens: usize) {
        if tokens >= self.ids.len() {
            return;
        }
        self.ids.truncate(tokens);
        for layer in &mut self.layers {
            layer.keys.truncate(tokens * self.width);
            layer.values.truncate(tokens * self.width);
        }
    }

    /// Keeps the longest prefix shared with `ids`, but never all of `ids`, so that a forward pass over
    /// `&ids[kept..]` always has a token left to give logits for. Returns the number of tokens kept.
    pub fn keep_shared_prefix(&mut self, ids: &[u32]) -> usize {
        let shared = self.ids.iter().zip(ids).take_while(|(a, b)| a == b).count();
        let kept = shared.min(ids.len().saturating_sub(1));
        self.truncate(kept);
        kept
    }

    /// Bytes of keys and values held.
    pub fn bytes(&self) -> usize {
        self.layers.len() * self.ids.len() * self.width * 2 * size_of::<f32>()
    }

    /// Whether this cache was made for a model of this shape.
    pub(crate) fn fits(&self, config: &DecoderConfig) -> bool {
        self.width == config.kv_width() && self.layers.len() == config.layers
    }

    pub(crate) fn layer(&self, layer: usize) -> &LayerCache {
        &self.layers[layer]
    }

    pub(crate) fn layer_mut(&mut self, layer: usize) -> &mut LayerCache {
        &mut self.layers[layer]
    }

    /// Records tokens whose keys and values have been appended to every layer.
    pub(crate) fn commit(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(ids: &[u32]) -> KvCache {
        let config = DecoderConfig::tiny();
        let mut cache = KvCache::new(&config);
        for layer in 0..config.layers {
            let rows = vec![layer as f32; ids.len() * config.kv_width()];
            cache.layer_mut(layer).keys.extend_from_slice(&rows);
            cache.layer_mut(layer).values.extend_from_slice(&rows);
        }
        cache.commit(ids);
        cache
    }

    #[test]
    fn the_shared_prefix_is_kept_and_one_token_is_always_left_to_run() {
        let mut cache = filled(&[1, 2, 3, 4]);
        assert_eq!(cache.clone().keep_shared_prefix(&[1, 2, 9]), 2);
        assert_eq!(cache.clone().keep_shared_prefix(&[1, 2, 3, 4]), 3);
        assert_eq!(cache.clone().keep_shared_prefix(&[]), 0);
        assert_eq!(cache.keep_shared_prefix(&[1, 2, 3, 4, 5]), 4);
        assert_eq!(cache, filled(&[1, 2, 3, 4]));
        cache.truncate(1);
        assert_eq!(cache, filled(&[1]));
        assert_eq!(cache.bytes(), 2 * 16 * 2 * 4);
    }
}
