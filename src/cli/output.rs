//! What the verbs share when they print: errors as sentences, progress, figures, JSON.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Prints an error with its causes as one sentence.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    // Whoever closed the pipe (`| head`) wants to read nothing more, not even an error.
    if error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
    {
        return ExitCode::SUCCESS;
    }
    let mut said = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some errors already end with the message of their source.
        if said.ends_with(&cause) {
            continue;
        }
        if !said.is_empty() {
            said.push_str(": ");
        }
        said.push_str(&cause);
    }
    eprintln!("error: {said}");
    ExitCode::FAILURE
}

/// Prints a value as one JSON document.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).context("cannot write to standard output")?;
    writeln!(out).context("cannot write to standard output")
}

/// Progress on standard error: a bar on a terminal, otherwise a line every ten seconds.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    title: String,
    last_line: Instant,
    total: u64,
}

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

impl Progress {
    /// Progress over `total` things.
    pub(crate) fn new(title: &str, total: u64) -> Self {
        Self::with_template(title, total, "{msg:28!} {wide_bar} {pos}/{len} {eta}")
    }

    /// Progress over bytes.
    pub(crate) fn bytes(title: &str, total: u64) -> Self {
        Self::with_template(
            title,
            total,
            "{msg:28!} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}",
        )
    }

    fn with_template(title: &str, total: u64, template: &str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(total).with_style(style).with_message(title.to_owned())
        });
        Self { bar, title: title.to_owned(), last_line: Instant::now(), total }
    }

    /// Moves to `done`, with a remark such as the time left.
    pub(crate) fn set(&mut self, done: u64, remark: &str) {
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                if !remark.is_empty() {
                    bar.set_message(format!("{} {remark}", self.title));
                }
            }
            None if self.last_line.elapsed() >= LINE_EVERY => {
                self.last_line = Instant::now();
                let gap = if remark.is_empty() { "" } else { ", " };
                eprintln!("{}: {done} of {}{gap}{remark}", self.title, self.total);
            }
            None => {}
        }
    }

    /// Prints a line above the bar.
    pub(crate) fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// `1.5 MB`
pub(crate) fn bytes(count: u64) -> String {
    let count = count as f64;
    match count {
        0.0..1e3 => format!("{count} B"),
        1e3..1e6 => format!("{:.1} kB", count / 1e3),
        1e6..1e9 => format!("{:.1} MB", count / 1e6),
        _ => format!("{:.2} GB", count / 1e9),
    }
}

/// `12 s`, `3 min 20 s`, `1 h 5 min`
pub(crate) fn duration(seconds: f64) -> String {
    // Adding zero turns the -0.0 of an empty sum into 0.0.
    let seconds = seconds.max(0.0) + 0.0;
    let whole = seconds.round() as u64;
    match whole {
        0..=9 => format!("{seconds:.1} s"),
        10..=99 => format!("{whole} s"),
        100..=3599 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `1 file`, `3 files`
pub(crate) fn plural(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}
