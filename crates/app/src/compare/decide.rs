//! From a stored comparison to a decision, its JSON and its report.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use eval::decision::{Looks, Opening};
use eval::{Decision, DecisionInput, Rule, Trial};
use store::Store;

use crate::compare::DevUse;
use crate::compare::looks::looks;
use crate::compare::pairs::contradictions;
use crate::compare::problems::problems;
use crate::compare::record::{Comparison, KeptComparison, documents_hash};
use crate::compare::trials::EngineSpeed;
use crate::error::{Error, IoContext, Result};
use crate::project::Project;
use crate::project::config::SetConfig;
use crate::report::{
    DocumentReceipt, ExampleAnswer, ExampleQuestion, QuestionFindings, ReportContext, SetReport,
    TrainingCourse, html,
};
use crate::time;

/// A decision and what its report shows beside it.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The decision.
    pub decision: Decision,
    /// What the decision was made from.
    pub comparison: Comparison,
    /// What the user should know about the inputs: documents that changed since the comparison, and
    /// the like.
    pub remarks: Vec<String>,
}

/// Decides on a set from its latest comparison, or a larger one before it where that was made on a
/// part of the questions or the systems, and stores the decision.
///
/// # Errors
/// [`Error::NotCompared`]; [`Error::MeasureChanged`] when the configuration names another measure
/// than the comparison was made with, since a measure is chosen before the test split is opened.
pub fn decide(store: &mut Store, set: &SetConfig) -> Result<Decided> {
    let KeptComparison { id, comparison, passed_over } = KeptComparison::of(store, set)?;
    if comparison.measure != set.measure {
        return Err(Error::MeasureChanged {
            set: set.name.clone(),
            compared: comparison.measure.to_string(),
            configured: set.measure.to_string(),
        });
    }
    let openings = store.test_openings(&set.name)?;
    let looks = Looks { passed_over, ..looks(&openings, id, set) };
    let mut remarks: Vec<String> = (looks.passed_over.iter())
        .map(|smaller| {
            let size = comparison.sizes[2];
            let name = &set.name;
            format!(
                "set {name:?}: left out is a comparison of {smaller}; the one of {size} is read"
            )
        })
        .collect();
    let openings = openings
        .into_iter()
        .map(|opening| Opening { when: time::rfc3339(opening.at), why: opening.reason });
    let mut decision = eval::decide(&DecisionInput {
        openings: openings.collect(),
        looks,
        ..decision_input(&comparison, set)
    })?;
    if let Some(fault) = contradictions(&comparison.contradictions, comparison.sizes[0]) {
        decision.warnings.push(format!("{fault}; the report lists them"));
    }
    if documents_hash(store)? != comparison.documents {
        remarks.push(format!(
            "documents have changed since set {:?} was compared: compare again",
            set.name
        ));
    }
    remarks.extend(comparison.reranking.as_ref().map(ToString::to_string));
    let json = serde_json::to_string(&decision).map_err(|source| Error::Record {
        what: format!("decision of set {:?}", set.name),
        source,
    })?;
    store.put_decision(&set.name, &json)?;
    Ok(Decided { decision, comparison, remarks })
}

/// What the decision reads of a comparison, under what the set asks for.
pub(super) fn decision_input(comparison: &Comparison, set: &SetConfig) -> DecisionInput {
    DecisionInput {
        set: set.name.clone(),
        measure: comparison.measure,
        trials: comparison.trials.clone(),
        costs: comparison.costs.clone(),
        rule: Rule {
            margin: set.margin,
            target: set.target,
            expected_queries: set.expected_queries,
            limits: set.limits.clone(),
            ..Rule::default()
        },
        gate: comparison.gate.clone(),
        curve: comparison.curve.clone(),
        retrieval: comparison.retrieval.clone(),
        openings: Vec::new(),
        left_out: comparison.left_out,
        looks: Looks::default(),
        untried: comparison.untried,
        pair_faults: comparison.pair_faults.clone(),
        pruned: comparison.pruned.clone(),
        slices: comparison.slices.clone(),
    }
}

/// Files written by [`write_report`].
#[derive(Clone, Debug, serde::Serialize)]
pub struct ReportFiles {
    /// The page for people.
    pub html: PathBuf,
    /// The decisions for machines.
    pub json: PathBuf,
}

/// Writes one report on all `decided` sets into `.tunesmith/reports/`: HTML, which may go to the
/// file `page` instead, and JSON.
///
/// # Errors
/// A folder or file that cannot be written.
pub fn write_report(
    project: &Project,
    store: &Store,
    decided: &[Decided],
    page: Option<&Path>,
) -> Result<ReportFiles> {
    let folder = project.reports();
    fs::create_dir_all(&folder).context("create the folder", &folder)?;
    let name = match decided {
        [only] => only.decision.set.as_str(),
        _ => "all",
    };
    let sets: Vec<SetReport> = decided.iter().map(set_report).collect();
    let text = html(&sets, &context(project, store, decided)?);
    let decisions: Vec<&Decision> = decided.iter().map(|decided| &decided.decision).collect();
    let json = serde_json::to_string_pretty(&decisions)
        .map_err(|source| Error::Record { what: "the decisions".to_owned(), source })?;
    let files = ReportFiles {
        html: page.map_or_else(|| folder.join(format!("{name}.html")), Path::to_owned),
        json: page.map_or_else(
            || folder.join(format!("{name}.json")),
            |page| page.with_extension("json"),
        ),
    };
    for (path, text) in [(&files.html, text), (&files.json, json)] {
        // A reader never sees half a page.
        let partial = path.with_extension("partial");
        fs::write(&partial, text).context("write", &partial)?;
        fs::rename(&partial, path).context("write", path)?;
    }
    Ok(files)
}

