//! `tunesmith eval citations`

use std::path::Path;
use std::process::ExitCode;

use app::evaluate::citations::{Answered, CitingOptions, CitingReport, Share, measure};
use app::models::Cache;
use app::{QuestionSet, Service, Split};
use eval::abstention::{CoveragePoint, Objective};
use eval::figures::{percent, percent_interval};

use super::output::{self, Progress, duration};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Question set to measure on
    #[arg(long, value_name = "NAME")]
    set: String,
    /// Split to measure on: train, dev or test; opening test is logged
    #[arg(long, default_value = "dev")]
    split: String,
    /// Most answerable questions, and most unanswerable ones
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Find the threshold that best separates answerable from unanswerable questions, and keep it:
    /// `ask --set` abstains by it from then on
    #[arg(long)]
    calibrate: bool,
    /// Calibrate for as many answers as possible with at most this share of them wrong
    #[arg(long, value_name = "SHARE", requires = "calibrate", value_parser = share)]
    most_wrong: Option<f64>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

pub(crate) fn run(project: Option<&Path>, arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let project = super::open_project(project)?;
    let split: Split = super::split(&arguments.split)?;
    let stop = super::stop_flag()?;
    let set = QuestionSet::load(&project, project.config.set(&arguments.set)?)?;
    let service = Service::open(project, &Cache::from_env()?)?;
    let objective = arguments.most_wrong.map_or(Objective::Balance, Objective::MostWrong);
    let options = CitingOptions {
        split,
        limit: arguments.limit.map(|limit| limit as usize),
        calibrate: arguments.calibrate.then_some(objective),
    };
    let mut bar: Option<Progress> = None;
    let mut show = |Answered { questions, of }| {
        bar.get_or_insert_with(|| Progress::new("answering", of as u64)).set(questions as u64, "");
    };
    let progress = &mut app::Progress::new(&stop, &mut show);
    let report = measure(&service, &set, &options, progress)?;
    if let Some(bar) = bar {
        bar.finish();
    }
    if arguments.json {
        output::json(&report)?;
    } else {
        print(&report, arguments.calibrate);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &CitingReport, calibrate: bool) {
    println!(
        "{}, {}: {} answerable and {} unanswerable questions in {}",
        report.set,
        report.split.as_str(),
        report.answerable,
        report.unanswerable,
        duration(report.seconds)
    );
    let citing = &report.citing;
    line("answerable questions answered rightly", citing.right);
    line("citations from the evidence", citing.precision);
    line("  that also hold a gold answer", citing.holds_answer);
    line("right answers that cite the evidence", citing.recall);
    line("questions answered rightly and cited so", citing.right_and_cited);
    line("supported sentences of right answers", citing.supported_right);
    line("  of wrong answers", citing.supported_wrong);
    line("  of answers to unanswerable questions", citing.supported_unanswerable);
    println!();
    print_signals(report);
    println!();
    print_coverage(&report.coverage);
    println!();
    if calibrate && report.calibrated_by.is_none() {
        println!("no threshold keeps that few answers wrong: nothing was changed");
    }
    print_refusal(report);
}

fn print_signals(report: &CitingReport) {
    println!("how well a signal parts questions (area under the ROC curve; .5 is chance)");
    println!("{:42}answerable   answered rightly", "");
    let figure = |auc: Option<f64>| auc.map_or_else(|| "-".to_owned(), |auc| format!("{auc:.3}"));
    for signal in &report.signals {
        let (answerable, right) = (figure(signal.auc_answerable), figure(signal.auc_right));
        println!("{:42}{answerable:10}   {right}", signal.name);
    }
}

fn print_coverage(coverage: &[CoveragePoint]) {
    println!(
        "relevance from   answered   of these right   answerable answered   unanswerable refused"
    );
    for point in coverage {
        let CoveragePoint {
            threshold,
            coverage,
            right,
            answerable_answered,
            unanswerable_refused,
            ..
        } = point;
        let [right, answered, refused] = [right, answerable_answered, unanswerable_refused]
            .map(|share| share.map_or("-".to_owned(), percent));
        println!(
            "{threshold:14.3}   {:>8}   {right:>14}   {answered:>19}   {refused:>20}",
            percent(*coverage)
        );
    }
}

fn print_refusal(report: &CitingReport) {
    let Some(refusal) = &report.refusal else {
        println!("nothing is refused: `--calibrate` on dev sets a threshold");
        return;
    };
    let chosen =
        if report.calibrated_by.is_some() { ", chosen on these questions and kept" } else { "" };
    println!("refused below a relevance of {:.3}{chosen}", refusal.threshold);
    line("refused questions that are unanswerable", refusal.precision);
    line("unanswerable questions refused", refusal.recall);
    line("answerable questions answered", refusal.answered);
    line("answers that are right", refusal.right);
    line("  were everything answered", refusal.right_without);
}

fn line(what: &str, share: Share) {
    let Share { count, of, share } = share;
    let figure = if of == 0 { "-".to_owned() } else { percent_interval(share) };
    println!("{what:42}{figure}  ({count} of {of})");
}
