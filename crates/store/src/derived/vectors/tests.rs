//! What is found through the graph, beside what a scan finds.

use super::hnsw::Graph;
use super::table::*;
use crate::ChunkId;
use crate::database::packed::{dot, pack, unit};
use crate::derived::top_chunks::top_chunks;

/// A number in -1..1 that looks random, the sum of three, so that most are small.
fn noise(seed: u64) -> f32 {
    let one = |seed: u64| {
        let mut number =
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
        number = (number ^ (number >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 32)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((number ^ (number >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (one(seed * 3) + one(seed * 3 + 1) + one(seed * 3 + 2)) / 3.0
}

/// How vectors are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Spread {
    Anywhere,
    /// Around one centre for every fifty, one cluster after the other.
    Clusters,
}

fn vector(spread: Spread, dimension: usize, number: u64) -> Vec<f32> {
    let own = (0..dimension as u64).map(|at| noise(number * 4096 + at));
    unit(match spread {
        Spread::Anywhere => own.collect(),
        Spread::Clusters => {
            let centre = (0..dimension as u64).map(|at| noise((1 << 40) + number / 50 * 4096 + at));
            own.zip(centre).map(|(own, centre)| centre + 0.5 * own).collect()
        }
    })
}

fn table(spread: Spread, dimension: usize, numbers: std::ops::RangeInclusive<u64>) -> Vectors {
    let mut table = Vectors::new(dimension);
    add(&mut table, spread, numbers);
    table
}

fn add(table: &mut Vectors, spread: Spread, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let vector = vector(spread, table.dimension(), number);
        assert!(table.push(ChunkId(number.cast_signed()), &pack(&vector)));
    }
}

/// The share of the `count` nearest that the graph finds, over some queries; by cosine, as copies
/// are equally near.
fn recall(table: &mut Vectors, spread: Spread, count: usize) -> f64 {
    let queries: Vec<Vec<f32>> =
        (0..40).map(|at| vector(spread, table.dimension(), 77 + at * 53 + (1 << 20))).collect();
    let mut near: Vec<Vec<f32>> =
        (0..40).map(|at| vector(spread, table.dimension(), 5 + at * 41)).collect();
    near.extend(queries);
    let (mut found, mut all) = (0, 0);
    for query in &near {
        assert!(table.graph.is_some());
        let walked = table.nearest(query, count);
        table.exact = true;
        let exact = table.nearest(query, count);
        table.exact = false;
        let last = exact.last().unwrap().1;
        found += walked.iter().filter(|(_, cosine)| *cosine >= last).count().min(exact.len());
        all += exact.len();
    }
    found as f64 / all as f64
}

#[test]
fn nearest_equals_a_sort_of_all() {
    let mut vectors = Vectors::new(19);
    let mut rows = Vec::new();
    for chunk in 1..200i64 {
        let row: Vec<f32> = (0..19).map(|i| ((chunk * 37 + i * 11) % 23) as f32 - 11.0).collect();
        assert!(vectors.push(ChunkId(chunk), &pack(&row)));
        rows.push((ChunkId(chunk), row));
    }
    assert!(!vectors.push(ChunkId(200), &[0; 18 * 4]), "a vector too short");
    let query: Vec<f32> = (0..19).map(|i| (i as f32).sin()).collect();
    let mut expected: Vec<(ChunkId, f32)> = rows
        .iter()
        .map(|(chunk, row)| (*chunk, row.iter().zip(&query).map(|(a, b)| a * b).sum()))
        .collect();
    expected.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let found = vectors.nearest(&query, 10);
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found.1 - expected.1).abs() < 2e-2, "{found:?} {expected:?}");
    }
    assert_eq!(found.len(), 10);
    vectors.retain(|chunk| chunk.0 % 2 == 0);
    assert_eq!(vectors.nearest(&query, 1000).len(), 99);
    assert!(vectors.cosine(&query, ChunkId(3)).is_none());
    assert!((vectors.cosine(&query, ChunkId(4)).unwrap() - dot(&rows[3].1, &query)).abs() < 1e-2);
}

#[test]
fn a_scan_by_all_threads_finds_what_one_thread_finds() {
    let table = table(Spread::Anywhere, 5, 1..=21_000);
    let query = vector(Spread::Anywhere, 5, 0);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let found = alone.install(|| table.nearest(&query, 30));
    assert_eq!(three.install(|| table.nearest(&query, 30)), found);
    let all =
        (1..=21_000).map(|chunk| (ChunkId(chunk), table.cosine(&query, ChunkId(chunk)).unwrap()));
    assert_eq!(top_chunks(all, 30), found);
}

#[test]
fn a_walk_finds_nearly_all_that_a_scan_finds() {
    for spread in [Spread::Anywhere, Spread::Clusters] {
        for dimension in [1, 7, 48] {
            let mut table = table(spread, dimension, 1..=3000);
            table.link(1);
            for count in [1, 10, 100] {
                let recall = recall(&mut table, spread, count);
                assert!(recall >= 0.98, "{spread:?} {dimension} {count}: {recall}");
            }
        }
    }
}

