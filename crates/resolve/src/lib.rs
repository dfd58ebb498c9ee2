//! sekisho-resolve
