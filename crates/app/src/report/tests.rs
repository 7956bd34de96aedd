#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use eval::stats::Random;
use eval::{
    Arm, Costs, CurvePoint, DecisionInput, GateOptions, Measure, Outcome, Rule, Trial, decide, gate,
};

use super::*;
use crate::questions::{Contradiction, Leak, LeakSide, Likeness, SharedDocument, Split};

/// Trials with a known chance of a right answer per arm.
fn trials(chances: &[(Arm, f64)], questions: usize) -> Vec<Trial> {
    let mut random = Random::new(7);
    let mut trials = Vec::new();
    for index in 0..questions {
        for (arm, chance) in chances {
            let right = random.unit() < *chance;
            trials.push(Trial {
                qid: format!("q{index:03}"),
                cluster: format!("d{:03}", index / 3),
                score: Some(f64::from(u8::from(right))),
                evidence_retrieved: arm.uses_retrieval().then_some(index % 7 != 0),
                latency_seconds: if arm.uses_passages() { 0.4 } else { 0.1 },
                answer: if right {
                    "Harbour House".into()
                } else {
                    "the <b>lake</b> & \"shore\"".into()
                },
                ..Trial::new(*arm)
            });
        }
    }
    trials
}

fn set(name: &str, chances: &[(Arm, f64)], questions: usize) -> SetReport {
    let trials = trials(chances, questions);
    let train = |arm: Arm| Costs {
        training_seconds: 300.0 * f64::from(u8::from(arm.needs_adapter())),
        ..Costs::new(arm)
    };
    let curve = [(50, 0.3), (100, 0.5), (200, 0.65)];
    let input = DecisionInput {
        set: name.into(),
        measure: Measure::Contains,
        costs: Arm::ALL.map(train).to_vec(),
        rule: Rule { margin: 0.1, target: Some(0.6), resamples: 200, ..Rule::default() },
        gate: gate(&trials, &GateOptions::default()).unwrap(),
        curve: curve
            .map(|(examples, score)| CurvePoint { examples, score, standard_error: 0.03 })
            .to_vec(),
        retrieval: vec![("recall@3".into(), 0.9)],
        openings: vec![eval::decision::Opening { when: "today".into(), why: "compare".into() }],
        left_out: 2,
        looks: Default::default(),
        untried: Default::default(),
        pair_faults: Vec::new(),
        pruned: vec![eval::Pruned {
            system: "small/few-shot".parse().unwrap(),
            score: 0.21,
            best: Arm::Rag.into(),
            difference: eval::Interval { estimate: -0.5, lower: -0.6, upper: -0.4 },
        }],
        slices: (0..questions)
            .map(|i| (format!("q{i:03}"), ["old <rolls>", "new rolls"][i % 2].to_owned()))
            .collect(),
        trials: trials.clone(),
    };
    let mut examples: Vec<ExampleQuestion> = Vec::new();
    for trial in &trials {
        if examples.last().is_none_or(|last| last.qid != trial.qid) {
            examples.push(ExampleQuestion {
                qid: trial.qid.clone(),
                question: format!("Where is <i>{}</i>?", trial.qid),
                gold: vec!["Harbour House".into()],
                answers: Vec::new(),
            });
        }
        let answers = &mut examples.last_mut().unwrap().answers;
        answers.push(ExampleAnswer {
            system: trial.system,
            answer: trial.answer.clone(),
            score: trial.score,
            evidence_retrieved: trial.evidence_retrieved,
        });
    }
    SetReport {
        decision: decide(&input).unwrap(),
        labels: Vec::new(),
        examples,
        training: vec![TrainingCourse {
            arm: Arm::Tuned,
            seed: 1,
            train_loss: vec![(1, 3.0), (2, f64::NAN), (3, 1.0)],
            dev_loss: vec![(2, 2.0), (3, 1.5)],
            best_step: Some(3),
            seconds: 12.0,
            facts: vec![("rank".into(), "16".into())],
        }],
        facts: vec![("instruction".into(), "Answer <briefly>.".into())],
        found: QuestionFindings::default(),
    }
}

const ALL: [(Arm, f64); 9] = [
    (Arm::Base, 0.1),
    (Arm::FewShot, 0.2),
    (Arm::Rag, 0.8),
    (Arm::Oracle, 0.85),
    (Arm::OracleDistractors, 0.8),
    (Arm::Tuned, 0.15),
    (Arm::TunedRag, 0.5),
    (Arm::Raft, 0.8),
    (Arm::RaftOracle, 0.85),
];

