//! Which documents a search may find.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{ChunkId, Error, Result, Store};

/// Which documents a search may find: those that meet every condition given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Collections, any of them; `None` for all, an empty list for none.
    pub collections: Option<Vec<String>>,
    /// Patterns of paths, any of them: `*` stands for any characters, `/` among them, `?` for one,
    /// `[ab]` for one of those.
    pub paths: Vec<String>,
    /// Names of formats, any of them.
    pub formats: Vec<String>,
    /// Tags, all of them.
    pub tags: Vec<String>,
    /// Last changed at this second since 1970 or later; a document without a date is not found.
    pub since: Option<i64>,
    /// Last changed before this second since 1970; a document without a date is not found.
    pub until: Option<i64>,
}

impl Filter {
    /// Finds every document.
    pub const ALL: Filter = Filter {
        collections: None,
        paths: Vec::new(),
        formats: Vec::new(),
        tags: Vec::new(),
        since: None,
        until: None,
    };

    /// The same filter for someone who may read only `collections`.
    #[must_use]
    pub fn within(mut self, collections: &[String]) -> Self {
        self.collections = Some(match self.collections {
            None => collections.to_vec(),
            Some(wanted) => wanted.into_iter().filter(|name| collections.contains(name)).collect(),
        });
        self
    }
}

/// A set of chunks.
#[derive(Debug, Default)]
pub(crate) struct Allowed(Vec<u64>);

impl Allowed {
    pub(crate) fn contains(&self, chunk: ChunkId) -> bool {
        let Ok(at) = usize::try_from(chunk.0) else { return false };
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(crate) fn insert(&mut self, chunk: i64) {
        let Ok(at) = usize::try_from(chunk) else { return };
        if self.0.len() <= at / 64 {
            self.0.resize(at / 64 + 1, 0);
        }
        self.0[at / 64] |= 1 << (at % 64);
    }
}

/// Sets of chunks that are kept, with the generation of the database they are from.
#[derive(Debug, Default)]
pub(crate) struct FilterCache(Vec<(i64, Filter, Arc<Allowed>)>);

/// Filters whose chunks are remembered.
const KNOWN: usize = 8;

impl Store {
    /// The chunks that a filter lets through; `None` for all.
    pub(crate) fn allowed(&self, filter: &Filter, generation: i64) -> Result<Option<Arc<Allowed>>> {
        if *filter == Filter::ALL {
            return Ok(None);
        }
        let known = &mut self.filters.borrow_mut().0;
        known.retain(|(at, ..)| *at == generation);
        if let Some((.., allowed)) = known.iter().find(|(_, other, _)| other == filter) {
            return Ok(Some(Arc::clone(allowed)));
        }
        let allowed = Arc::new(self.chunks_of(filter)?);
        if known.len() == KNOWN {
            known.remove(0);
        }
        known.push((generation, filter.clone(), Arc::clone(&allowed)));
        Ok(Some(allowed))
    }

    fn chunks_of(&self, filter: &Filter) -> Result<Allowed> {
        let list = |names: &[String]| {
            let json = (!names.is_empty()).then(|| serde_json::to_string(names)).transpose();
            json.map_err(|source| Error::Record { key: "filter".to_string(), source })
        };
        let collections = filter.collections.as_ref().map(serde_json::to_string).transpose();
        let collections =
            collections.map_err(|source| Error::Record { key: "filter".to_string(), source })?;
        let sql = "
            SELECT c.id FROM chunks c JOIN documents d ON d.id = c.document
            JOIN versions v ON v.document = d.id AND v.number = d.version
            WHERE c.index_id = ?7
              AND (?1 IS NULL OR d.collection IN (SELECT value FROM json_each(?1)))
              AND (?2 IS NULL OR EXISTS (SELECT 1 FROM json_each(?2) AS pattern WHERE d.path GLOB pattern.value))
              AND (?3 IS NULL OR v.format IN (SELECT value FROM json_each(?3)))
              AND (?4 IS NULL OR NOT EXISTS (SELECT value FROM json_each(?4)
                                             EXCEPT SELECT t.tag FROM tags t WHERE t.document = d.id))
              AND (?5 IS NULL OR d.modified >= ?5) AND (?6 IS NULL OR d.modified < ?6)";
        let parameters = (
            collections,
            list(&filter.paths)?,
            list(&filter.formats)?,
            list(&filter.tags)?,
            filter.since,
            filter.until,
            self.index.0,
        );
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(parameters)?;
        let mut allowed = Allowed::default();
        while let Some(row) = rows.next()? {
            allowed.insert(row.get(0)?);
        }
        Ok(allowed)
    }
}
