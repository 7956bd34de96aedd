//! tunesmith-store
