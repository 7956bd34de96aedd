//! Bringing the vector table up to date with the database.

use std::collections::HashSet;
use std::path::PathBuf;

use super::Vectors;
use super::file::{Linked, Saved, Stamp};
use crate::database::packed::{pack, packed_numbers};
use crate::database::schema;
use crate::derived::files::{READS, leftovers};
use crate::{ChunkId, Embedder, Error, Result, Store};

/// As long as new vectors are at most one in so many, they are left out of the graph on disk:
/// opening links them again, at about a millisecond each.
const UNSAVED_ONE_IN: usize = 500;

impl Store {
    /// The vector table of the current generation, its graph on disk too where it is large.
    pub(crate) fn fresh_vectors(&self, open: Option<Vectors>, generation: i64) -> Result<Vectors> {
        let mut table = self.current_vectors(open)?;
        if let Some(embedder) = self.embedder()?
            && (table.outlived || table.saved.is_none_or(|saved| saved.generation != generation))
        {
            self.save(&mut table, self.vector_stamp(&embedder, generation)?)?;
        }
        Ok(table)
    }

    /// The vector table of the current generation: the open one, or one with the graph on disk,
    /// brought up to date, or a new one. Nothing is written.
    pub(crate) fn current_vectors(&self, open: Option<Vectors>) -> Result<Vectors> {
        let Some(embedder) = self.embedder()? else { return Ok(Vectors::new(0)) };
        let mut table = match open.filter(|table| table.dimension() == embedder.dimension) {
            Some(mut table) => {
                let stored = self.chunk_ids()?;
                table.retain(|chunk| stored.contains(&chunk));
                let after = table.last();
                self.each_vector(after, &embedder, |chunk, packed| table.push(chunk, packed))?;
                table
            }
            None => self.stored_vectors(&embedder)?,
        };
        table.link(self.graph_from);
        table.exact = self.exact;
        Ok(table)
    }

    /// A table of all vectors in the database, with the graph on disk over the first of them if
    /// there is one.
    fn stored_vectors(&self, embedder: &Embedder) -> Result<Vectors> {
        if let Some(linked) = self.saved_graph(embedder)?
            && let Some(table) = self.recalled(linked, embedder)?
        {
            return Ok(table);
        }
        let mut table = Vectors::new(embedder.dimension);
        let count = self.read_one(
            "SELECT count(*) FROM chunks WHERE index_id = ?1",
            [self.index.0],
            |row| row.get(0),
        );
        table.rows.reserve(count?.unwrap_or(0));
        self.each_vector(ChunkId(0), embedder, |chunk, packed| table.push(chunk, packed))?;
        Ok(table)
    }

    /// The table of a graph, with the vectors of the database and without those that are gone from
    /// it; `None` where the database has others among them.
    fn recalled(&self, linked: Linked, embedder: &Embedder) -> Result<Option<Vectors>> {
        let Linked { chunks, graph, saved } = linked;
        let mut table = Vectors::new(embedder.dimension);
        table.rows.reserve(chunks.len());
        let nothing = pack(&vec![0.0; embedder.dimension]);
        let (mut gone, mut foreign) = (HashSet::new(), false);
        let mut linked = chunks.into_iter().peekable();
        self.each_vector(ChunkId(0), embedder, |chunk, packed| {
            while let Some(dead) = linked.next_if(|next| *next < chunk) {
                table.push(dead, &nothing);
                gone.insert(dead);
            }
            foreign |= linked.next_if_eq(&chunk).is_none() && linked.peek().is_some();
            table.push(chunk, packed)
        })?;
        for dead in linked {
            table.push(dead, &nothing);
            gone.insert(dead);
        }
        if foreign {
            return Ok(None);
        }
        table.graph = Some(graph);
        table.saved = Some(saved);
        table.retain(|chunk| !gone.contains(&chunk));
        Ok(Some(table))
    }

