//! tunesmith
fn main() {}
