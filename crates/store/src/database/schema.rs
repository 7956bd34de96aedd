//! The database format and how it grew.

use std::path::Path;
use std::time::Duration;

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, OpenFlags};

use super::packed;

/// The format this program writes: the number of migrations.
pub(crate) const VERSION: u32 = MIGRATIONS.len() as u32;

/// Setting that counts changes of documents and vectors.
pub(crate) const GENERATION: &str = "store/generation";
/// Raises [`GENERATION`].
pub(crate) const RAISE_GENERATION: &str =
    "INSERT INTO settings (key, value) VALUES ('store/generation', '1')
     ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)";
/// Setting that tells one database from a copy of another project's index: random, made once.
pub(crate) const IDENTITY: &str = "store/identity";
/// Setting that holds the number of the index in use.
pub(crate) const INDEX: &str = "store/index";
/// Settings that name the folders of files that count, each followed by the number of an index: its
/// postings, its vectors.
pub(crate) const LEXICAL: &str = "store/lexical/";
pub(crate) const VECTORS: &str = "store/vectors/";

/// Each step leads from one format to the next. Steps are only ever added: projects of every age
/// exist.
const MIGRATIONS: &[&str] = &["
CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO settings (key, value) VALUES ('store/identity', lower(hex(randomblob(16))));

CREATE TABLE documents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL           -- the current one
) STRICT;

-- Earlier versions keep their text, so that a citation into them can still be looked up.
CREATE TABLE versions (
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,           -- from 1
    sha256 TEXT NOT NULL,
    format TEXT NOT NULL,
    title TEXT,
    text TEXT NOT NULL,
    receipt TEXT NOT NULL,             -- JSON
    stored_at INTEGER NOT NULL,        -- seconds since 1970
    PRIMARY KEY (document, number)
) STRICT;

-- Chunks of current versions only. Numbers are never used again, so that a chunk never changes under its number.
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,            -- bytes of the version's text
    end INTEGER NOT NULL,
    header_start INTEGER,              -- table header to repeat
    header_end INTEGER,
    heading_path TEXT NOT NULL,        -- JSON array
    indexed TEXT                       -- searched instead of the text, where it differs
) STRICT;
CREATE INDEX chunks_by_document ON chunks (document);

CREATE TABLE vectors (
    chunk INTEGER PRIMARY KEY REFERENCES chunks (id) ON DELETE CASCADE,
    vector BLOB NOT NULL               -- f32, little endian
) STRICT;

CREATE TABLE trials (
    key TEXT PRIMARY KEY,
    question_set TEXT NOT NULL,
    arm TEXT NOT NULL,
    qid TEXT NOT NULL,
    json TEXT NOT NULL,
    stored_at INTEGER NOT NULL
) STRICT;
CREATE INDEX trials_by_set ON trials (question_set, arm, qid);

-- Documents whose text a trial has seen: when one goes, so does the trial.
CREATE TABLE trial_documents (
    trial TEXT NOT NULL REFERENCES trials (key) ON DELETE CASCADE,
    document INTEGER NOT NULL,
    PRIMARY KEY (trial, document)
) STRICT, WITHOUT ROWID;
CREATE INDEX trial_documents_by_document ON trial_documents (document);

CREATE TABLE comparisons (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    question_set TEXT NOT NULL,
    json TEXT NOT NULL,
    stored_at INTEGER NOT NULL
) STRICT;

CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    question_set TEXT NOT NULL,
    json TEXT NOT NULL,
    stored_at INTEGER NOT NULL
) STRICT;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    json TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