fn context(project: &Project, store: &Store, decided: &[Decided]) -> Result<ReportContext> {
    let documents = store
        .documents()?
        .into_iter()
        .map(|row| {
            let receipt: text::Receipt =
                serde_json::from_str(&row.receipt_json).unwrap_or_default();
            DocumentReceipt {
                path: row.path,
                format: row.format,
                pages: receipt.pages,
                characters: receipt.characters,
                chunks: row.chunks,
                problem: None,
            }
        })
        .collect();
    let stages = decided
        .iter()
        .flat_map(|decided| {
            let comparison = &decided.comparison;
            let training = comparison.training.iter().map(|run| {
                (
                    format!(
                        "{}: training {} (seed {})",
                        comparison.set,
                        run.recipe.as_str(),
                        run.seed
                    ),
                    run.seconds,
                )
            });
            let whole = (format!("{}: the whole comparison", comparison.set), comparison.seconds);
            training.chain([whole]).collect::<Vec<_>>()
        })
        .collect();
    Ok(ReportContext {
        project: project.config.name.clone(),
        versions: vec![
            ("generator".to_owned(), project.config.generator.clone()),
            ("embedder".to_owned(), project.config.embedder.clone()),
            ("tunesmith".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ],
        generated: time::rfc3339(time::now()),
        documents,
        stages,
    })
}

/// What the dev questions were used for; `None` where nobody wrote it down or nothing was chosen.
fn dev_fact(dev: DevUse) -> Option<(String, String)> {
    let DevUse { choosing, gate, shared } = dev;
    let used = match (choosing, shared) {
        (0, _) => return None,
        (_, true) => format!("{gate} choose the settings and read the gate, too few for halves"),
        (_, false) => format!("{choosing} choose the settings, {gate} others read the gate"),
    };
    Some(("dev questions".to_owned(), used))
}

fn set_report(decided: &Decided) -> SetReport {
    let comparison = &decided.comparison;
    let mut by_question: HashMap<&str, Vec<&Trial>> = HashMap::new();
    for trial in &comparison.trials {
        by_question.entry(&trial.qid).or_default().push(trial);
    }
    let examples = comparison
        .questions
        .iter()
        .map(|question| {
            let trials =
                by_question.get(question.id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let mut answers: Vec<ExampleAnswer> = Vec::new();
            for trial in trials {
                // Of several seeds the first speaks for the arm. Baselines say nothing of their own.
                let seen = answers.iter().any(|answer| answer.system == trial.system);
                if !seen && !trial.system.is_floor() {
                    answers.push(ExampleAnswer {
                        system: trial.system,
                        answer: trial.answer.clone(),
                        score: trial.score,
                        evidence_retrieved: trial.evidence_retrieved,
                    });
                }
            }
            ExampleQuestion {
                qid: question.id.clone(),
                question: question.text.clone(),
                gold: question.answers.clone(),
                answers,
            }
        })
        .collect();
    let training = comparison
        .training
        .iter()
        .map(|run| TrainingCourse {
            arm: run.recipe.arm(),
            seed: run.seed,
            train_loss: run.train_losses.clone(),
            dev_loss: run.dev_losses.clone(),
            best_step: Some(run.best_step),
            seconds: run.seconds,
            facts: vec![
                ("examples".to_owned(), run.examples.to_string()),
                ("tokens".to_owned(), run.tokens.to_string()),
            ],
        })
        .collect();
    let [train, dev, test] = comparison.sizes;
    let mut facts =
        vec![("questions".to_owned(), format!("{train} train, {dev} dev, {test} test"))];
    facts.extend(dev_fact(comparison.dev));
    if comparison.speed.prefill > 0.0 {
        let EngineSpeed { prefill, decode } = comparison.speed;
        let speed = format!("{:.1} tokens/s read, {:.1} written", 1.0 / prefill, 1.0 / decode);
        facts.push(("speed that answers are priced by".to_owned(), speed));
    }
    for recipe in &comparison.dropped {
        let why = "far below the best on dev with its first adapter";
        facts.push(("not trained again".to_owned(), format!("{}: {why}", recipe.as_str())));
    }
    facts.extend(
        problems(&comparison.trials).iter().map(|each| ("answers".to_owned(), each.to_string())),
    );
    facts.extend(decided.remarks.iter().map(|remark| ("remark".to_owned(), remark.clone())));
    let found = QuestionFindings {
        leaks: comparison.leaks.clone(),
        shared_documents: comparison.shared_documents.clone(),
        contradictions: comparison.contradictions.clone(),
    };
    SetReport {
        decision: decided.decision.clone(),
        labels: comparison.labels.clone(),
        examples,
        training,
        facts,
        found,
    }
}
