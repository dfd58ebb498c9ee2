//! sekisho-peek
