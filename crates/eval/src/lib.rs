//! tunesmith-eval
