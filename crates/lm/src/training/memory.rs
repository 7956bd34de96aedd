//! How much memory a run needs, and how much there is.

use std::fs;

use crate::DecoderConfig;
use crate::adapter::LoraConfig;
use crate::{Pack, Precision};

/// Bytes a run needs at its peak.
///
/// With `h` hidden width, `q` and `kv` widths of all query and all key heads, `i` feed-forward
/// width, `r` the adapter's rank times its target projections, `n` tokens of the largest pack:
///
/// - `resident`: what the process holds before training, the model included;
/// - `adapter`: weights, gradient, two moments, best weights: five f32 a parameter;
/// - `activations`, the sum of
///   - what every layer keeps for the backward pass: for each token `q + 2kv + heads + r` numbers
///     of 4 bytes and `2h + q + 2i` of 2 bytes (in bf16) or 4; more where there are norms of heads
///     or behind branches, which keep their inputs too;
///   - what one layer works in: `9h + 4q + 5kv + heads + 8i + 3r` numbers a token, and `3q + 4kv`
///     for every row that attention looks at (a shared row counts once for each segment behind it);
///   - logits of at most 128 targets, with their bf16 copy;
///   - scores of 64 rows of the longest sequence, twice for each thread.
///
/// `make bench-engine ROW=train` measures the peak beside this estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct MemoryEstimate {
    /// In use before training starts.
    pub resident: u64,
    /// Adapter, gradient, moments.
    pub adapter: u64,
    /// Largest pack.
    pub activations: u64,
}

impl MemoryEstimate {
    /// All of it: the peak of resident memory.
    pub fn total(&self) -> u64 {
        self.resident + self.additional()
    }

    /// What is needed beyond what the process holds already.
    pub fn additional(&self) -> u64 {
        self.adapter + self.activations
    }
}

/// Bytes of an adapter of this many parameters and of what its training keeps for each.
pub(super) fn adapter(parameters: u64) -> u64 {
    5 * 4 * parameters
}

/// Bytes that the forward and backward pass of `pack` keeps and works in; see [`MemoryEstimate`].
pub(super) fn activations(
    config: &DecoderConfig,
    precision: Precision,
    lora: &LoraConfig,
    pack: &Pack,
) -> u64 {
    let DecoderConfig { hidden, layers, intermediate, heads, vocabulary, .. } = *config;
    let (query, kv) = (config.query_width(), config.kv_width());
    let low = lora.rank * lora.targets.len();
    let head_norms = if config.query_key_norm { query + kv } else { 0 };
    let post_norms = if config.post_norms { 2 * hidden } else { 0 };
    let exact = query + 2 * kv + heads + low + head_norms + post_norms;
    let rounded = 2 * hidden + query + 2 * intermediate;
    let kept = layers * (4 * exact + if precision == Precision::Bf16 { 2 } else { 4 } * rounded);
    let gradients = 4 * hidden + 2 * query + 2 * kv + 4 * intermediate + low;
    let inputs = 3 * hidden + 2 * intermediate + low;
    let worked_in = exact + rounded + gradients + inputs;
    let logits = pack.targets().min(128) * (vocabulary + vocabulary / 2 + 4 * hidden);
    let behind =
        pack.layout().spans().filter(|span| span.past > 0).map(|span| span.past + span.rows);
    let seen = pack.layout().seen() * 3 * query + behind.sum::<usize>() * 4 * kv;
    let scores = rayon::current_num_threads() * 2 * 64 * pack.layout().longest();
    (pack.len() * (kept + 4 * worked_in) + 4 * (seen + logits + scores)) as u64
}

/// Bytes of memory that this process holds; `None` where the system does not say.
pub(super) fn resident() -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes of memory that a new allocation can use: the kernel's estimate, less where a control group
/// allows less. `None` where the system does not say.
pub fn available_memory() -> Option<u64> {
    let machine = kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:");
    let number = |name: &str| {
        fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok()
    };
    let group = number("memory.max")
        .zip(number("memory.current"))
        .map(|(limit, used)| limit.saturating_sub(used));
    machine.into_iter().chain(group).min()
}

/// What `work` gives, and the most bytes that were resident while it ran; `None` where the system does
/// not say.
pub fn peak_memory_of<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
    // A 5 sets the high-water mark back to what is resident now (proc_pid_clear_refs(5)).
    let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
    let done = work();
    let status = fs::read_to_string("/proc/self/status").ok().filter(|_| reset);
    (done, status.and_then(|status| kibibytes(&status, "VmHWM:")))
}

/// Bytes that a file of the `/proc` file system gives for `name` in kibibytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_the_work() {
        let size = 64 << 20;
        let (sum, peak) = peak_memory_of(|| {
            let touched = vec![1u8; size];
            touched.iter().step_by(4096).map(|byte| usize::from(*byte)).sum::<usize>()
        });
        assert_eq!(sum, size / 4096);
        // Without Linux nobody says.
        if let (Some(peak), Some(now)) = (peak, resident()) {
            assert!(peak >= size as u64 && peak >= now, "{peak}");
        }
    }

    #[test]
    fn numbers_of_proc_files_are_read_in_bytes() {
        let text = "MemTotal:       24000000 kB\nMemFree: 1 kB\nMemAvailable:   12345678 kB\n";
        assert_eq!(kibibytes(text, "MemAvailable:"), Some(12_345_678 * 1024));
        assert_eq!(kibibytes("MemTotal: 1 kB\n", "MemAvailable:"), None);
        assert_eq!(kibibytes("MemAvailable: lots\n", "MemAvailable:"), None);
    }
}
