//! Grading the answers of a set: by text, by JSON schema, or by the user's own program.
//!
//! [`eval::grade()`] knows how two texts compare. What needs more is here: patterns among the
//! accepted answers, a schema, a program. Whatever goes wrong with a grader makes an answer
//! missing, never wrong, and says why.

mod command;
mod json;
mod schema;

use std::sync::atomic::AtomicBool;

use eval::Measure;
use eval::grade::gold_number;
use store::{DocumentId, Store};

use crate::error::{Error, Problem, Result};
use crate::project::Project;
use crate::project::config::SetConfig;
use crate::questions::{Question, QuestionSet};

use command::{Asked, CommandGrader};
use schema::Schema;

/// Dev questions that a command is tried on before anything is opened.
const PROBES: usize = 3;

/// Grades the answers of one set.
pub(crate) struct Grader {
    measure: Measure,
    schema: Option<Schema>,
    command: Option<CommandGrader>,
}

/// An answer to be graded.
pub(crate) struct Answered<'a> {
    pub(crate) question: &'a Question,
    pub(crate) answer: &'a str,
    /// Documents that the answer may quote: when one of them is deleted, what was kept of the
    /// answer's grade goes, too.
    pub(crate) documents: &'a [DocumentId],
}

/// What a grader says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grade {
    /// The primary measure; `None` when the grader failed.
    pub(crate) score: Option<f64>,
    /// An accepted answer stands somewhere in the answer.
    pub(crate) lenient: bool,
    /// What is wrong with the form of the answer, or why the grader failed.
    pub(crate) problem: Option<String>,
}

impl Grader {
    /// The grader of a set.
    ///
    /// # Errors
    /// [`Error::Problems`] with everything wrong with the schema.
    pub(crate) fn new(project: &Project, set: &SetConfig) -> Result<Self> {
        let schema = match (&set.schema, set.measure) {
            (Some(path), Measure::Json) => Some(Schema::read(project, path)?),
            _ => None,
        };
        let command = match (&set.command, set.measure) {
            (Some(arguments), Measure::Command) => {
                Some(CommandGrader::new(project, arguments, set.command_seconds)?)
            }
            _ => None,
        };
        Ok(Self { measure: set.measure, schema, command })
    }

    /// A hash of the schema or the program, where there is one: another one grades otherwise.
    pub(crate) fn identity(&self) -> Option<String> {
        let schema = self.schema.as_ref().map(|schema| schema.identity().to_owned());
        schema.or(self.command.as_ref().map(|command| command.identity().to_owned()))
    }

    /// Looks whether the accepted answers can be met at all, and whether a command works, before
    /// anything is opened.
    ///
    /// # Errors
    /// [`Error::Problems`] with every accepted answer that no answer could be graded by;
    /// [`Error::Command`] where the program scores none of a few dev answers.
    pub(crate) fn check(&self, set: &QuestionSet, stop: &AtomicBool) -> Result<()> {
        let problems: Vec<Problem> = set.all().flat_map(|question| self.unmet(question)).collect();
        if !problems.is_empty() {
            return Err(Error::Problems(problems));
        }
        let Some(command) = &self.command else { return Ok(()) };
        let probes: Vec<Asked<'_>> = set
            .dev
            .iter()
            .take(PROBES)
            .filter_map(|question| Some(Asked { question, answer: question.answers.first()? }))
            .collect();
        let scores = command.run(&probes, stop)?;
        match scores.into_iter().collect::<Result<Vec<f64>, String>>() {
            Ok(_) => Ok(()),
            Err(reason) => Err(Error::Command { set: set.config.name.clone(), reason }),
        }
    }

    /// Accepted answers of a question that nothing could match.
    fn unmet(&self, question: &Question) -> Vec<Problem> {
        let wrong = |answer: &String| -> Option<String> {
            match self.measure {
                Measure::Numeric { .. } if gold_number(answer).is_none() => {
                    Some(format!("expected a number for the measure numeric, found {answer:?}"))
                }
                Measure::Json => match serde_json::from_str(answer) {
                    Err(error) => Some(format!("expected JSON for the measure json ({error})")),
                    Ok(value) => {
                        let violation = self.schema.as_ref()?.violation(&value)?;
                        Some(format!("expected JSON that keeps to the schema: {violation}"))
                    }
                },
                _ => None,
            }
        };
        let place = |at: usize| format!("answers[{at}]");
        let problems =
            question.answers.iter().enumerate().filter_map(|(at, answer)| {
                Some(question.place.problem(&place(at), wrong(answer)?))
            });
        problems.collect()
    }

    /// Grades one answer by its text; `None` for a command, which grades many at a time.
    pub(crate) fn of_text(&self, question: &Question, answer: &str) -> Option<Grade> {
        let accepted = question.patterns.iter().any(|pattern| pattern.accepts(answer));
        let lenient = accepted || question.is_answered_in(answer);
        let (score, problem) = match self.measure {
            Measure::Command => return None,
            Measure::Json => json::score(answer, &question.answers, self.schema.as_ref()),
            measure => (eval::grade(measure, answer, &question.answers)?, None),
        };
        let score = if accepted { 1.0 } else { score };
        Some(Grade { score: Some(score), lenient, problem })
    }

