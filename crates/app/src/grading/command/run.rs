//! A run of the program: its processes, its time, and what it writes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{CommandGrader, Score};
use crate::error::{Error, Result};

/// How often is looked whether somebody wants to stop.
const LOOK: Duration = Duration::from_millis(50);
/// What is read of the program's output, at most.
const MOST_BYTES: u64 = 256 << 20;
/// What is kept of its standard error for the message.
const LAST_WORDS: usize = 300;

/// How a run ended.
pub(super) enum Ended {
    /// The program closed its output and ended, unless that could not be learnt.
    Itself(Option<ExitStatus>),
    /// It took too long and was killed.
    Late,
}

impl Ended {
    /// Why answers without a line have no score.
    pub(super) fn why_missing(&self, run: &Run, limit: Duration) -> String {
        let reason = match self {
            Self::Late => format!("the program took longer than {} s", limit.as_secs()),
            Self::Itself(Some(status)) if !status.success() => {
                format!("the program failed ({status})")
            }
            Self::Itself(_) => return "the program wrote no line for it".to_owned(),
        };
        match run.last_words() {
            words if words.is_empty() => reason,
            words => format!("{reason}: {words}"),
        }
    }
}

/// A program at work.
pub(super) struct Run {
    child: Child,
    lines: Receiver<Vec<u8>>,
    errors: Arc<Mutex<Vec<u8>>>,
}

impl Run {
    pub(super) fn start(grader: &CommandGrader, input: Vec<u8>) -> std::io::Result<Self> {
        let [program, arguments @ ..] = &grader.arguments[..] else {
            return Err(std::io::Error::other("no program is named"));
        };
        // A path is meant within the project, a bare name is looked for as the shell does.
        let program = match program.contains('/') {
            true => grader.folder.join(program),
            false => PathBuf::from(program),
        };
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&grader.folder);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that what it starts can be ended with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that reads no further closes the pipe, which is its right.
            thread::spawn(move || stdin.write_all(&input));
        }
        let (sender, lines) = mpsc::sync_channel(1024);
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || {
                let mut reader = BufReader::new(stdout.take(MOST_BYTES));
                loop {
                    let mut line = Vec::new();
                    match reader.read_until(b'\n', &mut line) {
                        Ok(1..) if sender.send(line).is_ok() => {}
                        _ => break,
                    }
                }
            });
        }
        let errors = Arc::new(Mutex::new(Vec::new()));
        if let Some(mut stderr) = child.stderr.take() {
            let kept = Arc::clone(&errors);
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                    let Ok(mut kept) = kept.lock() else { break };
                    kept.extend_from_slice(&buffer[..count]);
                    let surplus = kept.len().saturating_sub(LAST_WORDS);
                    kept.drain(..surplus);
                }
            });
        }
        Ok(Self { child, lines, errors })
    }

    /// Reads lines until the program ends, the time is up, or somebody wants to stop.
    pub(super) fn follow(
        &mut self,
        limit: Duration,
        stop: &AtomicBool,
        read: &mut Lines<'_>,
    ) -> Result<Ended> {
        let deadline = Instant::now() + limit;
        let mut closed = false;
        loop {
            if stop.load(Ordering::Relaxed) {
                self.kill();
                return Err(Error::Interrupted);
            }
            if Instant::now() >= deadline {
                self.kill();
                return Ok(Ended::Late);
            }
            if closed {
                match self.child.try_wait() {
                    Ok(None) => thread::sleep(LOOK),
                    Ok(Some(status)) => return Ok(Ended::Itself(Some(status))),
                    Err(_) => return Ok(Ended::Itself(None)),
                }
                continue;
            }
            match self.lines.recv_timeout(LOOK) {
                Ok(line) => read.take(&line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => closed = true,
            }
        }
    }

    /// Ends the program and everything it started.
    fn kill(&mut self) {
        #[cfg(unix)]
        if let Ok(group) = i32::try_from(self.child.id()) {
            // SAFETY: takes two numbers. The child was started as the head of its own group and has
            // not been waited for, so the number is not another's.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        // It may have ended meanwhile, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn last_words(&self) -> String {
        let kept = self.errors.lock().map(|kept| kept.clone()).unwrap_or_default();
        String::from_utf8_lossy(&kept).split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// What the program has written so far.
pub(super) struct Lines<'a> {
    ids: &'a [String],
    scores: HashMap<String, Score>,
    /// Lines that say nothing about an answer, and the first of them.
    strange: usize,
    first_strange: String,
}

impl<'a> Lines<'a> {
    pub(super) fn new(ids: &'a [String]) -> Self {
        Self { ids, scores: HashMap::new(), strange: 0, first_strange: String::new() }
    }

    fn take(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        let Some((id, score)) = self.read(text) else {
            self.strange += 1;
            if self.first_strange.is_empty() {
                self.first_strange = text.chars().take(80).collect();
            }
            return;
        };
        let again = self.scores.contains_key(&id);
        let score = if again { Err("the program scored it twice".to_owned()) } else { score };
        self.scores.insert(id, score);
    }

    /// The answer that a line is about, and its score.
    fn read(&self, text: &str) -> Option<(String, Score)> {
        let line: Value = serde_json::from_str(text).ok()?;
        let id = match line.get("id")? {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return None,
        };
        // Ids are the numbers from 1 on.
        let number: usize = id.parse().ok()?;
        if self.ids.get(number.checked_sub(1)?) != Some(&id) {
            return None;
        }
        let score = match line.get("score")? {
            Value::Null => Err("the program gave no score".to_owned()),
            score => match score.as_f64() {
                Some(score) if (0.0..=1.0).contains(&score) => Ok(score),
                _ => Err("the program gave a score that is no number from 0 to 1".to_owned()),
            },
        };
        Some((id, score))
    }

    /// One score for each answer; those that no line is about have none, for this reason.
    pub(super) fn scores(mut self, reason: &str) -> Vec<Score> {
        let reason = match self.strange {
            0 => reason.to_owned(),
            lines => {
                let first = &self.first_strange;
                format!(
                    "{reason}; {lines} lines were no {{\"id\", \"score\"}}, the first {first:?}"
                )
            }
        };
        let missing = || Err(reason.clone());
        self.ids.iter().map(|id| self.scores.remove(id).unwrap_or_else(missing)).collect()
    }
}
