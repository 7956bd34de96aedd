//! tunesmith-server
