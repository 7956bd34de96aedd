//! A service behind its keys: who may ask, which models are listed for whom, and what of the
//! documents an answer may rest on.

use std::ops::ControlFlow;

use eval::Arm;

use crate::ask::answer::Answer;
use crate::ask::request::AskRequest;
use crate::ask::service::Service;
use crate::error::Result;
use crate::project::config::SetConfig;
use crate::project::keys::{Access, Key, holder};

/// A project as its callers see it: each question set is a model, answered by the arm that won, and
/// the project itself is one that answers from the documents. What each key opens is found out
/// once, at the start. A project without keys is open to everybody.
pub struct KeyedService {
    service: Service,
    sets: Vec<ServedSet>,
    /// For each key, which of the sets it opens.
    opened: Vec<Vec<bool>>,
}

/// A set and the arm that answers its questions: the one decided on, else retrieval.
#[derive(Clone, Debug)]
pub struct ServedSet {
    /// The set.
    pub set: SetConfig,
    /// The arm.
    pub arm: Arm,
    /// Whether a decision recommended it.
    pub decided: bool,
}

/// A model that a caller may name.
#[derive(Clone, Copy, Debug)]
pub enum Offer<'a> {
    /// A question set.
    Set(&'a ServedSet),
    /// The documents, under the name of the project.
    Documents(&'a str),
}

impl<'a> Offer<'a> {
    /// The name that callers use.
    pub fn name(&self) -> &'a str {
        match self {
            Self::Set(served) => &served.set.name,
            Self::Documents(project) => project,
        }
    }
}

/// What a caller may ask and read.
pub struct CallerRights<'a> {
    keyed: &'a KeyedService,
    /// The key they hold and which of the sets it opens; `None` where no key is needed.
    key: Option<(&'a Key, &'a [bool])>,
}

impl KeyedService {
    /// Puts a service behind the keys of its project.
    ///
    /// # Errors
    /// As [`Service::check_keys`] and [`Service::allows`]; a decision or a store that cannot be
    /// read.
    pub fn new(service: Service) -> Result<Self> {
        let config = &service.project.config;
        let serve = |set: &SetConfig| {
            let winner = service.winner(&set.name)?;
            let arm = winner.unwrap_or(Arm::Rag);
            Ok(ServedSet { set: set.clone(), arm, decided: winner.is_some() })
        };
        let sets: Vec<ServedSet> = config.sets.iter().map(serve).collect::<Result<_>>()?;
        service.check_keys()?;
        let opens = |key: &Key| {
            let allows = |served: &ServedSet| service.allows(&key.access, &served.set, served.arm);
            sets.iter().map(allows).collect()
        };
        let opened = config.keys.iter().map(opens).collect::<Result<_>>()?;
        Ok(Self { service, sets, opened })
    }

    /// Whether callers must show a key.
    pub fn needs_key(&self) -> bool {
        !self.keys().is_empty()
    }

    /// The rights of whoever shows this secret, or none; `None` for somebody who is to be refused.
    pub fn admit(&self, secret: Option<&str>) -> Option<CallerRights<'_>> {
        match self.needs_key() {
            true => self.rights(Some(&holder(self.keys(), secret?)?.name)),
            false => self.rights(None),
        }
    }

    /// The rights of the holder of the key of this name; of everybody for `None`, where no key is
    /// needed.
    pub fn rights(&self, key: Option<&str>) -> Option<CallerRights<'_>> {
        let Some(name) = key else {
            return (!self.needs_key()).then_some(CallerRights { keyed: self, key: None });
        };
        self.holders().find(|rights| rights.key().is_some_and(|key| key.name == name))
    }

    /// The rights of all who may come.
    pub fn callers(&self) -> Vec<CallerRights<'_>> {
        self.rights(None).into_iter().chain(self.holders()).collect()
    }

    fn holders(&self) -> impl Iterator<Item = CallerRights<'_>> {
        let keys = self.keys().iter().zip(&self.opened);
        keys.map(|(key, opened)| CallerRights { keyed: self, key: Some((key, opened)) })
    }

    fn keys(&self) -> &[Key] {
        &self.service.project.config.keys
    }
}

impl<'a> CallerRights<'a> {
    /// The key that gives these rights; `None` where none is needed.
    pub fn key(&self) -> Option<&'a Key> {
        self.key.map(|(key, _)| key)
    }

    /// The models that the caller may name: the sets that are open to them, then the documents.
    pub fn offers(&self) -> impl Iterator<Item = Offer<'a>> {
        let KeyedService { service, sets, .. } = self.keyed;
        let opened = self.key.map(|(_, opened)| opened);
        let is_open = move |at: usize| opened.is_none_or(|opened| opened.get(at) == Some(&true));
        let open = sets.iter().enumerate().filter(move |(at, _)| is_open(*at));
        open.map(|(_, served)| Offer::Set(served))
            .chain([Offer::Documents(&service.project.config.name)])
    }

    /// The model of this name, if the caller may ask it.
    pub fn offer(&self, name: &str) -> Option<Offer<'a>> {
        self.offers().find(|offer| offer.name() == name)
    }

    /// Answers a request as one of the caller's models, from what the caller may read: set, arm and
    /// access of the request are replaced.
    ///
    /// # Errors
    /// As [`Service::ask`].
    pub fn ask(
        &self,
        offer: Offer<'_>,
        request: AskRequest<'_>,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Answer> {
        let (set, arm) = match offer {
            Offer::Set(served) => (Some(&served.set), Some(served.arm)),
            Offer::Documents(_) => (None, None),
        };
        let access = self.key().map_or(Access::Everything, |key| key.access.clone());
        self.keyed.service.ask(&AskRequest { set, arm, access, ..request }, on_text)
    }
}
