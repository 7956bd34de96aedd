//! A rendered example as text, with what is trained made visible.

use crate::language::Rendered;
use crate::language::Tokenizer;

/// Stands before a run of trained tokens.
const OPEN: char = '⟦';
/// Stands after a run of trained tokens.
const CLOSE: char = '⟧';

/// The example exactly as the model will read it, special tokens included, with trained runs
/// between `⟦` and `⟧`, and a last line that counts tokens.
///
/// ```text
/// <|im_start|>user
/// Capital of France?<|im_end|>
/// <|im_start|>assistant
/// ⟦Paris<|im_end|>⟧
/// 17 tokens, 2 of them trained (between ⟦ and ⟧)
/// ```
pub fn show(rendered: &Rendered, tokenizer: &Tokenizer) -> String {
    let mut text = String::new();
    let mut start = 0;
    for run in rendered.mask.chunk_by(|a, b| a == b) {
        let piece = tokenizer.decode_all(&rendered.ids[start..start + run.len()]);
        start += run.len();
        if run[0] == 1 {
            text.push(OPEN);
            text.push_str(&piece);
            text.push(CLOSE);
        } else {
            text.push_str(&piece);
        }
    }
    let trained = rendered.mask.iter().filter(|&&bit| bit == 1).count();
    text.push_str(&format!(
        "\n{} tokens, {trained} of them trained (between {OPEN} and {CLOSE})\n",
        start
    ));
    text
}
