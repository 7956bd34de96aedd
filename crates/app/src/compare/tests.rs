//! Worlds broken on purpose, end to end: files are read, split and checked, tiny models are trained,
//! the test split is opened, and the decision is read. Only the answers are written by hand, so that
//! the right decision is known.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use eval::{Arm, Decision, Outcome, System};
use lm::{Encoder, Model, Precision};
use store::{NewChunk, NewDocument, Store};

use super::decide::decide;
use super::{ArmChoice, Bench, CompareOptions};
use crate::search::recipe::IndexRecipe;
use crate::{Knowledge, Progress, Project};

type Script = Box<dyn Fn(System, &str) -> String>;

thread_local! {
    static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
}

/// What a setup answers to a question in the world that this thread tests; `None` outside of them.
pub(super) fn scripted(system: System, qid: &str) -> Option<String> {
    SCRIPT.with_borrow(|script| script.as_ref().map(|script| script(system, qid)))
}

const TRAYS: [&str; 10] = ["ash", "bay", "cub", "dew", "elm", "fig", "gum", "hay", "ivy", "jet"];

/// What is broken, and what everything else is.
struct World {
    /// The `[[set]]` but for its name and files.
    settings: &'static str,
    train: Vec<(String, String)>,
    dev: Vec<(String, String)>,
    test: Vec<(String, String)>,
    documents: Vec<&'static str>,
    /// Chance of a right answer, in percent.
    skill: fn(Arm) -> u64,
}

impl World {
    /// Messages to be sorted into ten trays. Only fine-tuning can know the trays; all else guesses.
    fn trays() -> Self {
        let message = |split: &str, index: usize| {
            (format!("{split} {}", words(index)), TRAYS[index % TRAYS.len()].to_owned())
        };
        let rows = |split: &'static str, count| (0..count).map(|i| message(split, i)).collect();
        Self {
            settings: "measure = \"label\"\ntarget = 0.7\nmargin = 0.1\n",
            train: rows("one", 80),
            dev: rows("two", 40),
            test: rows("six", 120),
            documents: Vec::new(),
            skill: |arm| if arm.needs_adapter() { 90 } else { 10 },
        }
    }

    /// Compares, and decides.
    fn decide(&self) -> Result<Decision, String> {
        let folder = tempfile::tempdir().unwrap();
        let splits = [("train", &self.train), ("dev", &self.dev), ("test", &self.test)];
        let mut gold = HashMap::new();
        for (split, rows) in splits {
            let mut lines = String::new();
            for (index, (question, answer)) in rows.iter().enumerate() {
                let id = format!("{split}{index}");
                let row = serde_json::json!({"id": id, "question": question, "answers": [answer]});
                lines += &format!("{row}\n");
                gold.insert(id, answer.clone());
            }
            fs::write(folder.path().join(format!("{split}.jsonl")), lines).unwrap();
        }
        let config = format!(
            "[project]\nname = \"world\"\n[retrieval]\npassages = 1\n[training]\nepochs = 1\n\
             max_length = 256\nbatch_tokens = 512\nlearning_curve = false\n[[set]]\nname = \"set\"\n\
             train = \"train.jsonl\"\ndev = \"dev.jsonl\"\ntest = \"test.jsonl\"\nmax_tokens = 8\n\
             name_labels = 0\nshots = 1\n{}",
            self.settings
        );
        fs::write(folder.path().join("tunesmith.toml"), config).unwrap();
        let skill = self.skill;
        let answer = move |system: System, qid: &str| match system.arm() {
            Some(arm) if hash(&format!("{qid} {}", arm.as_str())) % 100 < skill(arm) => {
                gold.get(qid).cloned().unwrap_or_default()
            }
            _ => "none of these".to_owned(),
        };
        SCRIPT.set(Some(Box::new(answer)));
        let decided = self.run(folder.path());
        SCRIPT.set(None);
        decided
    }

    fn run(&self, folder: &Path) -> Result<Decision, String> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures");
        let project = Project::open(folder).map_err(|error| error.to_string())?;
        let store = Store::open(&project.state().unwrap()).unwrap();
        let encoder = Encoder::open(&fixtures.join("tiny-bert")).unwrap();
        let recipe = IndexRecipe::of(&project.config);
        let settings = project.config.retrieval.clone();
        let mut knowledge = Knowledge::new(store, encoder, recipe, settings).unwrap();
        for (index, text) in self.documents.iter().enumerate() {
            let chunk = NewChunk {
                span: 0..text.len(),
                vector: knowledge.encoder.embed(&[text]).unwrap().pop(),
                ..NewChunk::default()
            };
            let document = NewDocument {
                path: format!("{index}.md"),
                text: (*text).to_owned(),
                receipt_json: "{}".to_owned(),
                chunks: vec![chunk],
                ..NewDocument::default()
            };
            knowledge.store.put_document(document).unwrap();
        }
        let model = Model::open(&fixtures.join("tiny-llama"), Precision::F32).unwrap();
        let options = CompareOptions {
            arms: ArmChoice::Auto,
            seeds: None,
            limit: None,
            reason: "a broken world".to_owned(),
        };
        let set = project.config.set("set").unwrap().clone();
        let stop = AtomicBool::new(false);
        let bench = Bench::new(&project, &mut knowledge, &model, &set, &options)
            .map_err(|error| error.to_string())?;
        bench.compare(&mut Progress::new(&stop, &mut |_| ())).map_err(|error| error.to_string())?;
        let decided = decide(&mut knowledge.store, &set).map_err(|error| error.to_string())?;
        Ok(decided.decision)
    }
}

