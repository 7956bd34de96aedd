//! Answers graded by a program of the user's own.
//!
//! It reads one JSON object a line, `{"id", "question", "answer", "expected": [..]}`, and writes
//! one for each, `{"id", "score"}` with a score from 0 to 1, in any order. It is started once for
//! many answers and has a time limit for all of them. An answer without a score, whatever the
//! reason, is missing and not wrong.

mod run;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use store::{DocumentId, Store};

use super::Answered;
use crate::error::{Error, IoContext, Result};
use crate::models::hash_bytes;
use crate::project::Project;
use crate::questions::Question;
use run::{Lines, Run};

/// A program that grades.
pub(super) struct CommandGrader {
    /// The program and its arguments.
    arguments: Vec<String>,
    /// Where it runs: the project's folder.
    folder: PathBuf,
    /// What it may take for all answers of a call.
    limit: Duration,
    /// A hash of the arguments, of each file among them and of the program.
    identity: String,
}

/// An answer that the program is asked about.
pub(super) struct Asked<'a> {
    pub(super) question: &'a Question,
    pub(super) answer: &'a str,
}

/// A line to the program.
#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    question: &'a str,
    answer: &'a str,
    expected: Vec<&'a str>,
}

/// What is kept of a score.
#[derive(Serialize, Deserialize)]
struct KeptScore {
    score: f64,
}

/// A score, or why there is none.
type Score = std::result::Result<f64, String>;

