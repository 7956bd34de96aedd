//! Bringing the vector table up to date with the database.

use std::path::PathBuf;

use super::file::{Saved, Stamp};
use super::{Vectors, packed_numbers};
use crate::lexical::leftovers;
use crate::refresh::READS;
use crate::{ChunkId, Embedder, Error, Result, Store, schema};

/// New vectors, as a share of all, that are left out of the files until there are more: opening links them again, at about a
/// millisecond each.
const UNSAVED_SHARE: usize = 500;

impl Store {
    /// The vector table of the current generation, on disk too where it is large.
    pub(crate) fn fresh_vectors(&self, open: Option<Vectors>, generation: i64) -> Result<Vectors> {
        let mut table = self.current_vectors(open, generation)?;
        if let Some(embedder) = self.embedder()?
            && table.saved.is_none_or(|saved| saved.generation != generation)
        {
            self.save(&mut table, self.vector_stamp(&embedder, generation)?)?;
        }
        Ok(table)
    }

    /// The vector table of the current generation: the open one, or the one on disk, brought up to date, or a new one. Nothing is
    /// written.
    pub(crate) fn current_vectors(&self, open: Option<Vectors>, generation: i64) -> Result<Vectors> {
        let Some(embedder) = self.embedder()? else { return Ok(Vectors::new(0)) };
        let mut table = match open.filter(|table| table.dimension() == embedder.dimension) {
            Some(table) => table,
            None => self.saved_vectors(&embedder)?.unwrap_or_else(|| Vectors::new(embedder.dimension)),
        };
        if table.saved.is_none_or(|saved| saved.generation != generation) {
            if !table.chunks.is_empty() {
                let stored = self.chunk_ids()?;
                table.retain(|chunk| stored.contains(&chunk));
            }
            self.add_new(&mut table, &embedder.identity)?;
            table.link(self.graph_from);
        }
        table.exact = self.exact;
        Ok(table)
    }

    /// The table on disk, if it is sound.
    fn saved_vectors(&self, embedder: &Embedder) -> Result<Option<Vectors>> {
        // Another process may be replacing the files.
        for _ in 0..READS {
            let folder = self.vector_folder(self.vector_number()?);
            if let Some(table) = Vectors::load(&folder, &self.vector_stamp(embedder, self.generation()?)?) {
                return Ok(Some(table));
            }
            if !folder.exists() && folder == self.vector_folder(self.vector_number()?) {
                break;
            }
        }
        Ok(None)
    }

    fn vector_stamp(&self, embedder: &Embedder, generation: i64) -> Result<Stamp> {
        Ok(Stamp::new(self.identity()?, embedder.identity.clone(), embedder.dimension, generation))
    }

    /// Adds the vectors of chunks that the table does not reach to. Chunks never change under their number, and new ones have
    /// higher numbers.
    fn add_new(&self, table: &mut Vectors, embedder: &str) -> Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT c.id, v.vector FROM chunks c JOIN vectors v ON v.chunk = c.id
                             WHERE c.index_id = ?1 AND c.id > ?2 ORDER BY c.id",
        )?;
        let mut rows = statement.query([self.index.0, table.last().0])?;
        while let Some(row) = rows.next()? {
            let chunk = ChunkId(row.get(0)?);
            let packed = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            if !table.push(chunk, packed) {
                let (expected, given) = (table.dimension(), packed_numbers(packed.len()));
                return Err(Error::Dimension { embedder: embedder.to_string(), expected, given });
            }
        }
        Ok(())
    }

    /// Replaces the files when they hold what was deleted or lack much, and removes them when there is no graph.
    fn save(&self, table: &mut Vectors, stamp: Stamp) -> Result<()> {
        let root = self.files("vectors");
        if table.graph.is_none() {
            table.saved = None;
            return remove(leftovers(&root, &PathBuf::new()));
        }
        let rows = table.chunks.len();
        let lacks_little = |saved: Saved| rows - saved.rows.min(rows) <= rows / UNSAVED_SHARE;
        if !table.outlived && table.saved.is_some_and(lacks_little) {
            return Ok(());
        }
        // What was deleted is to go even if writing fails, so the old files go first where they hold such.
        let number = self.vector_number()?;
        let current = self.vector_folder(number);
        remove(leftovers(&root, &if table.outlived { PathBuf::new() } else { current }))?;
        let folder = self.vector_folder(number + 1);
        table.saved = Some(table.save(&folder, stamp)?);
        table.outlived = false;
        self.put_file_number(schema::VECTORS, number + 1)?;
        table.lean_on(&folder);
        // Nothing depends on it any more; if it cannot go now, the next time tries again.
        let _ = remove(leftovers(&root, &folder));
        Ok(())
    }

    fn vector_number(&self) -> Result<u64> {
        self.file_number(schema::VECTORS)
    }

    fn vector_folder(&self, number: u64) -> PathBuf {
        self.files("vectors").join(number.to_string())
    }
}