#[test]
fn vectors_come_and_go_and_a_walk_still_finds_them() {
    for spread in [Spread::Anywhere, Spread::Clusters] {
        let mut table = table(spread, 24, 1..=1500);
        table.link(1);
        for step in 0..6u64 {
            // A quarter of them, and in the end whole clusters with what lies between them.
            let gone = |chunk: ChunkId| match step {
                0..4 => mix_of(chunk) % 4 == step,
                _ => (chunk.0 / 300) as u64 % 5 == step - 4,
            };
            table.retain(|chunk| !gone(chunk));
            add(&mut table, spread, 1501 + step * 300..=1800 + step * 300);
            table.link(1);
            let found = recall(&mut table, spread, 10);
            assert!(found >= 0.98, "{spread:?} step {step}: {found}");
            for number in (1..1500).filter(|&number| gone(ChunkId(number))) {
                let near = table.nearest(&vector(spread, 24, number.cast_unsigned()), 3);
                assert!(near.iter().all(|(chunk, _)| !gone(*chunk) || chunk.0 > 1500), "{number}");
            }
        }
    }
}

fn mix_of(chunk: ChunkId) -> u64 {
    (noise(chunk.0.cast_unsigned()) * 1000.0 + 1000.0) as u64
}

#[test]
fn many_copies_of_one_text_hide_nothing() {
    let mut table = Vectors::new(16);
    for number in 1..=2000i64 {
        // Two texts of 700 copies each among others.
        let text = match number % 20 {
            0..7 => 1,
            7..14 => 2,
            _ => number.cast_unsigned(),
        };
        assert!(table.push(ChunkId(number), &pack(&vector(Spread::Anywhere, 16, text))));
    }
    table.link(1);
    assert!(recall(&mut table, Spread::Anywhere, 10) >= 0.98);
    for text in [1, 2] {
        let found = table.nearest(&vector(Spread::Anywhere, 16, text), 300);
        assert_eq!(found.len(), 300);
        assert!(found.iter().all(|(_, cosine)| *cosine > 0.999));
    }
}

#[test]
fn as_many_as_wanted_are_found_however_few_may_be() {
    let mut table = table(Spread::Clusters, 12, 1..=4000);
    table.link(1);
    let query = vector(Spread::Clusters, 12, 333);
    assert_eq!(table.nearest(&query, 9000).len(), 4000);
    assert!(table.nearest(&query, 0).is_empty());
    for share in [2, 50, 1000, 4000, 5000] {
        let keep = |chunk: ChunkId| chunk.0 % share == 0;
        let found = table.nearest_where(&query, 10, keep);
        table.exact = true;
        let exact = table.nearest_where(&query, 10, keep);
        table.exact = false;
        assert!(found.iter().all(|(chunk, _)| keep(*chunk)));
        assert_eq!(found.len(), (4000 / share as usize).min(10));
        let same = found.iter().filter(|found| exact.contains(found)).count();
        assert!(same + 1 >= exact.len(), "one in {share}: {same}");
    }
}

#[test]
fn an_empty_table_has_nothing_near() {
    for dimension in [0, 4] {
        let mut table = Vectors::new(dimension);
        table.link(0);
        table.retain(|_| false);
        assert!(table.nearest(&vec![1.0; dimension], 5).is_empty());
        assert!(table.cosine(&vec![1.0; dimension], ChunkId(1)).is_none());
    }
    let mut table = table(Spread::Anywhere, 4, 1..=40);
    table.link(1);
    table.graph.as_mut().unwrap().remove(&mut table.rows, &[true; 40]);
    assert_eq!(table.graph, Some(Graph::new()));
}

#[test]
fn the_graph_does_not_depend_on_the_number_of_threads() {
    let built = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut table = table(Spread::Clusters, 9, 1..=1300);
            table.link(1);
            table.retain(|chunk| chunk.0 % 5 > 0);
            add(&mut table, Spread::Clusters, 1301..=1400);
            table.link(1);
            table.graph.unwrap()
        })
    };
    assert_eq!(built(1), built(3));
}

#[test]
fn a_graph_comes_and_goes_with_the_number_of_vectors() {
    let mut table = table(Spread::Anywhere, 3, 1..=99);
    table.link(100);
    assert!(table.graph.is_none());
    add(&mut table, Spread::Anywhere, 100..=100);
    table.link(100);
    assert!(table.graph.is_some());
    table.retain(|chunk| chunk.0 > 30);
    table.link(100);
    assert!(table.graph.is_some());
    table.retain(|chunk| chunk.0 > 51);
    table.link(100);
    assert!(table.graph.is_none());
}

#[test]
fn a_walk_is_as_wide_as_the_table_needs() {
    assert_eq!([1, 50_000, 100_000].map(ef_search), [EF_SEARCH; 3]);
    assert_eq!((ef_search(400_000), ef_search(1_000_000)), (2 * EF_SEARCH, 303));
}