/// Three short words that differ from those of any other number.
fn words(index: usize) -> String {
    const WORDS: [&str; 12] =
        ["red", "tin", "cup", "dog", "sky", "pen", "map", "oak", "sea", "jar", "hat", "owl"];
    let word = |place: u32| WORDS[(index / WORDS.len().pow(place)) % WORDS.len()];
    format!("{} {} {}", word(2), word(1), word(0))
}

fn hash(text: &str) -> u64 {
    // FNV-1a, with the bits mixed once more: the low ones of similar texts are alike.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 20
}

#[track_caller]
fn expect(world: &World, outcome: Outcome, said: &[&str]) -> Decision {
    let decision = world.decide().unwrap();
    assert_eq!(decision.outcome, outcome, "{}\n{:#?}", decision.sentence, decision.tree);
    for part in said {
        assert!(decision.sentence.contains(part), "{part}: {}", decision.sentence);
    }
    decision
}

#[test]
fn pairs_that_teach_the_trays_are_learnt() {
    let decision = expect(&World::trays(), Outcome::Tuned, &["Fine-tune: tuned"]);
    let control = decision.system(Arm::Shuffled).unwrap();
    assert!(control.score.estimate < 0.2, "{control:?}");
    assert_eq!(decision.systems.iter().find(|s| s.system.is(Arm::Tuned)).unwrap().seeds, 3);
}

#[test]
fn shuffled_labels_teach_nothing() {
    let world = World { skill: |_| 11, ..World::trays() };
    expect(&world, Outcome::CollectData, &["No setup is good enough"]);
}

#[test]
fn a_score_that_shuffled_answers_reach_as_well_is_not_named() {
    let world = World {
        skill: |arm| if arm.is_trained() { 80 } else { 10 },
        settings: "measure = \"label\"\nmargin = 0.1\n",
        ..World::trays()
    };
    expect(&world, Outcome::CollectData, &["the same training on shuffled answers"]);
}

#[test]
fn contradicting_labels_are_named_where_nothing_is_good_enough() {
    let mut world =
        World { skill: |arm| if arm.needs_adapter() { 45 } else { 10 }, ..World::trays() };
    for index in 0..world.train.len() / 2 {
        let (question, answer) = world.train[index].clone();
        let place = TRAYS.iter().position(|tray| *tray == answer).unwrap();
        world.train.push((question, TRAYS[(place + 1) % TRAYS.len()].to_owned()));
    }
    expect(&world, Outcome::CollectData, &["80 of 120 pairs contradict each other"]);
}

#[test]
fn where_all_answers_are_alike_the_most_frequent_one_is_as_good() {
    let mut world = World { skill: |_| 100, ..World::trays() };
    for rows in [&mut world.train, &mut world.dev, &mut world.test] {
        for (_, answer) in rows.iter_mut() {
            "ash".clone_into(answer);
        }
    }
    expect(&world, Outcome::CollectData, &["the most frequent training answer"]);
}

#[test]
fn a_base_model_that_is_good_already_is_left_alone() {
    let world = World { skill: |_| 95, ..World::trays() };
    expect(&world, Outcome::Base, &["Nothing is needed", "It meets the target of 70.0 %"]);
}

#[test]
fn thirty_questions_decide_little() {
    let mut world =
        World { skill: |arm| if arm.needs_adapter() { 70 } else { 55 }, ..World::trays() };
    world.test.truncate(30);
    let decision = expect(&world, Outcome::Undetermined, &["These measurements don't decide"]);
    assert!(decision.exploratory && decision.more_questions_needed.is_some(), "{decision:#?}");
}

#[test]
fn unrelated_documents_are_no_reason_for_rag() {
    let world = World {
        documents: vec!["The pier is closed in winter.", "Bread is baked at six."],
        ..World::trays()
    };
    let decision = expect(&world, Outcome::Tuned, &["Fine-tune: tuned"]);
    assert!(decision.system(Arm::Rag).unwrap().score.estimate < 0.25);
}
