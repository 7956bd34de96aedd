//! How often texts hold a term, as its posting lists say, or a table made of them.

use tantivy::postings::BlockSegmentPostings;

/// A term's posting list in each segment; `None` where no text there holds it. Reading goes
/// forwards only.
pub(super) type Lists = Vec<Option<BlockSegmentPostings>>;

/// How often each text holds a term, in a byte, by segment. A frequency is looked up here at once
/// where a posting list has to be read up to the text.
pub(super) struct FrequencyTable(Vec<Vec<u8>>);

impl FrequencyTable {
    /// The table of a term's lists, where `texts` tells how many texts each segment has. `None` if
    /// a text holds the term more often than a byte can tell.
    pub(super) fn new(lists: &Lists, texts: impl Iterator<Item = usize>) -> Option<Self> {
        let of_segment = |(list, texts): (&Option<BlockSegmentPostings>, usize)| {
            let mut frequencies = vec![0; texts];
            let Some(mut list) = list.clone() else { return Some(frequencies) };
            while !list.docs().is_empty() {
                for (text, frequency) in list.docs().iter().zip(list.freqs()) {
                    frequencies[*text as usize] = u8::try_from(*frequency).ok()?;
                }
                list.advance();
            }
            Some(frequencies)
        };
        lists.iter().zip(texts).map(of_segment).collect::<Option<_>>().map(FrequencyTable)
    }

    /// The frequencies of a segment's texts `from..to`.
    pub(super) fn range(&self, segment: usize, from: u32, to: u32) -> &[u8] {
        &self.0[segment][from as usize..to as usize]
    }
}

/// How often a text of a segment holds a term. Texts must be asked for by rising number.
pub(super) fn frequency(
    lists: &mut Lists,
    table: Option<&FrequencyTable>,
    segment: usize,
    text: u32,
) -> u32 {
    match (&mut lists[segment], table) {
        (None, _) => 0,
        (Some(_), Some(table)) => u32::from(table.0[segment][text as usize]),
        (Some(list), None) => listed_frequency(list, text),
    }
}

/// How often a text holds the term of a list. Texts must be asked for by rising number.
pub(super) fn listed_frequency(list: &mut BlockSegmentPostings, text: u32) -> u32 {
    let at = list.seek(text);
    if list.doc(at) == text { list.freq(at) } else { 0 }
}
