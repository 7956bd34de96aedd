//! The vector table: which chunks' vectors are the nearest to a query's.
//!
//! Vectors are held in two bytes a number ([`rows`]). Up to [`GRAPH_FROM`] of them a query is
//! compared with every one ([`exact`]): the first bytes of all, then both bytes of the best few.
//! Past that a graph is walked ([`hnsw`]), which finds nearly all of the same in a time that hardly
//! grows, and is kept in files ([`file`]) because building it takes minutes for a million. The
//! vectors are read from the database when the table is opened.

mod exact;
mod file;
mod fresh;
mod hnsw;
mod kernels;
#[cfg(test)]
mod measure;
mod pages;
mod rows;
mod table;
#[cfg(test)]
mod tests;
mod top_rows;

pub(crate) use self::table::{GRAPH_FROM, Vectors};
