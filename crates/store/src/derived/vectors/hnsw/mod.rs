//! A graph of near neighbours, walked instead of comparing every row: hierarchical navigable small
//! worlds (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using
//! hierarchical navigable small world graphs", 2018).
//!
//! **Idea.** A walk that always follows the links of the nearest node found so far comes close to
//! the query in few steps. Every row is a node of the ground layer, one in sixteen of the layer
//! above, and so on: the layers above have longer links, so a search begins with the few nodes at
//! the top, descends on each layer to the node nearest to the query, and collects the best rows on
//! the ground.
//!
//! **Invariants.** A row that a layer links to is a node of that layer. Every row can be reached
//! from the entry on the ground, or is a copy of one that can. The graph depends on the vectors,
//! their chunks' numbers and the order of changes alone, not on the number of threads.
//!
//! What differs from the paper, and why:
//! - Nodes join in batches whose members look for neighbours at the same time, each in the graph as
//!   it was before the batch and among all other members. So all cores work without locks, and the
//!   graph is the same for any number of threads.
//! - A deleted row leaves the graph at once ([`remove`]): whoever pointed at it is linked with what
//!   it pointed at (as in FreshDiskANN, Singh and others, 2021). Nothing of a deleted row is walked
//!   through or kept.
//! - Copies of one vector, as boilerplate makes them by the thousand, are one node ([`copies`]):
//!   linked with each other they would be an island that no walk leaves.
//! - After every change all rows can be reached from the entry ([`reach`]); deletions would
//!   otherwise cut some off.

mod copies;
mod graph;
mod insert;
mod reach;
mod remove;
mod walk;

pub(super) use self::graph::Graph;
pub(super) use self::walk::Walk;
