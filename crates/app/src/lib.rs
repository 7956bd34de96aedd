//! tunesmith-app
