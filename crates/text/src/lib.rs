//! tunesmith-text
