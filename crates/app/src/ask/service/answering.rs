//! Answering one question, stage by stage.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use eval::Arm;
use lm::{Generation, Lora, Message};
use store::Hit;

use crate::ask::answer::{ABSTENTION, Answer};
use crate::ask::plan::AskPlan;
use crate::ask::repetition::RepetitionGuard;
use crate::ask::request::AskRequest;
use crate::ask::service::Service;
use crate::error::{Error, Result};

impl Service {
    /// Answers a question, handing out the text as it comes.
    ///
    /// # Errors
    /// No documents where the arm needs them, no adapter where it needs one, a set that the asker
    /// may not read, and whatever store and engine refuse.
    pub fn ask(
        &self,
        request: &AskRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        self.follow()?;
        let start = Instant::now();
        let arm = self.authorise(request)?;
        let longest = self.longest(request)?;
        // Only arms that retrieve wait here for their turn on the store.
        let knowledge = arm.uses_retrieval().then(|| self.knowledge());
        let plan = AskPlan::resolve(request, arm, knowledge.as_deref(), longest)?;
        let retrieved = plan.retrieve(knowledge.as_deref())?;
        drop(knowledge);

        let mut answer = Answer::begun(request.question, arm, retrieved);
        if plan.abstains(answer.relevance) {
            // Whoever reads the stream has the whole answer now; whether they want more does not
            // matter.
            let _ = on_text(ABSTENTION);
            answer.abstain();
            answer.seconds.total = start.elapsed().as_secs_f64();
            return Ok(answer);
        }
        let messages = self.render(&plan, &answer.hits)?;
        let adapter = match request.set {
            Some(set) => self.adapter(set, arm)?,
            None => None,
        };
        answer.seconds.render = start.elapsed().as_secs_f64() - answer.seconds.retrieving();
        let lora = adapter.as_ref().map(|adapter| &adapter.lora);
        answer.say(self.generate(&plan, &messages, lora, on_text)?);

        let citing = Instant::now();
        if arm.uses_passages() {
            answer.cite(&self.knowledge())?;
        }
        answer.seconds.cite = citing.elapsed().as_secs_f64();
        answer.notes.extend(adapter.filter(|adapter| adapter.stale).map(|adapter| {
            let name = adapter.name;
            format!(
                "adapter {name} was trained with documents that have changed since: train it again"
            )
        }));
        answer.seconds.total = start.elapsed().as_secs_f64();
        Ok(answer)
    }

    /// The tokens of the longest answer of a request's set, as it was compared.
    fn longest(&self, request: &AskRequest) -> Result<Option<usize>> {
        match request.set {
            Some(set) if request.max_tokens.is_none() && set.max_tokens.is_none() => {
                self.knowledge().max_tokens(set)
            }
            Some(set) => Ok(set.max_tokens),
            None => Ok(None),
        }
    }

    /// The arm that answers a request, once it is certain that the asker may read what its answers
    /// rest on.
    fn authorise(&self, request: &AskRequest) -> Result<Arm> {
        let arm = match (request.arm, request.set) {
            (Some(arm), _) => arm,
            (None, Some(set)) => self.winner(&set.name)?.unwrap_or(Arm::Rag),
            (None, None) => Arm::Rag,
        };
        if arm.is_diagnostic() {
            return Err(Error::DiagnosticArm(arm));
        }
        match request.set {
            Some(set) if !self.allows(&request.access, set, arm)? => {
                Err(Error::Forbidden(format!("set {:?}", set.name)))
            }
            _ => Ok(arm),
        }
    }

    /// The conversation for the model, with the nearest examples where the arm shows some, made to
    /// fit beside the longest answer.
    fn render(&self, plan: &AskPlan, hits: &[Hit]) -> Result<Vec<Message>> {
        let question = plan.request.question;
        let shots = match plan.example_set()? {
            Some(set) => {
                let shots = self.shots(set)?;
                let vector = self.knowledge().encoder.embed(&[question])?.pop().unwrap_or_default();
                shots.nearest(&vector, set.shots)
            }
            None => Vec::new(),
        };
        let model = &self.model;
        let positions = model.decoder.config().max_positions;
        let limit = positions.saturating_sub(plan.options.max_tokens);
        let labels = self.labels(plan.request.set)?;
        let prompt = plan.prompt(hits, shots, &labels);
        prompt.fit(plan.arm, &model.template, &model.tokenizer, limit)
    }

    /// Lets the model answer, beside other questions where there is an engine. The questions of a
    /// set are answered exactly as they were compared; any other answer may end before it runs in
    /// circles.
    fn generate(
        &self,
        plan: &AskPlan,
        messages: &[Message],
        adapter: Option<&Arc<Lora>>,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let generate = |on_text: &mut dyn FnMut(&str) -> ControlFlow<()>| {
            Ok(match &self.engine {
                Some(engine) => engine.generate(messages, adapter, &plan.options, on_text)?,
                None => {
                    let lora = adapter.map(|lora| &**lora);
                    self.model.generate(messages, lora, &plan.options, on_text)?
                }
            })
        };
        if plan.request.set.is_some() {
            return generate(on_text);
        }
        let mut guard = RepetitionGuard::new(on_text);
        let generation = generate(&mut |piece| guard.push(piece))?;
        Ok(Generation { text: guard.finish(), ..generation })
    }
}
