//! tunesmith-app

pub mod report;
