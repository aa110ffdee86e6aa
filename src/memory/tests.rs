//! Tests of the memory engine against naive models.