fn remove(folders: Vec<PathBuf>) -> Result<()> {
    folders
        .into_iter()
        .try_for_each(|folder| std::fs::remove_dir_all(&folder).map_err(|source| Error::io(&folder, source)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::pack;
    use super::*;
    use crate::{Embedder, Filter, NewChunk, NewDocument, SearchOptions};

    const MEANING: SearchOptions = SearchOptions {
        k: 10,
        candidates: 20,
        lexical_weight: 0.0,
        filter: Filter::ALL,
        merge_copies: false,
        neighbours: 0,
    };
    const DIMENSION: usize = 6;

    /// A store with a graph over as few as 40 vectors.
    fn open(folder: &Path) -> Store {
        set_up(Store::open(folder).unwrap())
    }

    fn set_up(mut store: Store) -> Store {
        store.use_embedder(&embedder()).unwrap();
        store.graph_from = 40;
        store
    }

    fn embedder() -> Embedder {
        Embedder { identity: "tiny@1".to_string(), dimension: DIMENSION }
    }

    fn vector(number: usize) -> Vec<f32> {
        (0..DIMENSION).map(|at| ((number * (at + 1)) as f32 * 0.7 + at as f32).sin()).collect()
    }

    fn note(number: usize) -> NewDocument {
        let text = format!("note {number}");
        let chunk = NewChunk { span: 0..text.len(), vector: Some(vector(number)), ..NewChunk::default() };
        NewDocument { path: number.to_string(), text, chunks: vec![chunk], ..NewDocument::default() }
    }

    fn found(store: &Store, number: usize) -> Vec<String> {
        let hits = store.search("", &vector(number), &MEANING).unwrap();
        hits.into_iter().map(|hit| hit.path).collect()
    }

    /// Folders of vector files there are.
    fn folders(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder.join("indexes/1/vectors")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// What the files hold, if they are sound.
    fn on_disk(store: &Store) -> Option<Vectors> {
        let identity = store.identity().unwrap();
        let stamp = Stamp::new(identity, "tiny@1".to_string(), DIMENSION, store.generation().unwrap());
        Vectors::load(&store.vector_folder(store.vector_number().unwrap()), &stamp)
    }

    #[test]
    fn a_table_is_read_from_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.put_documents((0..39).map(note)).unwrap();
        store.commit_index().unwrap();
        assert!(folders(folder.path()).is_empty(), "few vectors need no files");
        store.put_documents((39..200).map(note)).unwrap();
        let before: Vec<_> = (0..50).map(|number| found(&store, number)).collect();
        assert_eq!(folders(folder.path()), ["1"]);
        let graph = store.derived.borrow_mut().vectors.take().unwrap().1.graph;
        drop(store);

        let store = open(folder.path());
        assert_eq!(on_disk(&store).unwrap().graph, graph);
        assert_eq!((0..50).map(|number| found(&store, number)).collect::<Vec<_>>(), before);
        assert_eq!(folders(folder.path()), ["1"]);
    }

    #[test]
    fn new_vectors_are_linked_and_saved_when_there_are_enough() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.put_documents((0..1000).map(note)).unwrap();
        store.commit_index().unwrap();
        for (number, expected) in [(1000, "1"), (1001, "1"), (1002, "2"), (1003, "2")] {
            store.put_document(note(number)).unwrap();
            store.commit_index().unwrap();
            assert_eq!(found(&store, number)[0], number.to_string());
            assert_eq!(folders(folder.path()), [expected], "{number}");
            drop(store);
            store = open(folder.path());
            assert_eq!(found(&store, number)[0], number.to_string());
        }
    }

    #[test]
    fn a_deleted_vector_leaves_the_files_with_the_next_search() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.put_documents((0..120).map(note)).unwrap();
        assert_eq!(found(&store, 7)[0], "7");
        let held = |row: usize| -> Vec<u8> {
            on_disk(&store).unwrap().rows.first.chunks_exact(64).nth(row).unwrap().to_vec()
        };
        let gone = held(7);
        store.delete_document("7").unwrap();
        assert!(!found(&store, 7).contains(&"7".to_string()));
        assert_eq!(folders(folder.path()), ["2"]);
        for file in std::fs::read_dir(folder.path().join("indexes/1/vectors/2")).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(DIMENSION).any(|bytes| bytes == &gone[..DIMENSION]));
        }
        // With most of the documents the graph goes, and its files.
        for number in 10..115 {
            store.delete_document(&number.to_string()).unwrap();
        }
        store.commit_index().unwrap();
        assert!(folders(folder.path()).is_empty());
        assert_eq!(found(&store, 3)[0], "3");
    }

    #[test]
    fn a_missing_damaged_or_foreign_table_is_rebuilt() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.put_documents((0..100).map(note)).unwrap();
        let expected = found(&store, 3);
        let current = |store: &Store| store.vector_folder(store.vector_number().unwrap());
        let names = ["table.json", "chunks", "scales", "first", "second", "graph"];
        for name in names {
            for damage in ["remove", "cut", "grow", "flip", "empty"] {
                let path = current(&store).join(name);
                drop(store);
                let mut bytes = std::fs::read(&path).unwrap();
                match damage {
                    "cut" => bytes.truncate(bytes.len() / 2),
                    "grow" => bytes.push(b'}'),
                    "flip" => bytes.iter_mut().skip(5).step_by(11).for_each(|byte| *byte ^= 0x15),
                    _ => bytes.clear(),
                }
                if damage == "remove" { std::fs::remove_file(&path) } else { std::fs::write(&path, bytes) }
                    .unwrap();
                store = open(folder.path());
                assert!(on_disk(&store).is_none(), "{name} {damage}");
                assert_eq!(found(&store, 3), expected, "{name} {damage}");
                assert!(on_disk(&store).is_some(), "{name} {damage}");
                assert_eq!(folders(folder.path()).len(), 1);
            }
        }
        // Files of another project, and files newer than the database, as after a backup was put back.
        let other = tempfile::tempdir().unwrap();
        let mut foreign = open(other.path());
        foreign.put_documents((100..200).map(note)).unwrap();
        foreign.commit_index().unwrap();
        for name in names {
            std::fs::copy(current(&foreign).join(name), current(&store).join(name)).unwrap();
        }
        drop(store);
        let store = open(folder.path());
        assert!(on_disk(&store).is_none());
        assert_eq!(found(&store, 3), expected);
        let identity = store.identity().unwrap();
        let older = Stamp::new(identity, "tiny@1".to_string(), DIMENSION, 0);
        assert!(Vectors::load(&current(&store), &older).is_none());
    }

    #[test]
    fn a_vector_of_another_length_in_the_database_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.put_document(note(1)).unwrap();
        let change = "UPDATE vectors SET vector = ?1";
        store.connection.execute(change, [pack(&[1.0; DIMENSION + 1])]).unwrap();
        assert!(matches!(store.commit_index(), Err(Error::Dimension { given: 7, expected: 6, .. })));
        let chunk = ChunkId(1);
        assert!(matches!(store.vector(chunk), Err(Error::Dimension { given: 7, expected: 6, .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

        /// However documents come and go, and whether or not the files follow or the project is opened anew: what was deleted is
        /// never found, and everything else can be, by others that share the project too. What they derive meanwhile does no harm.
        #[test]
        fn what_was_deleted_is_never_found(
            steps in prop::collection::vec((0usize..3, 0usize..150, 1usize..40, 0u8..3), 1..14)
        ) {
            let folder = tempfile::tempdir().unwrap();
            let mut store = open(folder.path());
            store.put_documents((0..60).map(note)).unwrap();
            let reader = set_up(Store::open_shared(folder.path()).unwrap());
            let mut alive: BTreeSet<usize> = (0..60).collect();
            for (what, from, many, then) in steps {
                if what == 0 {
                    for number in from..from + many {
                        store.delete_document(&number.to_string()).unwrap();
                        alive.remove(&number);
                    }
                } else {
                    store.put_documents((from..from + many).map(note)).unwrap();
                    alive.extend(from..from + many);
                }
                match then {
                    0 => {}
                    1 => store.commit_index().unwrap(),
                    _ => {
                        drop(store);
                        if from % 2 == 0 {
                            reader.search("", &vector(from), &MEANING).unwrap();
                        }
                        store = open(folder.path());
                    }
                }
                for (number, store) in [(from, &store), (from + many / 2, &store), (from + many - 1, &reader)] {
                    let found = found(store, number);
                    prop_assert_eq!(found.len(), alive.len().min(10));
                    prop_assert!(found.iter().all(|path| alive.contains(&path.parse().unwrap())));
                    prop_assert_eq!(found.first() == Some(&number.to_string()), alive.contains(&number));
                }
            }
        }
    }
}
