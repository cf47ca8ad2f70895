//! O: operations.