    /// Grades answers. What a command said of an answer is kept in `store`.
    ///
    /// # Errors
    /// The store's; [`Error::Interrupted`]. A program that fails makes answers missing.
    pub(crate) fn grade(
        &self,
        set: &str,
        answers: &[Answered<'_>],
        store: &mut Store,
        stop: &AtomicBool,
    ) -> Result<Vec<Grade>> {
        let Some(command) = &self.command else {
            let one = |each: &Answered<'_>| self.of_text(each.question, each.answer);
            let none = || Grade { score: None, lenient: false, problem: None };
            return Ok(answers.iter().map(|each| one(each).unwrap_or_else(none)).collect());
        };
        let scores = command.scores(set, answers, store, stop)?;
        let grades = scores.into_iter().zip(answers).map(|(score, each)| Grade {
            lenient: each.question.is_answered_in(each.answer),
            problem: score.as_ref().err().map(|reason| format!("no score: {reason}")),
            score: score.ok(),
        });
        Ok(grades.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::project::config::Config;

    /// A project with one set, whose files are these.
    struct Case {
        _folder: tempfile::TempDir,
        project: Project,
    }

    impl Case {
        fn new(measure: &str, files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                fs::write(folder.path().join(name), text).unwrap();
            }
            let toml = format!(
                "[project]\nname = \"p\"\n[[set]]\nname = \"s\"\nquestions = \"q.jsonl\"\n{measure}\n"
            );
            let config = Config::parse(Path::new("tunesmith.toml"), &toml).unwrap();
            Self { project: Project { root: folder.path().to_owned(), config }, _folder: folder }
        }

        fn load(&self) -> (Result<Grader>, QuestionSet) {
            let set = &self.project.config.sets[0];
            (Grader::new(&self.project, set), QuestionSet::load(&self.project, set).unwrap())
        }

        fn check(&self) -> Result<()> {
            let (grader, set) = self.load();
            grader?.check(&set, &AtomicBool::new(false))
        }

        fn problems(&self) -> Vec<String> {
            match self.check() {
                Err(Error::Problems(problems)) => {
                    problems.iter().map(ToString::to_string).collect()
                }
                other => panic!("expected problems, got {other:?}"),
            }
        }

        /// The grade of an answer to the test question.
        fn grade(&self, answer: &str) -> Grade {
            let (grader, set) = self.load();
            grader.unwrap().of_text(&set.test[0], answer).unwrap()
        }
    }

    /// Three rows with these answers, one for each split.
    fn rows(answers: [&str; 3]) -> String {
        let row = |(split, answers): (&str, &str)| {
            format!(
                "{{\"question\":\"Q {split}?\",\"answers\":[{answers}],\"split\":\"{split}\"}}\n"
            )
        };
        ["train", "dev", "test"].into_iter().zip(answers).map(row).collect()
    }

    #[test]
    fn a_pattern_accepts_whatever_the_measure() {
        let answers = r#""30", {"pattern": "thirty( days)?"}"#;
        let rows = rows(["\"1\"", "\"2\"", answers]);
        for measure in ["exact", "f1", "contains", "label", "numeric", "rouge-l"] {
            let case = Case::new(&format!("measure = {measure:?}"), &[("q.jsonl", &rows)]);
            let found =
                ["30", "thirty days", "thirty years"].map(|answer| case.grade(answer).score);
            assert_eq!(found, [Some(1.0), Some(1.0), Some(0.0)], "{measure}");
        }
        let case = Case::new("measure = \"exact\"", &[("q.jsonl", &rows)]);
        assert!(case.grade("It is thirty days.").lenient && !case.grade("It is long.").lenient);
    }

    #[test]
    fn accepted_answers_that_nothing_can_meet_are_named() {
        let rows = rows(["\"1\"", "\"2\", \"two\"", "3"]);
        let case = Case::new("measure = \"numeric\"", &[("q.jsonl", &rows)]);
        let expected =
            "q.jsonl:2: answers[1]: expected a number for the measure numeric, found \"two\"";
        assert_eq!(case.problems(), [expected]);
    }

    #[test]
    fn json_keeps_to_the_schema_or_scores_nothing() {
        let schema =
            r#"{"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}"#;
        let good = r#""{\"a\": 1, \"b\": 2}""#;
        let measure = "measure = \"json\"\nschema = \"s.json\"";
        let case = Case::new(measure, &[("q.jsonl", &rows([good; 3])), ("s.json", schema)]);
        case.check().unwrap();
        assert_eq!(case.grade("{\"a\": 1}").score, Some(2.0 / 3.0));
        let broken = case.grade("{\"a\": \"1\", \"b\": 2}");
        assert_eq!(
            (broken.score, broken.problem.as_deref()),
            (Some(0.0), Some("breaks the schema"))
        );
        assert_eq!(case.grade("a = 1").problem.as_deref(), Some("not JSON"));

        let bad = rows([good, r#""{\"b\": 2}""#, r#""a""#]);
        let case = Case::new(measure, &[("q.jsonl", &bad), ("s.json", schema)]);
        let found = case.problems();
        assert_eq!(
            found[0],
            "q.jsonl:2: answers[0]: expected JSON that keeps to the schema: $ has no a"
        );
        assert!(found[1].starts_with("q.jsonl:3: answers[0]: expected JSON"), "{found:?}");
        let strange = [("q.jsonl", &rows([good; 3])[..]), ("s.json", "{\"format\": \"date\"}")];
        let case = Case::new(measure, &strange);
        assert_eq!(case.problems(), ["s.json: #/format: the keyword \"format\" is not supported"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_command_that_cannot_grade_is_an_error_before_anything_is_opened() {
        let measure = "measure = \"command\"\ncommand = [\"sh\", \"-c\", \"exit 4\"]";
        let case = Case::new(measure, &[("q.jsonl", &rows(["\"1\""; 3]))]);
        let error = case.check().unwrap_err().to_string();
        assert!(error.contains("does not grade") && error.contains("exit status: 4"), "{error}");
    }
}
