//! tunesmith-lm