/// Every element that is opened is closed, in order.
#[track_caller]
fn check_well_formed(page: &str) {
    const VOID: [&str; 5] = ["meta", "br", "link", "img", "hr"];
    let body = &page[page.find("<html").unwrap()..];
    let style = body.find("<style>").unwrap()..body.find("</style>").unwrap();
    let body = format!("{}{}", &body[..style.start], &body[style.end + "</style>".len()..]);
    let mut open = Vec::new();
    for piece in body.split('<').skip(1) {
        let tag = piece.split('>').next().unwrap();
        let name: String =
            tag.chars().skip_while(|c| *c == '/').take_while(|c| c.is_alphanumeric()).collect();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name.clone()), "at </{name}>");
        } else if !VOID.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn the_page_stands_alone_and_is_well_formed() {
    let sets = [set("facts", &ALL, 150), set("desk", &ALL[..3], 60), set("small", &ALL[..4], 12)];
    let context = ReportContext {
        project: "tarrow & mere".into(),
        generated: "today".into(),
        versions: vec![("generator".into(), "SmolLM2".into())],
        documents: vec![DocumentReceipt {
            path: "a.pdf".into(),
            problem: Some("no text".into()),
            ..DocumentReceipt::default()
        }],
        stages: vec![("train".into(), 75.0)],
    };
    let page = html(&sets, &context);
    check_well_formed(&page);
    for outside in ["<script", "http://", "https://", "src=", "url(", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
    for odd in ["NaN", "inf ", "infinity", "\"inf\""] {
        assert!(!page.contains(odd), "{odd}");
    }
    for set in &sets {
        assert!(page.contains(&format!("id=\"{}\"", anchor(&set.decision.set))));
        for node in &set.decision.tree {
            assert!(
                page.contains(
                    &typeset(&node.measurement).replace('&', "&amp;").replace('<', "&lt;")
                ),
                "{}",
                node.id
            );
        }
    }
    assert!(
        page.contains("tarrow &amp; mere") && page.contains("no text") && page.contains("75 s")
    );
}

/// Setups of all kinds, a baseline trained on shuffled answers and a system that is there already.
fn wide() -> SetReport {
    let chances = [&ALL[..], &[(Arm::Shuffled, 0.1), (Arm::MostFrequent, 0.1)]].concat();
    let mut wide = set("wide", &chances, 150);
    let named = "the-assistant-of-the-help-desk-since-2019".parse().unwrap();
    let like = wide.decision.system(Arm::TunedRag).unwrap().clone();
    wide.decision.systems.push(eval::decision::SystemSummary { system: named, ..like });
    wide
}

#[test]
#[ignore = "writes target/report.html, to be looked at"]
fn a_page_to_look_at() {
    let mut small = set("small", &ALL[..8], 40);
    small.decision.set = "small".into();
    let page = html(&[wide(), small, set("desk", &ALL[..3], 60)], &ReportContext::default());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/report.html");
    std::fs::write(path, page).unwrap();
}

#[test]
fn what_a_decision_holds_is_shown() {
    let page = html(&[wide()], &ReportContext::default());
    check_well_formed(&page);
    for shown in [
        "Left out before the test",
        "small/few-shot",
        "Slice by slice, the worst first",
        "old &lt;rolls&gt;",
        "trained on shuffled",
        "the-assistant-of-the-help-desk-since-2019",
        "arm-foreign",
        "chance to name it",
        "class=\"advice\"",
        "answer contains the expected text",
    ] {
        assert!(page.contains(shown), "{shown}");
    }
    assert_eq!(page.matches("chance to name it").count(), 1);
    assert!(!page.contains("<dt>power</dt>"), "the same figure under another name");
    let decided = set("facts", &ALL[..3], 150);
    assert_eq!(decided.decision.outcome, Outcome::Rag);
    let page = html(&[decided], &ReportContext::default());
    assert!(!page.contains("<h3>If you must choose today</h3>"));
    let open = set("small", &ALL[..8], 40);
    assert_eq!(open.decision.outcome, Outcome::Undetermined);
    let page = html(&[open], &ReportContext::default());
    assert!(page.contains("<h3>If you must choose today</h3>"));
}

#[test]
fn no_answer_of_the_tree_leads_to_a_list_of_all_setups() {
    let page = html(&[set("facts", &ALL, 150)], &ReportContext::default());
    for node in page.split("class=\"leaves\">").skip(1) {
        let leaves = &node[..node.find("</div>").unwrap()];
        assert_eq!(leaves.matches("class=\"leaf").count(), 1, "{leaves}");
    }
    assert!(page.contains("no, unknown"));
}

/// Text of 13 units in a drawing that is shown at least so many pixels wide.
#[test]
fn drawings_are_never_shown_with_text_below_eleven_pixels() {
    let style = include_str!("style.css");
    let least = |rule: &str| -> f64 {
        let rest = &style[style.find(rule).unwrap()..];
        let width = rest.split("min-width: ").nth(1).unwrap();
        16.0 * width[..width.find("rem").unwrap()].parse::<f64>().unwrap()
    };
    assert!(13.0 * least("\nsvg {") / 800.0 >= 11.0);
    assert!(13.0 * least("\nsvg.narrow {") / 350.0 >= 11.0);
    let page = html(&[wide()], &ReportContext::default());
    for (before, _) in page.match_indices("<svg").map(|(at, _)| (&page[..at], at)) {
        let box_of = ["scroll", "wide", "slim"].map(|class| format!("<div class=\"{class}\">"));
        assert!(box_of.iter().any(|one| before.ends_with(one)), "a drawing that cannot scroll");
    }
}

#[test]
fn text_from_outside_is_escaped() {
    let page = html(&[set("<img onerror=x>", &ALL, 60)], &ReportContext::default());
    for raw in ["<img", "<b>lake", "<i>q0", "<briefly>"] {
        assert!(!page.contains(raw), "{raw}");
    }
    assert!(page.contains("&lt;b&gt;lake&lt;/b&gt; &amp;"));
}

#[test]
fn every_plot_has_a_text_alternative() {
    let page = html(&[set("facts", &ALL, 150)], &ReportContext::default());
    let plots: Vec<&str> = page.split("<svg").skip(1).collect();
    assert!(plots.len() >= 7, "{} plots", plots.len());
    for plot in plots {
        let head = &plot[..plot.find("<g").unwrap_or(plot.len()).min(2000)];
        assert!(
            head.contains("role=\"img\"")
                && head.contains("aria-label=\"")
                && head.contains("<title>"),
            "{head}"
        );
    }
}

/// A text of a plot: the words, and left, right and base line of the box they fill.
struct Label {
    words: String,
    left: f64,
    right: f64,
    base: f64,
}

/// The texts of a plot. Widths are those of a wide sans-serif face at the size of the style sheet.
fn labels(plot: &str) -> Vec<Label> {
    let attribute = |tag: &str, name: &str| {
        let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
        Some(rest[..rest.find('"')?].to_owned())
    };
    let label = |text: &str| {
        let (tag, inner) = text.split_once('>').unwrap();
        let inner = &inner[..inner.find("</text>").unwrap()];
        let words: String = inner.split('<').map(|part| part.rsplit('>').next().unwrap()).collect();
        let words = words.replace("&lt;", "<").replace("&amp;", "&");
        let width = 7.2 * words.chars().filter(|c| *c != '\u{202f}').count() as f64;
        let class = attribute(tag, "class").unwrap_or_default();
        let x: f64 = attribute(tag, "x").unwrap().parse().unwrap();
        let left = match class.split(' ').find(|class| ["mid", "end"].contains(class)) {
            Some("mid") => x - 0.5 * width,
            Some(_) => x - width,
            None => x,
        };
        let base = attribute(tag, "y").unwrap().parse().unwrap();
        Label { words, left, right: left + width, base }
    };
    plot.split("<text").skip(1).map(label).collect()
}

#[test]
fn labels_of_plots_neither_overlap_nor_leave_the_plot() {
    const HEIGHT: f64 = 11.0;
    let sets = [wide(), set("facts", &ALL, 150), set("desk", &ALL[..3], 60)];
    let page = html(&sets, &ReportContext::default());
    for plot in page.split("<svg").skip(1) {
        let plot = &plot[..plot.find("</svg>").unwrap()];
        let size = plot.split("viewBox=\"0 0 ").nth(1).unwrap();
        let width: f64 = size[..size.find(' ').unwrap()].parse().unwrap();
        let title = &plot[plot.find("<title>").unwrap()..plot.find("</title>").unwrap()];
        let labels = labels(plot);
        for (index, a) in labels.iter().enumerate() {
            assert!(a.left > -4.0 && a.right < width + 4.0, "{title}, {width}: {:?}", a.words);
            for b in &labels[..index] {
                let beside = a.left >= b.right || b.left >= a.right;
                let apart = (a.base - b.base).abs() >= HEIGHT;
                assert!(beside || apart, "{title}, {width}: {:?} on {:?}", a.words, b.words);
            }
        }
    }
}

#[test]
fn plots_keep_their_size_on_a_phone() {
    // Of 390 pixels a block leaves 316; text is set at 13 units.
    const COLUMN: f64 = 316.0;
    let page = html(&[wide()], &ReportContext::default());
    let phone: Vec<&str> = page
        .split("<div class=\"wide\">")
        .enumerate()
        .map(|(index, part)| if index == 0 { part } else { part.split_once("</svg>").unwrap().1 })
        .collect();
    let plots: Vec<f64> = phone
        .iter()
        .flat_map(|part| part.split("viewBox=\"0 0 ").skip(1))
        .map(|size| size[..size.find(' ').unwrap()].parse().unwrap())
        .collect();
    assert!(plots.len() >= 7, "{plots:?}");
    assert!(plots.iter().all(|width| 13.0 * COLUMN / width >= 11.0), "{plots:?}");
}

#[test]
fn paper_shows_what_is_folded_and_cuts_nothing() {
    let style = include_str!("style.css");
    let (screen, print) = style.split_once("@media print").unwrap();
    assert!(print.contains("details::details-content { content-visibility: visible"));
    assert!(print.contains(".scroll { overflow: visible }"));
    assert!(!print.contains("break-before: page"), "no page is begun for a set");
    assert!(print.contains(".block { break-inside: auto"), "blocks run on over the page");
    // What is laid out for a phone stays there: paper is hardly wider.
    assert!(screen.contains("@media screen and (max-width: 46rem)"));
    assert!(!screen.contains("@media (max-width"));
}

#[test]
fn the_path_taken_ends_in_the_outcome() {
    for (chances, questions) in [(&ALL[..], 150), (&ALL[..2], 60), (&ALL[..4], 10)] {
        let set = set("facts", chances, questions);
        let outcome = set.decision.outcome;
        let page = html(&[set], &ReportContext::default());
        let taken: Vec<&str> = page.split("class=\"leaf taken\">").skip(1).collect();
        assert_eq!(taken.len(), 1, "{outcome}");
        assert!(taken[0].starts_with(outcome.as_str()), "{outcome}");
    }
}

#[test]
fn bare_decisions_make_a_page_too() {
    let mut bare = set("facts", &[(Arm::Base, 0.5)], 3);
    bare.examples.clear();
    bare.training.clear();
    assert_eq!(bare.decision.outcome, Outcome::Undetermined);
    check_well_formed(&html(&[bare], &ReportContext::default()));
    check_well_formed(&html(&[], &ReportContext::default()));
}

#[test]
fn figures_are_typeset() {
    assert_eq!(
        typeset("rag - raft: -2.0 points [-1.5, +5.8], 80 %"),
        "rag − raft: −2.0 points [−1.5, +5.8], 80\u{a0}%"
    );
    assert_eq!(typeset("few-shot and hard-to-break"), "few-shot and hard-to-break");
}

#[test]
fn twins_shared_documents_and_contradictions_are_all_listed() {
    let side = |id: &str, split, text: &str| LeakSide { id: id.into(), split, text: text.into() };
    let leak = |likeness| Leak {
        question: side("e1", Split::Test, "Who <i>rows</i>?"),
        twin: side("t9", Split::Train, "who rows"),
        likeness,
    };
    let mut set = set("facts", &ALL[..3], 60);
    assert!(!html(&[set.clone()], &ReportContext::default()).contains("What stands twice"));
    set.found = QuestionFindings {
        leaks: vec![leak(Likeness::Near), leak(Likeness::Paraphrase { cosine: 0.912 })],
        shared_documents: vec![SharedDocument {
            document: "boats.md".into(),
            questions: [7, 0, 2],
        }],
        contradictions: vec![Contradiction {
            question: "Is it open?".into(),
            answers: vec![("yes".into(), "t.jsonl:1".into()), ("no".into(), "t.jsonl:3".into())],
        }],
    };
    let page = html(&[set], &ReportContext::default());
    check_well_formed(&page);
    for told in [
        "test e1: Who &lt;i&gt;rows&lt;/i&gt;?",
        "train t9: who rows",
        "nearly the same words, the same figures and order",
        "other words with the same answer, cosine 0.91",
        "<td>boats.md</td><td>7</td><td>0</td><td>2</td>",
        "no <small>t.jsonl:3</small>",
    ] {
        assert!(page.contains(told), "{told}");
    }
}
