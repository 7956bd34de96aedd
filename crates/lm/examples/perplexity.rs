//! Perplexity of a text, as JSON.
//!
//! ```text
//! perplexity MODEL TEXT [f32|bf16] [CONTEXT] [CHUNKS] [ROWS]
//! ```
//!
//! The convention is that of `llama-perplexity`: the text's tokens are cut into windows of CONTEXT
//! (512) that do not overlap, a rest is left out; where the model begins texts with a token of its
//! own, that token takes the place of each window's first; the second half of a window is scored,
//! from token CONTEXT / 2 + 1 on, and the first is context alone. CHUNKS (0: all) limits the number
//! of windows. The weights are held as f32 or bf16.
//!
//! ROWS (0: a window at once) reads a window in pieces of so many tokens. With 1 every token passes
//! through the products that decoding uses, those over few-bit weights among them; with many rows
//! those of prefill.

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tunesmith_lm::{Decoder, Precision, Source};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| match arguments.get(at) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| format!("`{text}`, expected a whole number")),
    };
    let (Some(model), Some(text)) = (arguments.first(), arguments.get(1)) else {
        return Err("usage: perplexity MODEL TEXT [f32|bf16] [CONTEXT] [CHUNKS] [ROWS]".into());
    };
    let precision = match arguments.get(2).map(String::as_str) {
        None => Precision::Auto,
        Some("f32") => Precision::F32,
        Some("bf16") => Precision::Bf16,
        Some(other) => return Err(format!("precision `{other}`, expected f32 or bf16").into()),
    };
    let (context, chunks, rows) = (number(3, 512)?, number(4, 0)?, number(5, 0)?);
    tunesmith_lm::start_threads(None)?;
    let source = Source::open(Path::new(model))?;
    let decoder = Decoder::load(&source, precision)?;
    let ids = source.tokenizer.encode_framed(&std::fs::read_to_string(text)?)?;
    let begin = source.tokenizer.begin_token().and_then(|token| source.tokenizer.id(token));
    let begin = begin.filter(|id| ids.first() == Some(id));
    if context < 4 || context > decoder.config().max_positions || ids.len() < context {
        return Err(format!("a context of {context} tokens for a text of {}", ids.len()).into());
    }
    let windows = ids.chunks_exact(context).take(if chunks == 0 { usize::MAX } else { chunks });
    let start = Instant::now();
    let (mut sum, mut squares, mut tokens) = (0.0, 0.0, 0usize);
    for (at, window) in windows.enumerate() {
        let mut window = window.to_vec();
        if let Some(begin) = begin {
            window[0] = begin;
        }
        for nll in scores(&decoder, &window, rows)? {
            (sum, squares, tokens) = (sum + nll, squares + nll * nll, tokens + 1);
        }
        eprint!("\r{} windows, perplexity {:.4} ", at + 1, (sum / tokens as f64).exp());
    }
    eprintln!();
    let mean = sum / tokens as f64;
    // Of the mean, as if tokens were independent.
    let error = ((squares / tokens as f64 - mean * mean) / (tokens as f64 - 1.0)).sqrt();
    let report = json!({
        "precision": format!("{:?}", decoder.precision()).to_lowercase(),
        "context": context,
        "rows": rows,
        "scored_tokens": tokens,
        "nll": mean,
        "perplexity": mean.exp(),
        "standard_error": mean.exp() * error,
        "weight_bytes": decoder.weight_bytes(),
        "seconds": start.elapsed().as_secs_f64(),
    });
    println!("{report}");
    Ok(())
}

/// Negative log-likelihoods of the second half of a window.
fn scores(decoder: &Decoder, window: &[u32], rows: usize) -> Outcome<Vec<f64>> {
    let mut cache = decoder.new_cache();
    let vocabulary = decoder.config().vocabulary;
    let (first, last) = (window.len() / 2, window.len() - 1);
    let mut found = Vec::with_capacity(last - first);
    let piece = if rows == 0 { window.len() } else { rows };
    // The row of a token predicts the next, so the last token is not read; logits of the first half
    // are not needed.
    for piece in window[..first].chunks(piece) {
        decoder.extend(piece, &mut cache, None)?;
    }
    for start in (first..last).step_by(piece) {
        let end = (start + piece).min(last);
        let logits = decoder.forward_all(&window[start..end], &mut cache, None)?;
        for (row, at) in logits.chunks_exact(vocabulary).zip(start..) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = row.iter().map(|x| f64::from(x - largest).exp()).sum();
            found.push(total.ln() + f64::from(largest) - f64::from(row[window[at + 1] as usize]));
        }
    }
    Ok(found)
}