    /// The graph on disk, if it is sound.
    fn saved_graph(&self, embedder: &Embedder) -> Result<Option<Linked>> {
        // Another process may be replacing the files.
        for _ in 0..READS {
            let folder = self.vector_folder(self.vector_number()?);
            if let Some(linked) =
                Linked::load(&folder, &self.vector_stamp(embedder, self.generation()?)?)
            {
                return Ok(Some(linked));
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

    /// Hands over the packed vectors of the chunks behind one, by rising number. Chunks never
    /// change under their number, and new ones have higher numbers. `take` says whether it has the
    /// embedder's length.
    fn each_vector(
        &self,
        after: ChunkId,
        embedder: &Embedder,
        mut take: impl FnMut(ChunkId, &[u8]) -> bool,
    ) -> Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT c.id, v.vector FROM chunks c JOIN vectors v ON v.chunk = c.id
                             WHERE c.index_id = ?1 AND c.id > ?2 ORDER BY c.id",
        )?;
        let mut rows = statement.query([self.index.0, after.0])?;
        while let Some(row) = rows.next()? {
            let chunk = ChunkId(row.get(0)?);
            let packed = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            if !take(chunk, packed) {
                return Err(Error::Dimension {
                    embedder: embedder.identity.clone(),
                    expected: embedder.dimension,
                    given: packed_numbers(packed.len()),
                });
            }
        }
        Ok(())
    }

    /// Replaces the files when they hold rows that are gone or lack many, and removes them when
    /// there is no graph.
    fn save(&self, table: &mut Vectors, stamp: Stamp) -> Result<()> {
        let root = self.files("vectors");
        let Some(graph) = &table.graph else {
            table.saved = None;
            return remove(leftovers(&root, &PathBuf::new()));
        };
        let rows = table.chunks.len();
        let lacks_little = |saved: Saved| rows - saved.rows.min(rows) <= rows / UNSAVED_ONE_IN;
        if !table.outlived && table.saved.is_some_and(lacks_little) {
            return Ok(());
        }
        let number = self.vector_number()?;
        remove(leftovers(&root, &self.vector_folder(number)))?;
        let folder = self.vector_folder(number + 1);
        table.saved = Some(Saved::write(&folder, stamp, &table.chunks, graph)?);
        table.outlived = false;
        self.put_file_number(schema::VECTORS, number + 1)?;
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
    folders.into_iter().try_for_each(|folder| {
        std::fs::remove_dir_all(&folder).map_err(|source| Error::io(&folder, source))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::database::packed::unit;
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
        let chunk =
            NewChunk { span: 0..text.len(), vector: Some(vector(number)), ..NewChunk::default() };
        NewDocument {
            path: number.to_string(),
            text,
            chunks: vec![chunk],
            ..NewDocument::default()
        }
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
    fn on_disk(store: &Store) -> Option<Linked> {
        let identity = store.identity().unwrap();
        let stamp =
            Stamp::new(identity, "tiny@1".to_string(), DIMENSION, store.generation().unwrap());
        Linked::load(&store.vector_folder(store.vector_number().unwrap()), &stamp)
    }

    #[test]
    fn a_graph_is_read_from_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.put_documents((0..39).map(note)).unwrap();
        store.commit_index().unwrap();
        assert!(folders(folder.path()).is_empty(), "few vectors need no files");
        store.put_documents((39..200).map(note)).unwrap();
        let before: Vec<_> = (0..50).map(|number| found(&store, number)).collect();
        assert_eq!(folders(folder.path()), ["1"]);
        let graph = store.derived.borrow_mut().vectors.take().unwrap().1.graph.unwrap();
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
    fn the_files_hold_no_vectors_and_forget_who_had_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.put_documents((0..120).map(note)).unwrap();
        assert_eq!(found(&store, 7)[0], "7");
        let packed = pack(&unit(vector(7)));
        for file in std::fs::read_dir(folder.path().join("indexes/1/vectors/1")).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(DIMENSION).any(|bytes| bytes == &packed[4..][..DIMENSION]));
        }
        store.delete_document("7").unwrap();
        assert!(!found(&store, 7).contains(&"7".to_string()));
        assert_eq!(folders(folder.path()), ["2"]);
        assert!(!on_disk(&store).unwrap().chunks.contains(&ChunkId(8)));
        // With most of the documents the graph goes, and its files.
        for number in 10..115 {
            store.delete_document(&number.to_string()).unwrap();
        }
        store.commit_index().unwrap();
        assert!(folders(folder.path()).is_empty());
        assert_eq!(found(&store, 3)[0], "3");
    }

    #[test]
    fn a_missing_damaged_or_foreign_graph_is_rebuilt() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.put_documents((0..100).map(note)).unwrap();
        let expected = found(&store, 3);
        let current = |store: &Store| store.vector_folder(store.vector_number().unwrap());
        let names = ["table.json", "chunks", "graph"];
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
                if damage == "remove" {
                    std::fs::remove_file(&path)
                } else {
                    std::fs::write(&path, bytes)
                }
                .unwrap();
                store = open(folder.path());
                assert!(on_disk(&store).is_none(), "{name} {damage}");
                assert_eq!(found(&store, 3), expected, "{name} {damage}");
                assert!(on_disk(&store).is_some(), "{name} {damage}");
                assert_eq!(folders(folder.path()).len(), 1);
            }
        }
        // Files of another project, and files newer than the database, as after a backup was put
        // back.
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
        assert!(Linked::load(&current(&store), &older).is_none());
    }

    /// Whether or not the table is open while documents go and come, copies of others among them,
    /// the graph becomes the same.
    #[test]
    fn a_graph_on_disk_follows_like_an_open_one() {
        let like = |number: usize, of: usize| {
            let mut note = note(number);
            note.chunks[0].vector = Some(vector(of));
            note
        };
        let graph = |open_meanwhile: bool| {
            let folder = tempfile::tempdir().unwrap();
            let mut store = open(folder.path());
            store
                .put_documents((0..1000).map(|number| like(number, number - number % 7 / 6)))
                .unwrap();
            store.commit_index().unwrap();
            if !open_meanwhile {
                drop(store);
                store = open(folder.path());
            }
            for number in (5..1000).step_by(7).chain(300..320) {
                store.delete_document(&number.to_string()).unwrap();
            }
            store.put_documents((1000..1300).map(note)).unwrap();
            store.commit_index().unwrap();
            let (_, table) = store.derived.borrow_mut().vectors.take().unwrap();
            assert_eq!(on_disk(&store).unwrap().chunks, table.chunks);
            assert_eq!((table.chunks.len(), table.graph.as_ref().unwrap().len()), (1139, 1139));
            table.graph.unwrap()
        };
        assert!(graph(true) == graph(false));
    }

    #[test]
    fn a_graph_that_does_not_fit_the_database_harms_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.put_documents((0..100).map(note)).unwrap();
        store.delete_document("7").unwrap();
        assert_eq!(found(&store, 8)[0], "8");
        // As after a backup of the database alone was put back: other chunks, the generation
        // unchanged.
        let sql = "DELETE FROM vectors WHERE chunk IN (3, 4, 100)";
        assert_eq!(store.connection.execute(sql, []).unwrap(), 3);
        drop(store);
        store = open(folder.path());
        assert!(on_disk(&store).is_some());
        for (number, there) in [(2, false), (3, false), (99, false), (4, true), (98, true)] {
            assert_eq!(found(&store, number)[0] == number.to_string(), there, "{number}");
        }
        assert!(!on_disk(&store).unwrap().chunks.contains(&ChunkId(3)));
        let sql = "INSERT INTO vectors (chunk, vector) VALUES (3, ?1)";
        store.connection.execute(sql, [pack(&unit(vector(2)))]).unwrap();
        drop(store);
        store = open(folder.path());
        assert_eq!(found(&store, 2)[0], "2");
        assert!(on_disk(&store).unwrap().chunks.contains(&ChunkId(3)));
    }

    #[test]
    fn a_vector_of_another_length_in_the_database_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        store.put_document(note(1)).unwrap();
        let change = "UPDATE vectors SET vector = ?1";
        store.connection.execute(change, [pack(&[1.0; DIMENSION + 1])]).unwrap();
        assert!(matches!(
            store.commit_index(),
            Err(Error::Dimension { given: 7, expected: 6, .. })
        ));
        let chunk = ChunkId(1);
        assert!(matches!(store.vector(chunk), Err(Error::Dimension { given: 7, expected: 6, .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

        /// However documents come and go, and whether or not the files follow or the project is
        /// opened anew: what was deleted is never found, and everything else can be, by others that
        /// share the project too. What they derive meanwhile does no harm.
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
