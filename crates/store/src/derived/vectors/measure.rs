//! Speed and recall on a folder of vectors: `vectors.f32` and `queries.f32`, 384 numbers each.
//!
//! `VECTORS=FOLDER cargo test --release -p tunesmith-store --lib measure -- --ignored --nocapture`,
//! with `COUNT` for the first so many vectors only.

use std::time::Instant;

use super::hnsw::Walk;
use super::table::*;
use super::*;
use crate::ChunkId;
use crate::database::packed::{dot, pack};
use crate::derived::top_chunks::top_chunks;

const DIMENSION: usize = 384;

fn floats(name: &str) -> Vec<f32> {
    let folder = std::env::var("VECTORS").unwrap();
    let bytes = std::fs::read(format!("{folder}/{name}")).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|&number| f32::from_le_bytes(number)).collect()
}

/// The middle and the 99th percentile, in milliseconds.
fn times(queries: &[&[f32]], mut run: impl FnMut(&[f32])) -> (f64, f64) {
    let mut taken: Vec<f64> = queries
        .iter()
        .map(|query| {
            let start = Instant::now();
            run(query);
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    taken.sort_by(f64::total_cmp);
    (taken[taken.len() / 2], taken[taken.len() * 99 / 100])
}

#[test]
#[ignore = "a measurement, see above"]
fn measure() {
    let numbers = floats("vectors.f32");
    let queries = floats("queries.f32");
    let queries: Vec<&[f32]> = queries.chunks_exact(DIMENSION).take(200).collect();
    let count = std::env::var("COUNT").map_or(usize::MAX, |count| count.parse().unwrap());
    let mut table = Vectors::new(DIMENSION);
    let start = Instant::now();
    for (number, vector) in (1..).zip(numbers.chunks_exact(DIMENSION).take(count)) {
        assert!(table.push(ChunkId(number), &pack(vector)));
    }
    println!("{} vectors pushed in {:.2} s", table.rows.len(), start.elapsed().as_secs_f64());

    use rayon::prelude::*;
    let truth: Vec<Vec<ChunkId>> = queries
        .par_iter()
        .map(|query| {
            let rows = (1..).zip(numbers.chunks_exact(DIMENSION)).take(table.rows.len());
            let all = rows.map(|(number, row)| (ChunkId(number), dot(query, row)));
            top_chunks(all, 100).into_iter().map(|(chunk, _)| chunk).collect()
        })
        .collect();
    let recall = |found: &[Vec<ChunkId>], of: usize| -> f64 {
        let hits = |(found, truth): (&Vec<ChunkId>, &Vec<ChunkId>)| {
            truth[..of].iter().filter(|chunk| found[..of.min(found.len())].contains(chunk)).count()
        };
        found.iter().zip(&truth).map(hits).sum::<usize>() as f64 / (of * truth.len()) as f64
    };
    let chunks = |found: Vec<(ChunkId, f32)>| -> Vec<ChunkId> {
        found.into_iter().map(|(chunk, _)| chunk).collect()
    };

    for count in [10, 100] {
        let mut found = Vec::new();
        let (middle, late) =
            times(&queries, |query| found.push(chunks(table.nearest(query, count))));
        println!(
            "exact, {count} wanted: {middle:.3} ms, p99 {late:.3}; recall {:.4}",
            recall(&found, count)
        );
    }
    let rough: Vec<Vec<ChunkId>> = queries
        .iter()
        .map(|query| {
            let found = exact::nearest(&table.rows, &table.rows.code(query), 100, None);
            found.iter().map(|found| table.chunks[found.row as usize]).collect()
        })
        .collect();
    println!(
        "first bytes alone: recall {:.4} at 10, {:.4} at 100",
        recall(&rough, 10),
        recall(&rough, 100)
    );

    let start = Instant::now();
    table.link(0);
    println!("graph built in {:.1} s", start.elapsed().as_secs_f64());
    let graph = table.graph.as_ref().unwrap();
    println!("layers {:?}", graph.sizes());
    for walked in [64, 96, 128, 192, 256, 400] {
        let mut found = Vec::new();
        let (middle, late) = times(&queries, |query| {
            let near = graph
                .nearest(&table.rows, &table.rows.code(query), Walk::to_nearest(walked))
                .unwrap();
            let fine = near.iter().map(|near| {
                (table.chunks[near.row as usize], table.rows.fine_cosine(query, near.row as usize))
            });
            found.push(chunks(top_chunks(fine, 100)));
        });
        let (ten, hundred) = (recall(&found, 10), recall(&found, 100));
        println!(
            "walk of {walked}: {middle:.3} ms, p99 {late:.3}; recall {ten:.4} at 10, {hundred:.4} at 100"
        );
    }
    for share in [2, 10, 100, 1000, 10000] {
        let keep = |chunk: ChunkId| chunk.0 % share == 0;
        let (middle, late) = times(&queries, |query| drop(table.nearest_where(query, 10, keep)));
        println!("one in {share} may be found: {middle:.3} ms, p99 {late:.3}");
    }
    let start = Instant::now();
    table.retain(|chunk| chunk.0 % 1000 != 0);
    println!("one in 1000 removed in {:.2} s", start.elapsed().as_secs_f64());
}