CREATE TABLE adapters (
    name TEXT PRIMARY KEY,
    json TEXT NOT NULL,
    stale INTEGER NOT NULL,            -- 1: a document it was trained on has changed or gone
    stored_at INTEGER NOT NULL
) STRICT;
CREATE TABLE adapter_documents (
    adapter TEXT NOT NULL REFERENCES adapters (name) ON DELETE CASCADE,
    path TEXT NOT NULL,
    PRIMARY KEY (adapter, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE split_openings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    question_set TEXT NOT NULL,
    reason TEXT NOT NULL,
    opened_at INTEGER NOT NULL
) STRICT;
", "
-- What documents are filtered by.
ALTER TABLE documents ADD COLUMN collection TEXT NOT NULL DEFAULT 'documents';
ALTER TABLE documents ADD COLUMN modified INTEGER;             -- seconds since 1970; NULL: not known
ALTER TABLE documents ADD COLUMN language TEXT NOT NULL DEFAULT 'en';  -- ISO 639-1; empty: none of those with a stemmer
CREATE INDEX documents_by_collection ON documents (collection);
CREATE TABLE tags (
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (document, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX tags_by_tag ON tags (tag);
", "
-- Ways of cutting and embedding, side by side.
CREATE TABLE indexes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recipe TEXT,                       -- JSON; NULL: as it was when nobody wrote it down
    embedder TEXT,                     -- JSON; NULL as long as there are no vectors
    made_at INTEGER NOT NULL           -- seconds since 1970
) STRICT;
INSERT INTO indexes (id, embedder, made_at)
    VALUES (1, (SELECT value FROM settings WHERE key = 'store/embedder'), unixepoch());
DELETE FROM settings WHERE key IN ('store/embedder', 'store/lexical', 'store/vectors');
INSERT INTO settings (key, value) VALUES ('store/index', '1');

ALTER TABLE chunks ADD COLUMN index_id INTEGER NOT NULL DEFAULT 1;
DROP INDEX chunks_by_document;
CREATE INDEX chunks_by_document ON chunks (document, index_id);
CREATE INDEX chunks_by_index ON chunks (index_id);

-- Current versions that an index has cut, into no chunks perhaps.
CREATE TABLE indexed (
    index_id INTEGER NOT NULL REFERENCES indexes (id) ON DELETE CASCADE,
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    PRIMARY KEY (index_id, document)
) STRICT, WITHOUT ROWID;
CREATE INDEX indexed_by_document ON indexed (document);
INSERT INTO indexed (index_id, document) SELECT 1, id FROM documents;

-- Blocks of a current version as JSON, to cut it anew; NULL: nobody wrote them down.
ALTER TABLE versions ADD COLUMN structure TEXT;

-- Questions that a model wrote about passages of current versions.
CREATE TABLE synthetic_questions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    start INTEGER NOT NULL,            -- bytes of the version's text
    end INTEGER NOT NULL,
    question TEXT NOT NULL,
    made_by TEXT NOT NULL,
    made_at INTEGER NOT NULL           -- seconds since 1970
) STRICT;
CREATE INDEX synthetic_questions_by_document ON synthetic_questions (document);
", "
-- From here on a vector is its scale and two bytes a number, as `packed::pack` writes them.
UPDATE vectors SET vector = packed(vector);
", "
-- What was fixed before a comparison opened a test split.
ALTER TABLE split_openings ADD COLUMN run TEXT;            -- hash of what the comparison depends on; NULL: no comparison
ALTER TABLE split_openings ADD COLUMN terms TEXT;          -- JSON
ALTER TABLE split_openings ADD COLUMN comparison INTEGER;  -- what came of it; NULL: nothing yet
"];

/// Why a database is not opened.
pub(crate) enum Refused {
    Sqlite(rusqlite::Error),
    TooNew { found: u32 },
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Refused::Sqlite(error)
    }
}

/// Whether there is a database in today's format.
pub(crate) fn is_current(path: &Path) -> bool {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let version = Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.query_row("PRAGMA user_version", [], |row| row.get(0)));
    version.is_ok_and(|version: u32| version == VERSION)
}

/// Sets the connection up and applies the migrations that are missing, each in a transaction of its
/// own.
pub(crate) fn prepare(connection: &mut Connection) -> Result<(), Refused> {
    connection.busy_timeout(Duration::from_secs(5))?;
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > VERSION {
        return Err(Refused::TooNew { found });
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A committed transaction survives a power cut; a deleted document's bytes are overwritten.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    if found < VERSION {
        connection.create_scalar_function(
            "packed",
            1,
            FunctionFlags::SQLITE_DETERMINISTIC,
            packed,
        )?;
    }
    for (number, step) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

/// What the step to format 4 makes of a vector: `packed::pack` of its little-endian f32 numbers.
fn packed(call: &Context<'_>) -> rusqlite::Result<Vec<u8>> {
    let (numbers, _) = call.get_raw(0).as_blob()?.as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|&number| f32::from_le_bytes(number)).collect();
    Ok(packed::pack(&numbers))
}
