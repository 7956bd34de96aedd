//! Writing the text index. Texts come in the order of their chunks, and segments are merged in that
//! order too, so that the texts of each document follow each other.

use std::collections::{HashMap, HashSet};

use tantivy::index::{SegmentId, SegmentReader};
use tantivy::merge_policy::NoMergePolicy;
use tantivy::tokenizer::PreTokenizedString;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, Term};

use super::analysis::Analyser;
use super::layout::{CHUNK, Fields, Stamp, packed, unpacked};
use super::texts::{Searched, Take};
use crate::{ChunkId, Error, Result};

/// Memory of the writer, in bytes, on its one thread.
const WRITER_MEMORY: usize = 64 << 20;

/// Takes out the chunks in `gone`, adds what `texts` hands over, and commits both with the stamp.
pub(super) fn write(
    index: &Index,
    fields: Fields,
    stamp: &Stamp,
    gone: &HashSet<ChunkId>,
    texts: impl FnOnce(Take<'_>) -> Result<()>,
) -> Result<()> {
    let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER_MEMORY)?;
    // Its own policy puts segments together in any order.
    writer.set_merge_policy(Box::<NoMergePolicy>::default());
    for chunk in gone {
        writer.delete_term(Term::from_field_u64(fields.chunk, chunk.0.cast_unsigned()));
    }
    let mut analysers: HashMap<u64, Analyser> = HashMap::new();
    texts(&mut |Searched { chunk, document: owner, language, text }| {
        let code = packed(language);
        let tokens =
            analysers.entry(code).or_insert_with(|| Analyser::new(&unpacked(code))).terms(text);
        let mut document = TantivyDocument::new();
        document.add_u64(fields.chunk, chunk.0.cast_unsigned());
        document.add_u64(fields.length, tokens.len() as u64);
        document.add_u64(fields.document, owner.0.cast_unsigned());
        document.add_u64(fields.language, code);
        document.add_pre_tokenized_text(
            fields.text,
            PreTokenizedString { text: String::new(), tokens },
        );
        writer.add_document(document)?;
        Ok(())
    })?;
    let mut commit = writer.prepare_commit()?;
    let stamp = serde_json::to_string(stamp)
        .map_err(|source| Error::Record { key: "index stamp".to_string(), source })?;
    commit.set_payload(&stamp);
    commit.commit()?;
    merge(index, &mut writer)?;
    writer.wait_merging_threads()?;
    Ok(())
}

/// Merges segments that are small beside those behind them. What is looked up in a segment is
/// looked up in each.
fn merge(index: &Index, writer: &mut IndexWriter) -> Result<()> {
    let segments: Vec<(SegmentId, u32)> =
        in_order(index)?.iter().map(|reader| (reader.segment_id(), reader.num_docs())).collect();
    let (ids, texts): (Vec<SegmentId>, Vec<u32>) = segments.into_iter().unzip();
    if let Some(first) = first_merged(&texts) {
        writer.merge(&ids[first..]).wait()?;
    }
    Ok(())
}

/// The first of the segments that are merged, all behind it among them, given how many texts each
/// has: every one that is left has more than twice as many as all behind it, so that there are few,
/// and a text is moved once for each doubling at most.
fn first_merged(texts: &[u32]) -> Option<usize> {
    let (mut behind, mut first) = (0, None);
    for (at, &texts) in texts.iter().enumerate().rev() {
        if behind > 0 && u64::from(texts) <= 2 * behind {
            first = Some(at);
        }
        behind += u64::from(texts);
    }
    first
}

/// The segments by the chunks they hold.
pub(super) fn in_order(index: &Index) -> Result<Vec<SegmentReader>> {
    // Otherwise a thread of tantivy's wakes up twice a second to see whether somebody else has
    // written.
    let reader: IndexReader =
        index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
    let first =
        |reader: &SegmentReader| Ok::<_, Error>(reader.fast_fields().u64(CHUNK)?.min_value());
    let readers = reader.searcher().segment_readers().to_vec();
    let mut readers: Vec<(u64, SegmentReader)> = readers
        .into_iter()
        .map(|reader| Ok::<_, Error>((first(&reader)?, reader)))
        .collect::<Result<_>>()?;
    readers.sort_by_key(|(first, _)| *first);
    Ok(readers.into_iter().map(|(_, reader)| reader).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::Lexical;
    use super::*;
    use crate::DocumentId;

    #[test]
    fn segments_are_few_and_a_text_seldom_moves() {
        for (texts, first) in [
            (&[][..], None),
            (&[5], None),
            (&[100, 10, 3], None),
            (&[100, 10, 5], Some(1)),
            (&[160, 160, 160, 30], Some(0)),
            (&[1000, 160, 160, 30], Some(1)),
            (&[7, 0], None),
            (&[0, 7], Some(0)),
        ] {
            assert_eq!(first_merged(texts), first, "{texts:?}");
        }
        let (mut segments, mut moved) = (Vec::new(), 0u64);
        for _ in 0..10_000 {
            segments.push(1u32);
            if let Some(first) = first_merged(&segments) {
                let merged: u32 = segments.drain(first..).sum();
                moved += u64::from(merged);
                segments.push(merged);
            }
            assert!(segments.len() <= 14);
        }
        assert!(moved <= 14 * 10_000, "{moved}");
    }

    /// Documents of three texts; segments begin in the middle of one.
    #[test]
    fn texts_of_a_document_follow_each_other_whatever_is_merged() {
        let folder = tempfile::tempdir().unwrap();
        let add = |chunks: std::ops::Range<i64>, take: Take<'_>| {
            chunks.into_iter().try_for_each(|chunk| {
                let document = DocumentId(chunk / 3);
                take(Searched { chunk: ChunkId(chunk), document, language: "en", text: "word" })
            })
        };
        let mut index =
            Lexical::build(folder.path(), Stamp::new("store", 1), |take| add(1..5, take)).unwrap();
        // Segments of many sizes, the larger ones not always first.
        for (generation, end) in (2..).zip([8, 9, 40, 41, 43, 47, 100, 140, 142]) {
            let next = index.chunks().iter().max().unwrap().0 + 1;
            let gone = HashSet::from([ChunkId(generation)]);
            index = index
                .update(Stamp::new("store", generation), &gone, |take| add(next..end, take))
                .unwrap();
            assert!(index.contiguous, "{generation}");
            let segments = index.segments.len();
            assert!(segments < 4, "{segments} segments");
        }
    }
}
