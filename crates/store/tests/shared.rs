//! Searching while another process writes.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tunesmith_store::{Embedder, Error, NewChunk, NewDocument, SearchOptions, Store};

fn document(name: &str, vector: [f32; 2]) -> NewDocument {
    let chunk =
        NewChunk { span: 0..name.len(), vector: Some(vector.to_vec()), ..NewChunk::default() };
    NewDocument {
        path: name.to_string(),
        text: name.to_string(),
        chunks: vec![chunk],
        ..NewDocument::default()
    }
}

/// A project with an ape and a zebra, open for writing.
fn project() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    store.use_embedder(&Embedder { identity: "tiny@1".to_string(), dimension: 2 }).unwrap();
    store.put_documents([document("ape", [1.0, 0.0]), document("zebra", [0.0, 1.0])]).unwrap();
    store.commit_index().unwrap();
    (folder, store)
}

fn by_word(store: &Store, word: &str) -> Vec<String> {
    let words = SearchOptions { lexical_weight: 1.0, ..SearchOptions::default() };
    store.search(word, &[], &words).unwrap().into_iter().map(|hit| hit.path).collect()
}

fn by_meaning(store: &Store) -> Vec<String> {
    let meaning = SearchOptions { lexical_weight: 0.0, ..SearchOptions::default() };
    store.search("", &[1.0, 0.1], &meaning).unwrap().into_iter().map(|hit| hit.path).collect()
}

#[test]
fn readers_follow_a_writer() {
    let (folder, mut writer) = project();
    let reader = Store::open_shared(folder.path()).unwrap();
    let other = Store::open_shared(folder.path()).unwrap();
    assert_eq!(
        (by_word(&reader, "zebra"), by_meaning(&reader)),
        (vec!["zebra".into()], vec!["ape".into(), "zebra".into()])
    );

    // Nothing that is gone is found, whatever has been committed; what is new is found by its
    // vector.
    writer.delete_document("zebra").unwrap();
    writer.put_document(document("giraffe", [1.0, 0.2])).unwrap();
    assert!(by_word(&reader, "zebra").is_empty());
    assert_eq!(by_meaning(&reader), ["giraffe", "ape"]);
    assert!(by_word(&reader, "giraffe").is_empty(), "its words are not committed");

    writer.commit_index().unwrap();
    assert_eq!(by_word(&reader, "giraffe"), ["giraffe"]);
    assert_eq!(by_word(&other, "giraffe"), ["giraffe"]);

    // Where the writer ends before it has committed, the next reader does it, and the others see
    // it.
    writer.put_document(document("heron", [0.0, 1.0])).unwrap();
    assert!(by_word(&reader, "heron").is_empty());
    drop(writer);
    assert_eq!(by_word(&reader, "heron"), ["heron"]);
    assert_eq!(by_word(&other, "heron"), ["heron"]);

    // A writer goes on from what a reader has derived, and readers from that.
    let mut writer = Store::open(folder.path()).unwrap();
    writer.put_document(document("ibis", [0.5, 0.5])).unwrap();
    assert_eq!(by_word(&writer, "ibis"), ["ibis"]);
    for store in [&writer, &reader, &other] {
        assert_eq!(by_word(store, "heron"), ["heron"]);
        assert_eq!(by_word(store, "ibis"), ["ibis"]);
    }
}

#[test]
fn a_reader_keeps_no_writer_out_and_writes_only_between_writers() {
    let (folder, writer) = project();
    let mut reader = Store::open_shared(folder.path()).unwrap();
    assert!(
        matches!(reader.put_setting("k", "v"), Err(Error::Locked { pid }) if pid == std::process::id())
    );
    drop(writer);
    reader.put_setting("k", "v").unwrap();
    let writer = Store::open(folder.path()).unwrap();
    assert_eq!(writer.setting("k").unwrap().as_deref(), Some("v"));
}

#[test]
fn an_index_that_is_damaged_waits_for_the_writer() {
    let (folder, mut writer) = project();
    let words = |folder: &Path| folder.join("indexes/1/lexical");
    std::fs::remove_dir_all(words(folder.path())).unwrap();
    writer.put_document(document("giraffe", [1.0, 0.2])).unwrap();
    let reader = Store::open_shared(folder.path()).unwrap();
    let writing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        drop(writer);
    });
    assert_eq!(by_word(&reader, "giraffe"), ["giraffe"]);
    writing.join().unwrap();
}

#[test]
fn a_new_folder_is_set_up_and_an_older_one_brought_up_to_date_first() {
    let folder = tempfile::tempdir().unwrap();
    let shared = Store::open_shared(folder.path()).unwrap();
    assert!(!shared.has_documents().unwrap());
    let mut writer = Store::open(folder.path()).unwrap();
    writer.put_document(NewDocument { path: "ape".to_string(), ..NewDocument::default() }).unwrap();
    assert!(shared.has_documents().unwrap());
    drop(writer);

    let older = tempfile::tempdir().unwrap();
    std::fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v2.sqlite"),
        older.path().join("store.sqlite"),
    )
    .unwrap();
    let shared = Store::open_shared(older.path()).unwrap();
    assert_eq!(shared.indexes().unwrap().len(), 1);
    Store::open(older.path()).unwrap();
}

/// Readers search without end while a writer adds, deletes and commits: what a search finds was
/// there when it began or came since.
#[test]
fn searches_meet_writes_at_any_moment() {
    let (folder, mut writer) = project();
    let path = folder.path().to_path_buf();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (path, stop) = (path.clone(), stop.clone());
            thread::spawn(move || {
                let reader = Store::open_shared(&path).unwrap();
                let mut searches = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    assert_eq!(by_word(&reader, "ape"), ["ape"]);
                    assert_eq!(by_meaning(&reader)[0], "ape");
                    searches += 1;
                }
                searches
            })
        })
        .collect();
    for round in 0..60 {
        let name = format!("note{round}");
        writer.put_document(document(&name, [0.0, 1.0])).unwrap();
        if round % 3 == 0 {
            writer.commit_index().unwrap();
        }
        if round % 2 == 1 {
            writer.delete_document(&name).unwrap();
        }
        if round % 10 == 9 {
            drop(writer);
            writer = Store::open(folder.path()).unwrap();
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for reader in readers {
        assert!(reader.join().unwrap() > 0);
    }
    drop(writer);
    let reader = Store::open_shared(folder.path()).unwrap();
    assert_eq!(by_word(&reader, "note58"), ["note58"]);
    assert!(by_word(&reader, "note59").is_empty());
}