impl CommandGrader {
    /// # Errors
    /// A file among the arguments cannot be read.
    pub(super) fn new(project: &Project, arguments: &[String], seconds: u64) -> Result<Self> {
        let mut all = arguments.join("\0");
        let in_project = arguments.iter().map(|argument| project.path(argument.as_ref()));
        let files = arguments.first().and_then(|name| found_in_path(name)).into_iter();
        for path in files.chain(in_project).filter(|path| path.is_file()) {
            let bytes = std::fs::read(&path).context("read", &path)?;
            all.push_str(&format!("\0{}", hash_bytes(&bytes)));
        }
        Ok(Self {
            arguments: arguments.to_vec(),
            folder: project.root.clone(),
            limit: Duration::from_secs(seconds),
            identity: hash_bytes(all.as_bytes()),
        })
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// The scores of answers: those that are kept, and for the others what the program says, which
    /// is kept.
    pub(super) fn scores(
        &self,
        set: &str,
        answers: &[Answered<'_>],
        store: &mut Store,
        stop: &AtomicBool,
    ) -> Result<Vec<Score>> {
        let keys: Vec<String> = answers.iter().map(|each| self.key(each)).collect();
        let mut scores: HashMap<&str, Score> = HashMap::new();
        let mut documents: HashMap<&str, BTreeSet<DocumentId>> = HashMap::new();
        let mut asked: Vec<(&str, Asked<'_>)> = Vec::new();
        for (key, each) in keys.iter().zip(answers) {
            documents.entry(key).or_default().extend(each.documents);
            if scores.contains_key(key.as_str()) {
                continue;
            }
            let kept = store.trial(key)?;
            let kept: Option<KeptScore> = kept.and_then(|json| serde_json::from_str(&json).ok());
            let score = kept.map(|kept| kept.score).ok_or_else(String::new);
            if score.is_err() {
                asked.push((key, Asked { question: each.question, answer: each.answer }));
            }
            scores.insert(key, score);
        }
        let (new, lines): (Vec<&str>, Vec<Asked<'_>>) = asked.into_iter().unzip();
        for ((key, line), score) in new.iter().zip(&lines).zip(self.run(&lines, stop)?) {
            if let Ok(score) = score {
                let json = serde_json::to_string(&KeptScore { score })
                    .map_err(|source| Error::Record { what: format!("score {key}"), source })?;
                let qid = &line.question.id;
                let trial = store::Trial { key, set, arm: "command", qid, json: &json };
                let quoted: Vec<DocumentId> = documents[key].iter().copied().collect();
                store.put_trial(&trial, &quoted)?;
            }
            scores.insert(key, score);
        }
        Ok(keys.iter().map(|key| scores[key.as_str()].clone()).collect())
    }

    fn key(&self, each: &Answered<'_>) -> String {
        let question = each.question;
        let expected = expected(question).join("\0");
        let all = [&self.identity, &question.text, each.answer, &expected].map(hash_part).concat();
        hash_bytes(all.as_bytes())
    }

    /// Runs the program on these answers, all at once.
    ///
    /// # Errors
    /// [`Error::Interrupted`]. A program that cannot be started or fails gives no scores.
    pub(super) fn run(&self, asked: &[Asked<'_>], stop: &AtomicBool) -> Result<Vec<Score>> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let mut input = Vec::new();
        let ids: Vec<String> = (1..=asked.len()).map(|number| number.to_string()).collect();
        for (id, Asked { question, answer }) in ids.iter().zip(asked) {
            let line = Line { id, question: &question.text, answer, expected: expected(question) };
            let json = serde_json::to_string(&line)
                .map_err(|source| Error::Record { what: format!("question {id}"), source })?;
            input.extend_from_slice(json.as_bytes());
            input.push(b'\n');
        }
        let mut run = match Run::start(self, input) {
            Ok(run) => run,
            Err(error) => {
                let reason = format!("cannot start {:?}: {error}", self.arguments[0]);
                return Ok(vec![Err(reason); asked.len()]);
            }
        };
        let mut read = Lines::new(&ids);
        let ended = run.follow(self.limit, stop, &mut read)?;
        Ok(read.scores(&ended.why_missing(&run, self.limit)))
    }
}

/// The file of a program that is named without a folder.
fn found_in_path(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return None;
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// What a question accepts, patterns as they are written.
fn expected(question: &Question) -> Vec<&str> {
    let patterns = question.patterns.iter().map(|pattern| pattern.as_str());
    question.answers.iter().map(String::as_str).chain(patterns).collect()
}

/// A part of a key, of a length that keeps parts apart.
fn hash_part(part: &str) -> String {
    hash_bytes(part.as_bytes())
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Instant;

    use serde_json::Value;

    use super::*;
    use crate::project::config::Config;
    use crate::questions::{Place, Split};

    fn question(text: &str, answer: &str) -> Question {
        Question {
            id: text.to_owned(),
            instruction: String::new(),
            text: text.to_owned(),
            answers: vec![answer.to_owned()],
            patterns: Vec::new(),
            evidence: Vec::new(),
            paraphrases: Vec::new(),
            slice: None,
            completion: String::new(),
            group: None,
            split: Split::Dev,
            place: Place::default(),
        }
    }

    /// A shell script that grades in a folder of its own.
    struct Script {
        folder: tempfile::TempDir,
        questions: Vec<Question>,
    }

    impl Script {
        fn new(script: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("grade.sh"), script).unwrap();
            let questions = (0..3).map(|at| question(&format!("q{at}"), "yes")).collect();
            Self { folder, questions }
        }

        fn grader(&self, seconds: u64) -> CommandGrader {
            let config = Config { name: "p".to_owned(), ..Config::default() };
            let project = Project { root: self.folder.path().to_owned(), config };
            let arguments = ["sh".to_owned(), "grade.sh".to_owned()];
            CommandGrader::new(&project, &arguments, seconds).unwrap()
        }

        fn scores(&self, seconds: u64) -> Vec<Score> {
            let asked: Vec<Asked<'_>> = (self.questions.iter())
                .map(|question| Asked { question, answer: "yes, \"it\" is" })
                .collect();
            self.grader(seconds).run(&asked, &AtomicBool::new(false)).unwrap()
        }

        fn reasons(&self, seconds: u64) -> Vec<String> {
            self.scores(seconds).into_iter().filter_map(Result::err).collect()
        }
    }

    /// Copies the id of each line into a line of its own, the score behind it.
    const HALF: &str = r#"while read -r line; do
        id=$(printf '%s' "$line" | sed 's/^{"id":"\([0-9]*\)".*/\1/')
        printf '{"id": "%s", "score": 0.5}\n' "$id"
    done"#;

    #[test]
    fn each_line_gets_its_score() {
        assert_eq!(Script::new(HALF).scores(60), vec![Ok(0.5); 3]);
        let any_order = Script::new(
            "cat > seen; echo '{\"id\": 3, \"score\": 1}'; echo; echo '{\"id\": \"1\", \"score\": 0}'
             echo '{\"id\": \"2\", \"score\": null}'",
        );
        let scores = any_order.scores(60);
        assert_eq!((&scores[0], &scores[2]), (&Ok(0.0), &Ok(1.0)));
        assert_eq!(scores[1], Err("the program gave no score".to_owned()));
        let seen = std::fs::read_to_string(any_order.folder.path().join("seen")).unwrap();
        let first: Value = serde_json::from_str(seen.lines().next().unwrap()).unwrap();
        let line = serde_json::json!({
            "id": "1", "question": "q0", "answer": "yes, \"it\" is", "expected": ["yes"]
        });
        assert_eq!(first, line);
    }

    #[test]
    fn whatever_fails_is_missing_and_says_why() {
        let failed = Script::new("head -n 1 > /dev/null; echo broken here >&2; exit 3").reasons(60);
        assert_eq!(failed.len(), 3);
        assert!(failed[0].contains("exit status: 3") && failed[0].ends_with("broken here"));
        let garbled =
            Script::new("cat > /dev/null; echo hello; echo '{\"id\": \"9\", \"score\": 1}'");
        let garbled = garbled.reasons(60);
        assert!(
            garbled[0].contains("2 lines were no") && garbled[0].contains("hello"),
            "{garbled:?}"
        );
        let outside =
            "cat > /dev/null; echo '{\"id\": 1, \"score\": 1.5}'; echo '{\"id\": 2, \"score\": 1}'
                       echo '{\"id\": 2, \"score\": 1}'";
        let outside = Script::new(outside).reasons(60);
        assert!(outside[0].contains("no number from 0 to 1"), "{outside:?}");
        assert_eq!(outside[1], "the program scored it twice");
        assert_eq!(outside[2], "the program wrote no line for it");
        let mut none = Script::new("").grader(60);
        none.arguments[0] = "./no-such-program".to_owned();
        let asked = [Asked { question: &question("q", "a"), answer: "a" }];
        let found = none.run(&asked, &AtomicBool::new(false)).unwrap();
        assert!(found[0].as_ref().is_err_and(|reason| reason.starts_with("cannot start")));
    }

    #[test]
    fn what_takes_too_long_is_killed_with_what_it_started() {
        let late = Script::new(
            "echo '{\"id\": 1, \"score\": 1}'; sleep 300 & echo $! > pid; wait; echo never",
        );
        let start = Instant::now();
        let scores = late.scores(1);
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(scores[0], Ok(1.0), "what was said in time counts");
        assert_eq!(scores[1], Err("the program took longer than 1 s".to_owned()));
        let pid = std::fs::read_to_string(late.folder.path().join("pid")).unwrap();
        let pid: i32 = pid.trim().parse().unwrap();
        // A process that was killed is gone, or waits for its new parent to look at it.
        let alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // SAFETY: asks whether there is a process and sends it nothing.
            unsafe { libc::kill(pid, 0) == 0 && !stat.contains(") Z ") }
        };
        let gone = (0..100).any(|_| {
            thread::sleep(Duration::from_millis(20));
            !alive()
        });
        assert!(gone, "process {pid} is still there");
    }

    #[test]
    fn scores_are_kept_until_the_program_changes() {
        let script =
            Script::new("echo x >> runs; cat > /dev/null; echo '{\"id\": 1, \"score\": 0.25}'");
        let mut store = Store::open(&script.folder.path().join("store")).unwrap();
        let grade = |script: &Script, store: &mut Store, answers: &[&str]| {
            let answered: Vec<Answered<'_>> = answers
                .iter()
                .map(|answer| Answered { question: &script.questions[0], answer, documents: &[] })
                .collect();
            script.grader(60).scores("s", &answered, store, &AtomicBool::new(false)).unwrap()
        };
        let runs = |script: &Script| {
            std::fs::read_to_string(script.folder.path().join("runs")).unwrap().lines().count()
        };
        assert_eq!(
            grade(&script, &mut store, &["a", "a"]),
            [Ok(0.25), Ok(0.25)],
            "one line for both"
        );
        assert_eq!((grade(&script, &mut store, &["a"]), runs(&script)), (vec![Ok(0.25)], 1));
        assert_eq!((grade(&script, &mut store, &["b"]), runs(&script)), (vec![Ok(0.25)], 2));
        let changed = "echo x >> runs; cat > /dev/null; echo '{\"id\": 1, \"score\": 0.75}'";
        std::fs::write(script.folder.path().join("grade.sh"), changed).unwrap();
        assert_eq!((grade(&script, &mut store, &["a"]), runs(&script)), (vec![Ok(0.75)], 3));
        std::fs::write(script.folder.path().join("grade.sh"), "echo x >> runs; exit 1").unwrap();
        assert!(grade(&script, &mut store, &["a"])[0].is_err());
        assert!(grade(&script, &mut store, &["a"])[0].is_err(), "a failure is not kept");
        assert_eq!(runs(&script), 5);
    }

    #[test]
    fn a_wish_to_stop_ends_the_program() {
        let script = Script::new("sleep 300");
        let asked = [Asked { question: &script.questions[0], answer: "a" }];
        let found = script.grader(60).run(&asked, &AtomicBool::new(true));
        assert!(matches!(found, Err(Error::Interrupted)));
    }
}
