//! What a key opens: documents, and the sets whose answers rest on those documents only.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use eval::Arm;

use crate::ask::service::Service;
use crate::error::{Error, Result};
use crate::ingest::Belonging;
use crate::project::config::{DOCUMENTS, SetConfig};
use crate::project::keys::Access;
use crate::prompt::may_name_labels;
use crate::questions::QuestionSet;
use crate::tune::adapters;
use crate::tune::adapters::{Manifest, Recipe};

impl Service {
    /// Whether everything that this arm's answers to a set's questions rest on may be read.
    ///
    /// Every answer rests on the set's collections, or on all there are where the set names none.
    /// Where examples stand in the prompt, or it names their labels, or the weights were trained on
    /// them, it also rests on the documents of their evidence and on those that the adapter was
    /// trained with. A document
    /// that is no longer in the store counts as one that may not be read, and so does an adapter
    /// of which no documents are recorded.
    ///
    /// # Errors
    /// The question files, the adapters or the store cannot be read.
    pub fn allows(&self, access: &Access, set: &SetConfig, arm: Arm) -> Result<bool> {
        let Access::Collections(readable) = access else { return Ok(true) };
        let collections = match &set.collections {
            Some(names) => names.iter().cloned().collect(),
            None => self.collections()?,
        };
        if !collections.iter().all(|name| access.allows(name)) {
            return Ok(false);
        }
        let mut documents = Vec::new();
        if arm.uses_examples() || arm.needs_adapter() || may_name_labels(set) {
            documents.extend(self.evidence(set)?.iter().cloned());
        }
        let knowledge = self.knowledge();
        if let Some(name) = self.adapter_name(&set.name, arm)? {
            let Some(seen) = knowledge.store.adapter_documents(&name)? else { return Ok(false) };
            documents.extend(seen);
        }
        Ok(knowledge.store.all_within(&documents, readable)?)
    }

    /// Every collection there is, in the configuration or in the store.
    fn collections(&self) -> Result<BTreeSet<String>> {
        let mut names: BTreeSet<String> =
            self.knowledge().store.collections()?.into_iter().collect();
        names.insert(DOCUMENTS.to_owned());
        names.extend(
            self.project.config.collections.iter().map(|collection| collection.name.clone()),
        );
        Ok(names)
    }

    /// The documents in which the examples of a set have their evidence; their files are read at
    /// the first call.
    fn evidence(&self, set: &SetConfig) -> Result<Arc<BTreeSet<String>>> {
        let mut known = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(documents) = known.get(&set.name) {
            return Ok(Arc::clone(documents));
        }
        let questions = QuestionSet::load(&self.project, set)?;
        let evidence =
            questions.train.iter().chain(&questions.dev).flat_map(|example| &example.evidence);
        let documents = Arc::new(evidence.map(|found| found.document.clone()).collect());
        known.insert(set.name.clone(), Arc::clone(&documents));
        Ok(documents)
    }

    /// The name of the adapter that an arm of a set answers with, if it is trained and needs one.
    fn adapter_name(&self, set: &str, arm: Arm) -> Result<Option<String>> {
        let Some(recipe) = Recipe::of(arm) else { return Ok(None) };
        let trained = adapters::list(&self.project, set, recipe)?;
        Ok(trained.first().map(Manifest::name))
    }

    /// Makes sure that no key opens more than the configuration says.
    ///
    /// # Errors
    /// [`Error::Moved`] when a key would open a document that has moved to another collection in
    /// the configuration and not yet in the store.
    pub fn check_keys(&self) -> Result<()> {
        let keys = &self.project.config.keys;
        let belonging = Belonging::new(&self.project);
        for document in self.knowledge().store.documents()? {
            let stored = &document.metadata.collection;
            let configured = belonging.metadata(&document.path, None).collection;
            if keys.iter().any(|key| key.access.allows(stored) && !key.access.allows(&configured)) {
                return Err(Error::Moved {
                    document: document.path,
                    stored: stored.clone(),
                    configured,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use lm::{Encoder, Model, Precision};
    use store::{Metadata, NewChunk, NewDocument, Store};

    use super::*;
    use crate::ask::AskRequest;
    use crate::project::config;
    use crate::search::recipe::IndexRecipe;
    use crate::{Knowledge, Project};

    const CONFIG: &str = r#"
[project]
name = "p"

[[collection]]
name = "staff"
documents = []

[[set]]
name = "inside"
questions = "inside.jsonl"
measure = "label"
collections = ["documents"]

[[set]]
name = "astray"
questions = "astray.jsonl"
measure = "label"
name_labels = 0
collections = ["documents"]

[[set]]
name = "named"
questions = "astray.jsonl"
measure = "label"
collections = ["documents"]

[[set]]
name = "whole"
questions = "inside.jsonl"
measure = "label"
"#;

    fn document(path: &str, collection: &str, text: &str) -> NewDocument {
        NewDocument {
            path: path.to_owned(),
            metadata: Metadata { collection: collection.to_owned(), ..Metadata::default() },
            text: text.to_owned(),
            receipt_json: "{}".to_owned(),
            chunks: vec![NewChunk { span: 0..text.len(), ..NewChunk::default() }],
            ..NewDocument::default()
        }
    }

    /// A project with a document in each of two collections, a set that cites the open one, one
    /// that cites the closed one, and tiny models.
    fn service(folder: &Path) -> Service {
        fs::write(folder.join(config::FILE), CONFIG).unwrap();
        for (file, cited) in [("inside", "open.md"), ("astray", "closed.md")] {
            let row = |split: &str| {
                format!(
                    "{{\"question\":\"a {split} word\",\"answers\":[\"word\"],\
                     \"split\":\"{split}\",\
                     \"evidence\":[{{\"document\":\"{cited}\",\"quote\":\"word\"}}]}}\n"
                )
            };
            let rows = ["train", "dev", "test"].map(row).concat();
            fs::write(folder.join(format!("{file}.jsonl")), rows).unwrap();
        }
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../lm/tests/fixtures");
        let project = Project::open(folder).unwrap();
        let store = Store::open(&project.state().unwrap()).unwrap();
        let encoder = Encoder::open(&fixtures.join("tiny-bert")).unwrap();
        let mut knowledge = Knowledge::new(
            store,
            encoder,
            IndexRecipe::of(&project.config),
            project.config.retrieval.clone(),
        )
        .unwrap();
        for (path, collection, text) in [
            ("open.md", "documents", "the short word"),
            ("closed.md", "staff", "another short word"),
        ] {
            let mut document = document(path, collection, text);
            document.chunks[0].vector = knowledge.encoder.embed(&[text]).unwrap().pop();
            knowledge.store.put_document(document).unwrap();
        }
        let model = Model::open(&fixtures.join("tiny-llama"), Precision::F32).unwrap();
        Service::new(project, knowledge, model)
    }

    fn only(collection: &str) -> Access {
        Access::Collections(vec![collection.to_owned()])
    }

    /// Leaves what a trained adapter leaves, but for its weights.
    fn train(service: &Service, set: &str, documents: Option<&[&str]>) {
        let folder = service.project.adapter_folder(set, Recipe::Plain.as_str(), 1);
        fs::create_dir_all(&folder).unwrap();
        let manifest = serde_json::json!({
            "set": set, "recipe": "plain", "seed": 1, "base": "", "base_name": "",
            "data": "", "options": "", "weights": "",
            "examples": 1, "best_step": 1, "dev_loss": null, "seconds": 0.0, "tokens": 1,
            "history": serde_json::to_value(lm::History::default()).unwrap(),
        });
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        let name = format!("{set}/plain/1");
        let store = &mut service.knowledge().store;
        store.delete_adapter(&name).unwrap();
        if let Some(documents) = documents {
            let documents: Vec<String> = documents.iter().map(|path| (*path).to_owned()).collect();
            store.put_adapter(&name, "{}", &documents).unwrap();
        }
    }

    #[test]
    fn a_set_is_open_to_whoever_may_read_all_that_its_answers_rest_on() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path());
        let allows = |access: &Access, set: &str, arm| {
            service.allows(access, service.project.config.set(set).unwrap(), arm).unwrap()
        };
        let (open, closed) = (only("documents"), only("staff"));
        let both = Access::Collections(vec!["staff".to_owned(), "documents".to_owned()]);
        for arm in [Arm::Rag, Arm::FewShot, Arm::Base, Arm::Tuned] {
            assert!(
                allows(&Access::Everything, "astray", arm) && allows(&both, "astray", arm),
                "{arm}"
            );
            assert!(allows(&open, "inside", arm) && !allows(&closed, "inside", arm), "{arm}");
            assert!(!allows(&open, "whole", arm) && allows(&both, "whole", arm), "{arm}");
        }
        // The passages are of the open collection, the examples cite the closed one.
        assert!(allows(&open, "astray", Arm::Rag));
        // The labels in the prompt are answers of those examples.
        assert!(!allows(&open, "named", Arm::Rag) && allows(&both, "named", Arm::Rag));
        assert!(!allows(&open, "astray", Arm::FewShot) && !allows(&open, "astray", Arm::Tuned));

        train(&service, "inside", Some(&["open.md"]));
        assert!(allows(&open, "inside", Arm::Tuned));
        for documents in [Some(["open.md", "closed.md"].as_slice()), Some(&["gone.md"]), None] {
            train(&service, "inside", documents);
            assert!(!allows(&open, "inside", Arm::Tuned), "{documents:?}");
            assert!(
                allows(&open, "inside", Arm::Rag)
                    && allows(&Access::Everything, "inside", Arm::Tuned)
            );
        }
    }

    #[test]
    fn passages_come_from_what_may_be_read_and_closed_sets_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path());
        let set = |name: &str| service.project.config.set(name).unwrap().clone();
        let (inside, astray) = (set("inside"), set("astray"));
        let ask = |set: Option<&SetConfig>, arm: Option<Arm>, access: Access| {
            let question = "a short word";
            let request = AskRequest {
                question,
                set,
                arm,
                access,
                max_tokens: Some(1),
                ..AskRequest::default()
            };
            service.ask(&request, &mut |_| std::ops::ControlFlow::Continue(()))
        };
        let paths = |access| {
            let mut paths: Vec<String> =
                ask(None, None, access).unwrap().hits.into_iter().map(|hit| hit.path).collect();
            paths.sort();
            paths
        };
        assert_eq!(paths(Access::Everything), ["closed.md", "open.md"]);
        assert_eq!(paths(only("documents")), ["open.md"]);
        assert_eq!(paths(only("staff")), ["closed.md"]);
        assert!(paths(only("nothing")).is_empty());
        assert!(ask(Some(&inside), None, only("documents")).is_ok());
        for (set, arm, access) in
            [(&inside, None, only("staff")), (&astray, Some(Arm::FewShot), only("documents"))]
        {
            assert!(matches!(ask(Some(set), arm, access), Err(Error::Forbidden(_))));
        }
    }

    #[test]
    fn prompts_name_the_labels_and_adapters_of_other_prompts_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let service = service(folder.path());
        let set = |name: &str| service.project.config.set(name).unwrap();
        let prompt_tokens = |set: &SetConfig| {
            let request = AskRequest {
                question: "a word",
                set: Some(set),
                arm: Some(Arm::Base),
                max_tokens: Some(1),
                ..AskRequest::default()
            };
            let answer = service.ask(&request, &mut |_| std::ops::ControlFlow::Continue(()));
            answer.unwrap().tokens.prompt
        };
        let user = lm::Message::new(lm::Role::User, "a word");
        let naming = "Answer with one of these labels and nothing else:\nword";
        let system = lm::Message::new(lm::Role::System, naming);
        let tokens = |messages: &[lm::Message]| service.prompt_tokens(messages).unwrap();
        assert_eq!(prompt_tokens(set("named")), tokens(&[system, user.clone()]));
        assert_eq!(prompt_tokens(set("astray")), tokens(&[user]));

        // These manifests tell of no labels.
        train(&service, "named", None);
        train(&service, "astray", None);
        let refused = service.adapter(set("named"), Arm::Tuned).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "adapter named/plain/1 was trained with other labels named (none, now 1): train it \
             again with `tunesmith tune named --recipe plain`"
        );
        let other = service.adapter(set("astray"), Arm::Tuned).unwrap_err();
        assert!(!matches!(other, Error::OtherPrompts { .. }), "{other}");
    }
}
